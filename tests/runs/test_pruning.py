"""Which checkpoints go and which are set aside: those of the run alone, and never half of one."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.runs.written import RUN, Crash, assert_newest, tensors, write
from zoo.checkpoint_folders import checkpoints_in, run_of, run_of_newest
from zoo.errors import RunError
from zoo.runs.checkpoint import Checkpoint, latest, problem_of, prune, save, set_aside_after


@pytest.mark.parametrize("keep", [1, 2, 3, 9])
def test_prune_keeps_the_newest(keep, tmp_path):
    write(tmp_path, 1, 2, 10, 100)
    prune(tmp_path, keep, RUN)
    left = [int(path.name.removeprefix("step_")) for path in sorted(tmp_path.iterdir())]
    assert left == [1, 2, 10, 100][-keep:]
    assert_newest(tmp_path, 100)


def save_apart(folder, *steps):
    for step in steps:
        save(folder, step, tensors(step), {"run": RUN, "apart": True})


@pytest.mark.parametrize(
    ("regular", "apart", "keep", "left"),
    [
        ([2, 4, 6], [3, 5, 7], 1, [6, 7]),
        ([2, 4, 6], [3, 5, 7], 2, [4, 5, 6, 7]),
        ([2, 4, 6], [1, 3], 3, [2, 3, 4, 6]),
        ([6], [1, 3], 2, [1, 3, 6]),  # fewer than are to stay
        ([], [1, 3], 1, [1, 3]),
    ],
)
def test_prune_does_not_count_what_was_saved_apart(regular, apart, keep, left, tmp_path):
    write(tmp_path, *regular)
    save_apart(tmp_path, *apart)
    prune(tmp_path, keep, RUN)
    assert [Checkpoint(path).step for path in checkpoints_in(tmp_path)] == left


@pytest.mark.parametrize(
    ("keep_every", "left"), [(None, [100, 110]), (20, [20, 40, 100, 110]), (50, [50, 100, 110]), (30, [30, 100, 110])]
)
def test_prune_leaves_those_of_every_so_many_steps(keep_every, left, tmp_path):
    write(tmp_path, 10, 20, 30, 40, 50, 100, 110)
    prune(tmp_path, 2, RUN, keep_every=keep_every)
    assert [Checkpoint(path).step for path in checkpoints_in(tmp_path)] == left
    assert all(problem_of(path) is None for path in checkpoints_in(tmp_path))


def refuses(*names):
    """``Path.rename`` where files are immutable, as chattr makes them."""
    plain = Path.rename

    def rename(path, target):
        if path.name in names:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))
        return plain(path, target)

    return rename


def test_prune_removes_the_others_where_some_cannot_be_removed(tmp_path, monkeypatch):
    write(tmp_path, 1, 2, 3, 4, 5)
    (tmp_path / ".step_00000009.unfinished").mkdir()
    monkeypatch.setattr(Path, "rename", refuses("step_00000001", "step_00000003"))
    with pytest.raises(RunError) as caught:
        prune(tmp_path, 1, RUN)
    assert str(caught.value) == (
        f"{tmp_path}: an older checkpoint cannot be moved or removed: [Errno 1] Operation not permitted:"
        f" '{tmp_path / 'step_00000001'}' (and 1 more); may zoo write there?"
    )
    assert {path.name for path in tmp_path.iterdir()} == {"step_00000001", "step_00000003", "step_00000005"}


def test_the_others_are_set_aside_where_some_cannot_be(tmp_path, monkeypatch):
    write(tmp_path, 1, 2, 4, 5)
    save(tmp_path, 3, tensors(), {"run": "another"})
    monkeypatch.setattr(Path, "rename", refuses("step_00000004"))
    with pytest.raises(RunError, match=r"step_00000003: is not of this run .*, and --resume \(and 1 more\)$"):
        set_aside_after(tmp_path, 1, RUN)
    assert [Checkpoint(path).step for path in checkpoints_in(tmp_path)] == [1, 3, 4]


def test_prune_always_leaves_one(tmp_path):
    write(tmp_path, 1)
    for keep in (0, -1):
        with pytest.raises(AssertionError, match="one must be left"):
            prune(tmp_path, keep, RUN)
    assert_newest(tmp_path, 1)


def test_prune_removes_what_crashes_have_left_and_nothing_else(tmp_path):
    write(tmp_path, 1, 2)
    (tmp_path / ".step_00000001.unfinished").mkdir()
    (tmp_path / ".step_00000001.unfinished" / "model.safetensors").touch()
    (tmp_path / ".step_00000009.unfinished").touch()
    others = {"step_00000005.unsound", "notes.txt", ".other"}
    for name in others:
        (tmp_path / name).touch()
    prune(tmp_path, 1, RUN)
    assert {path.name for path in tmp_path.iterdir()} == {"step_00000002", *others}


def test_the_checkpoints_of_another_run_are_left_as_they_are(tmp_path):
    others = [save(tmp_path, step, tensors(step), {"run": "another"}).path for step in (2, 3, 9)]
    write(tmp_path, 1, 4, 5)
    prune(tmp_path, 1, RUN)
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "step_00000005"])
    message = rf"step_0000000{{}}: is not of this run \({RUN}\), and is left as it is; move it elsewhere, and --resume"
    with pytest.raises(RunError, match=message.format(9)):
        set_aside_after(tmp_path, 5, RUN)
    with pytest.raises(RunError, match=message.format(3)):
        write(tmp_path, 3)
    assert all(problem_of(path) is None for path in others)


def test_a_checkpoint_that_was_moved_elsewhere_and_linked_stays_there(tmp_path):
    """Training goes on from it; when it is old, the link goes and not what it leads to."""
    large, folder = tmp_path / "large", tmp_path / "checkpoints"
    (saved,) = write(folder, 1)
    large.mkdir()
    saved.path.symlink_to(shutil.move(saved.path, large))
    assert_newest(folder, 1)
    for step in (2, 3):
        write(folder, step)
        prune(folder, 1, RUN)
    assert [path.name for path in folder.iterdir()] == ["step_00000003"]
    assert_newest(large, 1)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "7", "[" * 100_000, "\x00"])
def test_a_checkpoint_that_does_not_say_whose_it_is(text, tmp_path):
    """It is not pruned; training that comes to its step replaces it."""
    saved, _ = write(tmp_path, 1, 2)
    (saved.path / "state.json").write_text(text)
    prune(tmp_path, 1, RUN)
    assert run_of_newest(tmp_path) == RUN
    assert run_of(saved.path) is None
    write(tmp_path, 1)
    assert problem_of(saved.path) is None


def test_a_linked_checkpoint_that_is_not_there_is_told(tmp_path):
    """Its disk is not mounted."""
    write(tmp_path, 1)
    (tmp_path / "step_00000002").symlink_to("/large/step_00000002")
    found, problems = latest(tmp_path)
    assert found.step == 1
    assert problems == [f"{tmp_path / 'step_00000002'}: links to /large/step_00000002, which is not there"]
    set_aside_after(tmp_path, 1, RUN)
    assert (tmp_path / "step_00000002.unsound").is_symlink()


def test_a_folder_of_checkpoints_may_be_linked_and_only_what_is_the_runs_is_changed_there(tmp_path):
    large, folder = tmp_path / "large", tmp_path / "checkpoints"
    unknown = {large / name for name in ("step_00000002", "step_00000007", ".step_00000008.unfinished", "notes.txt")}
    for path in unknown:
        path.mkdir(parents=True)
        (path / "mine").touch()
    folder.symlink_to(large)
    write(folder, 1, 3, 4)
    prune(folder, 2, RUN)
    assert set(large.iterdir()) == {*unknown, large / "step_00000003", large / "step_00000004"}
    for change in (lambda: write(folder, 2), lambda: set_aside_after(folder, 4, RUN)):
        with pytest.raises(RunError, match="is not of this run"):
            change()
    assert all((path / "mine").exists() for path in unknown)


def test_a_crash_while_pruning_leaves_no_half_checkpoint(tmp_path, monkeypatch):
    write(tmp_path, 1, 2, 3)

    def crash(path):
        (path / "state.json").unlink()
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", crash)
        with pytest.raises(Crash):
            prune(tmp_path, 1, RUN)
    assert latest(tmp_path)[1] == []
    assert all(problem_of(path) is None for path in tmp_path.glob("step_*"))
    prune(tmp_path, 1, RUN)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000003"]


def test_later_ones_are_set_aside_not_removed(tmp_path):
    paths = [saved.path for saved in write(tmp_path, 1, 2, 3)]
    (paths[2] / "ema.safetensors").unlink()
    for _ in range(2):  # the second time over what was set aside before
        set_aside_after(tmp_path, 1, RUN)
        assert {path.name for path in tmp_path.iterdir()} == {
            "step_00000001",
            "step_00000002.unsound",
            "step_00000003.unsound",
        }
        assert_newest(tmp_path, 1)
        write(tmp_path, 2)
        shutil.copytree(tmp_path / "step_00000002", paths[2])
    assert (tmp_path / "step_00000002.unsound" / "model.safetensors").exists()


@pytest.mark.parametrize("change", [prune, set_aside_after])
def test_a_disk_that_refuses_changes_is_an_error_of_the_run(change, tmp_path, monkeypatch):
    write(tmp_path, 1, 2)

    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(RunError, match=r"an older checkpoint cannot be moved or removed: .*Permission denied"):
        change(tmp_path, 1, RUN)
