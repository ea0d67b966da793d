"""The lines of the metrics: later ones are dropped, and what is no line is passed over."""

import json
import os
import tracemalloc

import pytest

from tests.runs.written import Crash
from zoo.errors import RunError
from zoo.runs.metrics_file import NUMBERS, forget_after, read_losses, read_metrics
from zoo.runs.run_folder import RunFolder


def metrics(folder, *lines):
    folder.metrics.write_text("".join(lines))
    return folder


def line(step, **values):
    return json.dumps({"step": step, "loss": 1.0, **values}) + "\n"


def test_metrics_of_later_steps_are_dropped(tmp_path):
    folder = metrics(RunFolder(tmp_path), line(1), line(2, note="ä"), line(3), line(4))
    forget_after(folder.metrics, 2)
    assert folder.metrics.read_text() == line(1) + line(2, note="ä")
    assert [each["step"] for each in read_metrics(folder.metrics)] == [1, 2]
    forget_after(folder.metrics, 0)
    assert read_metrics(folder.metrics) == []


def test_the_losses_of_a_long_run_take_little_memory(tmp_path):
    """A run draws its curve again and again; lines in full would take a kilobyte for each step."""
    count = 2000
    errors = [0.123456789, 0.987654321]
    folder = metrics(RunFolder(tmp_path), *(line(step, stage_errors=errors) for step in range(1, count + 1)))
    tracemalloc.start()
    try:
        steps, losses = read_losses(folder.metrics)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert steps == list(range(1, count + 1))
    assert losses == [1.0] * count
    assert peak < 200 * count


def test_lines_without_a_loss_are_no_points_of_the_curve(tmp_path):
    folder = metrics(RunFolder(tmp_path), line(1), json.dumps({"step": 2, "skipped": 1}) + "\n", line(3))
    assert read_losses(folder.metrics) == ([1, 3], [1.0, 1.0])


@pytest.mark.parametrize("length", range(1, len(line(3))))
def test_a_line_that_was_cut_off_is_dropped(length, tmp_path):
    folder = metrics(RunFolder(tmp_path), line(1), line(2), line(3)[:length])
    whole = length == len(line(3)) - 1  # but for the newline
    assert [each["step"] for each in read_metrics(folder.metrics)] == [1, 2, 3][: 2 + whole]
    forget_after(folder.metrics, 9)
    assert folder.metrics.read_text() == line(1) + line(2) + line(3) * whole


@pytest.mark.parametrize(
    "garbage",
    [
        *("\n", "}\n", "{}\n", "[1]\n", "3\n", '{"step": "3"}\n', '{"loss": 2}\n', "\x00" * 50, "\x00\n", "nul\n"),
        *(line(1, loss=loss) for loss in ("x", None, True, [1.0], {})),
        *(line(1, stage_errors=errors) for errors in ("x", 1.0, ["x"], [None], [1e101])),
        *(line(1, terms=terms) for terms in ("x", [1.0], {"cosine": "x"}, {"cosine": None}, {"cosine": 1e101})),
        *(line(1, **{key: "x"}) for key in NUMBERS),
    ],
)
def test_garbage_between_lines_is_dropped(garbage, tmp_path):
    folder = metrics(RunFolder(tmp_path), line(1), garbage, "\n", line(2))
    assert [each["step"] for each in read_metrics(folder.metrics)] == [1, 2]
    forget_after(folder.metrics, 2)
    assert folder.metrics.read_text() == line(1) + line(2)


def test_a_line_that_is_longer_than_any_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.runs.metrics_file.LONGEST_LINE", 100)
    folder = metrics(RunFolder(tmp_path), line(1), line(2, note="x" * 500), line(3))
    forget_after(folder.metrics, 3)
    assert folder.metrics.read_text() == line(1) + line(3)


def test_metrics_that_are_too_many_to_be_read_are_dropped_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.runs.metrics_file.LARGEST", 100)
    folder = metrics(RunFolder(tmp_path), *(line(step) for step in range(9)))
    with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be read: it has more than"):
        read_metrics(folder.metrics)
    forget_after(folder.metrics, 1)
    assert folder.metrics.read_text() == line(0) + line(1)
    assert len(read_metrics(folder.metrics)) == 2


def test_metrics_that_are_a_pipe_are_waited_for_by_nobody(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    for call in (read_metrics, lambda path: forget_after(path, 1)):
        with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be read: it is no plain file"):
            call(tmp_path / "metrics.jsonl")


def test_bytes_that_are_no_text_are_dropped(tmp_path):
    folder = RunFolder(tmp_path)
    folder.metrics.write_bytes(line(1).encode() + b"\xff\xfe\n" + line(2).encode())
    assert [each["step"] for each in read_metrics(folder.metrics)] == [1, 2]


def test_without_metrics_there_is_nothing_to_drop(tmp_path):
    forget_after(RunFolder(tmp_path).metrics, 3)
    assert read_metrics(RunFolder(tmp_path).metrics) == []
    assert not list(tmp_path.iterdir())


def test_a_crash_while_metrics_are_dropped_loses_none(tmp_path, monkeypatch):
    folder = metrics(RunFolder(tmp_path), line(1), line(2))

    def crash(descriptor):
        raise Crash

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(Crash):
        forget_after(folder.metrics, 1)
    assert folder.metrics.read_text() == line(1) + line(2)
