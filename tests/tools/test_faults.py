"""The tool that does harm to runs: its law is broken by what it must catch."""

from __future__ import annotations

import itertools
import json
import mmap
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import faults
import faults_cases
import faults_growth
import faults_judged
import faults_runs
import faults_soak
import pytest

from tests.faults.test_fuzz import report_counts

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("code", "err", "left", "broken"),
    [
        (75, "stopping after this step\nstopped: saved\n", (), ""),
        (3, "stopped: saved\n", (), "exit code 3 in place of 75"),
        (None, "stopped: saved\n", (), "exit code None in place of 75"),
        (75, "Traceback (most recent call last)\nstopped: saved\n", (), "a traceback"),
        (75, "", (), "0 lines of error in place of one"),
        (75, "error: a\nstopped: b\n", (), "2 lines of error in place of one"),
        (75, "stopped: saved\n", (7,), "processes were left behind: (7,)"),
    ],
)
def test_an_end_that_breaks_the_law(code: int | None, err: str, left: tuple[int, ...], broken: str) -> None:
    found = faults_runs.Ended(code, err, left).problems(75)
    assert len(found) == bool(broken)
    assert all(each.startswith(broken) for each in found)


def test_other_tensors_break_the_law() -> None:
    whole = {"model.safetensors": "a", "ema.safetensors": "b"}
    assert faults_judged.differences(whole, dict(whole)) == []
    assert len(faults_judged.differences({**whole, "model.safetensors": "c"}, whole)) == 1
    assert len(faults_judged.differences({}, whole)) == 2


def test_hashes_are_of_what_is_on_the_disk(tmp_path: Path) -> None:
    """And not what a manifest says, which a fault may have left behind."""
    step = tmp_path / "checkpoints" / "step_00000003"
    step.mkdir(parents=True)
    (step / "model.safetensors").write_bytes(b"bits")
    (step / "manifest.json").write_text(json.dumps({"files": {"model.safetensors": {}, "state.json": {}}}))
    before = faults_judged.newest(tmp_path)
    assert (before[0], list(before[1])) == (3, ["model.safetensors"])
    (step / "model.safetensors").write_bytes(b"bots")
    assert faults_judged.newest(tmp_path) != before


def test_every_write_is_a_point(tmp_path: Path) -> None:
    """A child counts its own writes, and dies at the one that is asked for."""

    def child(number: int) -> int:
        pid = os.fork()
        if pid == 0:
            faults_runs.AtWrite(tmp_path / "run", number, tmp_path / "log")()
            (tmp_path / "run").mkdir()
            with (tmp_path / "run" / "file").open("w") as file:
                os.fsync(file.fileno())
            (tmp_path / "run" / "file").rename(tmp_path / "run" / "other")
            (tmp_path / "elsewhere").write_text("no point")
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert child(-1) == 0
    assert [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()] == [
        "mkdir", "open", "fsync", "rename",
    ]  # fmt: skip
    (tmp_path / "run" / "other").unlink()
    (tmp_path / "run").rmdir()
    assert child(2) == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]


