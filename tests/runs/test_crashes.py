"""A checkpoint whose writing is cut short, at any point: older ones are whole, and there is no half one."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.runs.written import RUN, Crash, assert_holds, assert_newest, tensors, write
from zoo.errors import RunError
from zoo.files import Hashed
from zoo.runs import checkpoint as checkpoints
from zoo.runs.checkpoint import latest, problem_of, prune


def after(count, error, function):
    """``function``, which at call ``count`` (from 0) raises instead; and how often it has been called."""
    calls = [0]

    def call(*arguments, **options):
        calls[0] += 1
        if calls[0] == count + 1:
            raise error
        return function(*arguments, **options)

    return call, calls


def cut_off(count, error):
    """``Hashed.write`` that at call ``count`` (from 0) writes half, and then raises."""

    def half(file, data):
        calls[0] += 1
        if calls[0] == count + 1:
            write(file, data[: len(data) // 2])
            raise error
        write(file, data)

    calls, write = [0], Hashed.write
    return half


POINTS = {
    "file": (checkpoints, "write_new", checkpoints.write_new, 4),
    "piece": (Hashed, "write", Hashed.write, 8),
    "fsync": (os, "fsync", os.fsync, 6),
    "mkdir": (Path, "mkdir", Path.mkdir, 2),
    "rename": (Path, "rename", Path.rename, 1),
}
"""What writing goes through, and how often."""
EVERY_POINT = [(point, count) for point, (*_, calls) in POINTS.items() for count in range(calls)]


def broken(monkeypatch, point, count, error):
    owner, name, function, _ = POINTS[point]
    call, calls = after(count, error, function)
    # A method has to stay one.
    monkeypatch.setattr(owner, name, (lambda *a, **o: call(*a, **o)) if owner in (Path, Hashed) else call)
    return calls


@pytest.mark.parametrize("point", POINTS)
def test_all_points_of_failure_are_known(point, tmp_path, monkeypatch):
    """If writing comes to go through more points than the tests below break, they have to break these too."""
    with monkeypatch.context() as patch:
        calls = broken(patch, point, -1, Crash())
        write(tmp_path, 1)
    assert calls == [POINTS[point][-1]]


@pytest.mark.parametrize(("point", "count"), EVERY_POINT)
def test_a_crash_at_any_point_leaves_the_older_ones_whole_and_no_half_one(point, count, tmp_path, monkeypatch):
    write(tmp_path, 1, 2)
    with monkeypatch.context() as patch:
        broken(patch, point, count, Crash())
        with pytest.raises(Crash):
            write(tmp_path, 3)
    found, problems = latest(tmp_path)
    assert problems == []
    # After the rename it is there, and whole.
    assert_holds(found, 3 if (point, count) == ("fsync", 5) else 2)
    assert problem_of(tmp_path / "step_00000001") is None
    write(tmp_path, 3)
    assert_newest(tmp_path, 3)
    prune(tmp_path, 3, RUN)
    assert {each.name for each in tmp_path.iterdir()} == {f"step_0000000{step}" for step in (1, 2, 3)}


@pytest.mark.parametrize("count", range(8))
def test_a_crash_in_the_midst_of_a_file(count, tmp_path, monkeypatch):
    write(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Hashed, "write", cut_off(count, Crash()))
        with pytest.raises(Crash):
            write(tmp_path, 2)
    assert_newest(tmp_path, 1)


@pytest.mark.parametrize(("point", "count"), EVERY_POINT)
def test_a_full_disk_is_told_in_one_line_and_leaves_nothing_behind(point, count, tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints"
    write(folder, 1)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        broken(patch, point, count, full)
        with pytest.raises(RunError) as caught:
            write(folder, 2)
    assert caught.value.exit_code == 3
    message = str(caught.value)
    assert message.startswith(str(folder / "step_00000002"))  # or a file of it
    assert ": the checkpoint cannot be written: " in message
    assert message.endswith("No space left on device; older ones are whole")
    assert "\n" not in message
    assert not list(folder.glob(".*"))
    if (point, count) != ("fsync", 5):
        assert_newest(folder, 1)


def test_a_crash_while_an_unsound_one_is_replaced_leaves_the_older_one(tmp_path, monkeypatch):
    write(tmp_path, 1, 2)
    (tmp_path / "step_00000002" / "ema.safetensors").unlink()
    for point in ("rename", "fsync"):
        with monkeypatch.context() as patch:
            broken(patch, point, 0, Crash())
            with pytest.raises(Crash):
                write(tmp_path, 2)
        assert latest(tmp_path)[0].step == 1
    write(tmp_path, 2)
    assert_newest(tmp_path, 2)


def test_a_place_that_cannot_be_written_is_an_error_of_the_run(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match="the checkpoint cannot be written: "):
            write(folder, 1)


def test_a_checkpoint_that_the_disk_has_no_room_for_is_not_begun(tmp_path, monkeypatch):
    write(tmp_path, 1)
    size = sum(value.nbytes for values in tensors().values() for value in values.values())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, free))
    monkeypatch.setattr(checkpoints, "whole_folder", lambda path: pytest.fail("it was begun"))
    free = size - 1
    with pytest.raises(RunError) as caught:
        write(tmp_path, 2)
    assert str(caught.value) == (
        f"{tmp_path / 'step_00000002'}: the checkpoint cannot be written: 0.0 MB are needed, and the disk has 0.0 MB"
        " left; older ones are whole"
    )
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, size))
    write(tmp_path, 2)
