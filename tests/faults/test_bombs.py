"""Files that a stranger made to take all memory or time: a page leaves them out with a word, data is refused."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path

import pytest

from zoo.data.pictures import read_picture
from zoo.errors import DataError, RunError
from zoo.json_files import LARGEST, read_json
from zoo.report.page.grids import read_grids
from zoo.runs.checkpoint import MANIFEST, problem_of
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder


def bomb(path: Path, width: int, height: int) -> Path:
    """A PNG of one bit a pixel, whose kilobytes are ``width`` x ``height`` pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = bytes(1 + (width + 7) // 8)
    packed = zlib.compressobj(9)
    rows = b"".join([*(packed.compress(row) for _ in range(height)), packed.flush()])
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (9_000, 9_000)])
def test_a_page_leaves_out_a_picture_beyond_reason(tmp_path: Path, width: int, height: int) -> None:
    """Pillow itself refuses the first, and only warns of the second."""
    path = bomb(tmp_path / "step_00000001.png", width, height)
    assert path.stat().st_size < 100_000
    (grid,) = read_grids(tmp_path)
    assert (grid.step, grid.uri) == (1, None)


def test_a_page_waits_for_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "step_00000001.png")
    assert [grid.uri for grid in read_grids(tmp_path)] == [None]


def test_data_is_refused(tmp_path: Path) -> None:
    path = bomb(tmp_path / "a.png", 20_000, 20_000)
    with pytest.raises(DataError, match="is too large to be a picture for training"):
        read_picture(path, 1, 8, 8)


DEEP = "[" * 100_000


def test_json_that_is_nested_too_deeply(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.metrics.write_text(f'{DEEP}\n{{"step": 1, "loss": 2.0}}\n')
    assert read_metrics(folder.metrics) == [{"step": 1, "loss": 2.0}]
    folder.evaluations.mkdir()
    (folder.evaluations / "step_00000001-0.json").write_text(DEEP)
    assert folder.read_evaluations() == []
    checkpoint = tmp_path / "step_00000001"
    checkpoint.mkdir()
    (checkpoint / MANIFEST).write_text(DEEP)
    assert problem_of(checkpoint) == "manifest.json cannot be read: ValueError: it is nested too deeply"


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "1e999", "-1e300", "9" * 400, "9" * 5000], ids=lambda value: value[:10]
)
def test_numbers_that_training_cannot_come_to(tmp_path: Path, value: str) -> None:
    """They would end a plot; a line that has one is none of zoo's."""
    folder = RunFolder(tmp_path)
    whole = {"step": 1, "loss": 2.0}
    folder.metrics.write_text(
        f'{json.dumps(whole)}\n{{"step": 2, "loss": {value}}}\n{{"step": {value}}}\n{{"step": -1}}\n{{"step": true}}\n'
    )
    assert read_metrics(folder.metrics) == [whole]


def test_what_is_no_plain_file_or_too_large_is_not_read(tmp_path: Path) -> None:
    pipe, large = tmp_path / "metrics.jsonl", tmp_path / "large.json"
    os.mkfifo(pipe)
    with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be read: it is no plain file"):
        read_metrics(RunFolder(tmp_path).metrics)
    with large.open("wb") as file:
        file.truncate(LARGEST + 1)  # takes no room on the disk
    assert large.stat().st_size > LARGEST
    with pytest.raises(ValueError, match="it has more than 1024 MiB"):
        read_json(large)