def test_what_grows_breaks_the_law_of_the_soak() -> None:
    flat = [faults_growth.Usage(100.0 + index % 3, 8, 20) for index in range(40)]
    assert list(faults_growth.grown(flat)) == []
    leaks = [faults_growth.Usage(100.0 + index, 8, 20 + index // 20) for index in range(40)]
    assert [each.split()[0] for each in faults_growth.grown(leaks)] == ["memory", "files"]
    assert len(list(faults_growth.grown(flat[:3]))) == 1


def test_what_grows_from_life_to_life_breaks_it_too() -> None:
    """Each life begins with more than the one before, and none grows."""

    def lives(threads: int, count: int) -> list[dict[str, list[Any]]]:
        return [{"process 0": [faults_growth.Usage(100.0, 8 + threads * life, 20)] * count} for life in range(8)]

    assert list(faults_growth.grown_in_lives(lives(0, faults_growth.ENOUGH))) == []
    assert list(faults_growth.grown_in_lives(lives(1, faults_growth.ENOUGH))) == [
        "process 0, from life to life: threads grew from 11 to 15"
    ]
    assert list(faults_growth.grown_in_lives(lives(0, faults_growth.YOUNG))) == [
        "process 0: no life was long enough to tell"
    ]


def test_a_process_that_leaks_grows() -> None:
    """What is looked at is what the system says of a process that lives."""
    before = faults_growth.usage(os.getpid())
    kept = [os.pipe() for _ in range(8)]
    try:
        assert faults_growth.usage(os.getpid()).files > before.files + 8
    finally:
        for descriptor in itertools.chain(*kept):
            os.close(descriptor)
    with mmap.mmap(-1, 2**26) as block:  # pages of its own: a bytearray may be given those that others have left
        block.write(os.urandom(2**20) * 64)
        assert faults_growth.usage(os.getpid()).memory > before.memory + 32


def test_what_is_left_in_the_folder_of_a_run_breaks_it(tmp_path: Path) -> None:
    def checkpoint(step: int, *, apart: bool = False) -> None:
        folder = tmp_path / "checkpoints" / f"step_{step:08d}"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps({"apart": apart}))

    checkpoint(50)
    checkpoint(60, apart=True)
    checkpoint(100)
    (tmp_path / "metrics.jsonl").touch()
    assert list(faults_soak.strays(tmp_path)) == []
    checkpoint(150)
    assert [each.split(":")[0] for each in faults_soak.strays(tmp_path)] == ["more checkpoints than are kept"]
    (tmp_path / "checkpoints" / "step_00000050").rename(tmp_path / "checkpoints" / ".step_00000050.unfinished")
    (tmp_path / "loss.png.aside").touch()
    assert [each.split(": ")[-1] for each in faults_soak.strays(tmp_path)][:2] == [
        "loss.png.aside",
        ".step_00000050.unfinished",
    ]


@pytest.mark.parametrize(("steps", "lacking"), [([1, 2, 3, 4], None), ([1, 3], "[2]"), ([1, 2, 2, 3], "[]")])
def test_every_step_has_one_line(tmp_path: Path, steps: list[int], lacking: str | None) -> None:
    (tmp_path / "checkpoints" / "step_00000003").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step_00000003" / "manifest.json").write_text('{"files": {}}')
    (tmp_path / "metrics.jsonl").write_text("".join(f'{{"step": {step}}}\n' for step in steps))
    found = list(faults_soak.metrics_amiss(tmp_path))
    assert [each.split(": ")[-1] for each in found] == ([] if lacking is None else [lacking])


def test_messages_are_told_without_what_differs() -> None:
    told = (
        "stopped: /tmp/x/run-signals-3: asked to stop, and saved after step 12 of 40; zoo train --run-dir /tmp/x/run-3"
    )
    assert (
        faults_judged.plain(told)
        == "stopped: RUN: asked to stop, and saved after step N of 40; zoo train --run-dir RUN"
    )
    worker = "error: data worker 0 (process 7338) was killed by SIGKILL"
    assert faults_judged.plain(worker) == "error: data worker 0 (process N) was killed by SIGKILL"
    assert faults_judged.plain("error: process 1 was killed by SIGKILL") == "error: process 1 was killed by SIGKILL"


def test_the_table_stands_between_its_marks_and_keeps_what_was_not_tried_now() -> None:
    outcome = faults_judged.Outcome(told={"error: a|b": None})
    outcome.add([])
    outcome.add(["broken"])
    page = faults.written("before\n<!-- campaign -->\nold\n<!-- /campaign -->\nafter\n", faults.rows({"pipe": outcome}))
    assert page.startswith("before\n<!-- campaign -->\n| case |")
    assert page.endswith("<!-- /campaign -->\nafter\n")
    assert "| 1 of 2 (broken) | `error: a\\|b` |\n" in page
    pipe = page.splitlines()[-3]
    later = faults.written(page, faults.rows({"read-only": faults_judged.Outcome(skipped="needs root")}))
    assert later.count("| case |") == 1
    assert [line for line in later.splitlines() if line == pipe or "| skipped: needs root |" in line][1] == pipe
    again = faults.written(later, faults.rows({"pipe": faults_judged.Outcome(told={}, tried=2, held=2)}))
    assert pipe not in again
    assert "| 2 of 2 |" in again
    assert faults.BEGIN in faults.DOCS.read_text(encoding="utf-8")


def test_fuzzed_files_are_counted_as_the_tests_print_them(capsys: pytest.CaptureFixture[str]) -> None:
    counts = {"recipe as JSON": 250, "picture .png": 150}
    report_counts(Counter(counts))
    assert faults_cases.files_tried(f"....{capsys.readouterr().out}\n16 passed") == counts
    assert faults_cases.files_tried("16 passed") == {}
