"""Checkpoints: whole or not there, whatever happens while they are written, and sound before they are used."""

import ast
import errno
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors.torch import save_file

import zoo
from zoo.checkpoint_folders import checkpoints_in, run_of, run_of_newest
from zoo.errors import RunError
from zoo.runs import checkpoint as checkpoints
from zoo.runs.checkpoint import Checkpoint, at_step, latest, problem_of, prune, save, set_aside_after

RUN = "0123456789abcdef"
FILES = {"model.safetensors", "ema.safetensors", "state.json", "manifest.json"}


def tensors(step=1):
    values = torch.arange(12.0).reshape(3, 4) + step
    return {
        "model": {"weight": values, "turned": values.T, "half": values.bfloat16(), "one": torch.tensor(step)},
        "ema": {"weight": values * 2, "empty": torch.empty(0, 3)},
    }


def write(folder, *steps):
    return [save(folder, step, tensors(step), {"run": RUN, "step": step, "text": "größe"}) for step in steps]


def assert_holds(checkpoint, step):
    assert checkpoint.step == step
    assert checkpoint.state() == {"run": RUN, "step": step, "text": "größe"}
    for name, values in tensors(step).items():
        loaded = checkpoint.tensors(name)
        assert loaded.keys() == values.keys()
        for key, value in values.items():
            assert loaded[key].dtype == value.dtype
            assert torch.equal(loaded[key], value)


def assert_newest(folder, step):
    """``step`` is the newest sound one, and nothing looks like a newer one."""
    found, problems = latest(folder)
    assert problems == []
    assert_holds(found, step)


def test_what_is_saved_is_read_back(tmp_path):
    (saved,) = write(tmp_path / "deep" / "er", 7)
    assert saved.path == tmp_path / "deep" / "er" / "step_00000007"
    assert {each.name for each in saved.path.iterdir()} == FILES
    assert_newest(tmp_path / "deep" / "er", 7)
    assert saved.digest("ema") != saved.digest("model")
    assert saved.digest("ema") == write(tmp_path / "again", 7)[0].digest("ema")


def test_the_newest_is_by_number_not_by_name(tmp_path):
    write(tmp_path, 99_999_999, 100_000_000, 9)
    assert latest(tmp_path)[0].step == 100_000_000


def test_a_folder_that_is_not_there_has_none(tmp_path):
    assert latest(tmp_path / "missing") == (None, [])
    prune(tmp_path / "missing", 1, RUN)
    set_aside_after(tmp_path / "missing", 0, RUN)


def test_what_is_there_already_is_replaced(tmp_path):
    save(tmp_path, 4, {"other": {"x": torch.ones(1)}}, {"run": RUN})
    write(tmp_path, 4)
    assert_newest(tmp_path, 4)
    assert {each.name for each in (tmp_path / "step_00000004").iterdir()} == FILES


class Crash(BaseException):
    """The end of the process: nothing catches it, nothing cleans up."""


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
    """``save_file`` that writes half of the file, and then raises."""

    def half(values, path, metadata):
        whole, calls[0] = calls[0] != count, calls[0] + 1
        save_file(values, path, metadata)
        if not whole:
            os.truncate(path, os.path.getsize(path) // 2)
            raise error

    calls = [0]
    return half, calls


POINTS = {
    "save_file": (safetensors.torch, "save_file", save_file, 2),
    "write": (checkpoints, "write_new", checkpoints.write_new, 4),
    "chmod": (Path, "chmod", Path.chmod, 4),
    "hash": (checkpoints, "_sha256", checkpoints._sha256, 3),
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
    monkeypatch.setattr(owner, name, (lambda *a, **o: call(*a, **o)) if owner is Path else call)
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


@pytest.mark.parametrize("count", [0, 1])
def test_a_crash_in_the_midst_of_a_file(count, tmp_path, monkeypatch):
    write(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", cut_off(count, Crash())[0])
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


def test_tensors_that_share_memory_are_an_error_of_the_run(tmp_path):
    write(tmp_path, 1)
    shared = torch.ones(3)
    with pytest.raises(RunError, match=r"the checkpoint cannot be written: .*share memory") as caught:
        save(tmp_path, 2, {"model": {"a": shared, "b": shared}}, {"run": RUN})
    assert "\n" not in str(caught.value)
    assert_newest(tmp_path, 1)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_flipped_bit_anywhere_is_noticed(name, tmp_path):
    write(tmp_path, 1, 2)
    file = tmp_path / "step_00000002" / name
    data = file.read_bytes()
    for place in range(0, len(data), max(1, len(data) // 40)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        file.write_bytes(flipped)
        if json_means_the_same(data, flipped) and name == "manifest.json":
            continue  # a blank for another
        found, problems = latest(tmp_path)
        assert found.step == 1, f"byte {place} of {name}"
        (problem,) = problems
        assert problem.startswith(f"{file.parent}: ")
        assert "\n" not in problem
    assert_holds(found, 1)
    file.write_bytes(data)
    assert_newest(tmp_path, 2)


def json_means_the_same(data, flipped):
    try:
        return json.loads(data) == json.loads(bytes(flipped))
    except ValueError:
        return False


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_is_cut_off_or_longer_or_gone_or_a_folder_is_noticed(name, tmp_path):
    write(tmp_path, 1, 2)
    file = tmp_path / "step_00000002" / name
    data = file.read_bytes()

    def cut():
        file.write_bytes(data[:-1])

    def empty():
        file.write_bytes(b"")

    def longer():
        file.write_bytes(data + b"}")

    def folder():
        file.unlink()
        file.mkdir()

    def gone():
        file.rmdir()

    for damage in (cut, empty, longer, folder, gone):
        if (damage, name) == (cut, "manifest.json"):
            continue  # a newline
        damage()
        found, problems = latest(tmp_path)
        assert found.step == 1, damage.__name__
        assert len(problems) == 1
        assert "\n" not in problems[0]
    assert problems[0].endswith(
        "has no manifest.json: it was not finished"
        if name == "manifest.json"
        else f"{name} cannot be read: [Errno 2] No such file or directory: '{file}'"
    )


def change_manifest(path, change):
    file = path / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "7", '{"files": 3}', '{"files": []}', '{"files": {"a": 3}}', "[" * 100_000, "\x00", "NaN"],
)
def test_a_foreign_manifest_is_noticed(text, tmp_path):
    (saved,) = write(tmp_path, 1)
    (saved.path / "manifest.json").write_text(text)
    found, problems = latest(tmp_path)
    assert found is None
    assert len(problems) == 1
    assert problems[0].startswith(f"{saved.path}: manifest.json cannot be read: ")


@pytest.mark.parametrize(
    "name",
    ["../outside", "../step_00000001/model.safetensors", "/etc/hostname", ".", "..", "", "a/b", "a\x00b", ".hidden"],
)
def test_a_manifest_cannot_name_what_is_outside(name, tmp_path):
    (saved,) = write(tmp_path / "c", 1)
    outside = tmp_path / "c" / "outside"
    outside.write_bytes(b"x")
    entry = {"size": 1, "sha256": checkpoints._sha256(outside)}
    change_manifest(saved.path, lambda manifest: manifest["files"].update({name: entry}))
    assert problem_of(saved.path) == f"manifest.json names {name!r}, which is no file of the checkpoint"


def test_a_manifest_that_vouches_for_nothing_is_noticed(tmp_path):
    (saved,) = write(tmp_path, 1)
    change_manifest(saved.path, lambda manifest: manifest["files"].clear())
    assert problem_of(saved.path) == "manifest.json does not name state.json"


def test_a_file_that_the_manifest_does_not_vouch_for_is_not_read(tmp_path):
    (saved,) = write(tmp_path, 1)
    change_manifest(saved.path, lambda manifest: manifest["files"].pop("ema.safetensors"))
    assert problem_of(saved.path) is None  # whoever wants no averages may use it
    for read in (saved.tensors, saved.digest):
        with pytest.raises(RunError, match=r"step_00000001: holds no ema\.safetensors; is this a checkpoint of"):
            read("ema")


@pytest.mark.parametrize(("key", "value"), [("version", 999), ("format", "another"), ("version", "2")])
def test_a_checkpoint_of_another_version_is_not_used(key, value, tmp_path):
    (saved,) = write(tmp_path, 1)
    change_manifest(saved.path, lambda manifest: manifest.update({key: value}))
    assert "it is none of this version of zoo" in problem_of(saved.path)


def test_a_checkpoint_that_was_renamed_is_not_used(tmp_path):
    """Its steps would be counted wrong, and its samples be those of other steps."""
    (saved,) = write(tmp_path, 100)
    shutil.copytree(saved.path, tmp_path / "step_00000200")
    found, problems = latest(tmp_path)
    assert found.step == 100
    assert problems == [
        f"{tmp_path / 'step_00000200'}: it is of step 100, as manifest.json says: the folder has been renamed"
    ]


def test_folders_that_look_like_checkpoints(tmp_path):
    write(tmp_path, 5)
    for name in ("step_x", "step_", "step_-7", "step_7.unsound", "step_7 ", ".step_00000007.unfinished", "steps"):
        (tmp_path / name).mkdir()
    (tmp_path / "step_00000008").touch()
    assert_newest(tmp_path, 5)
    (tmp_path / "step_00000009").mkdir()
    found, problems = latest(tmp_path)
    assert found.step == 5
    assert problems == [f"{tmp_path / 'step_00000009'}: has no manifest.json: it was not finished"]


def test_every_unsound_one_that_is_newer_is_told_and_passed_over(tmp_path):
    paths = [saved.path for saved in write(tmp_path, 1, 2, 3, 4)]
    (paths[0] / "state.json").unlink()
    (paths[2] / "model.safetensors").write_bytes(b"short")
    (paths[3] / "manifest.json").unlink()
    found, problems = latest(tmp_path)
    assert_holds(found, 2)
    assert [problem.split(":")[0] for problem in problems] == [str(paths[3]), str(paths[2])]
    (paths[1] / "ema.safetensors").unlink()
    found, problems = latest(tmp_path)
    assert found is None
    assert len(problems) == 4


def test_what_goes_away_after_it_was_checked_is_an_error_of_the_run(tmp_path):
    """``zoo sample`` beside a run that prunes."""
    (saved,) = write(tmp_path, 1)
    shutil.rmtree(saved.path)
    for read in (saved.state, lambda: saved.tensors("model"), lambda: saved.digest("model")):
        with pytest.raises(RunError, match=r"is gone; is the run still training\?"):
            read()


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


def test_only_what_is_to_be_read_need_be_sound(tmp_path):
    (older, newer) = write(tmp_path, 1, 2)
    (newer.path / "model.safetensors").write_bytes(b"damaged")
    assert latest(tmp_path, ["ema"]) == (newer, [])
    assert at_step(tmp_path, 2, ["ema"]) == newer
    found, (problem,) = latest(tmp_path, ["model"])
    assert found == older
    assert "model.safetensors has 7 bytes in place of" in problem
    assert latest(tmp_path, ["optimizer"]) == (
        None,
        [f"{each.path}: holds no optimizer.safetensors" for each in (newer, older)],
    )
    (newer.path / "state.json").write_text("{}")
    assert latest(tmp_path, ["ema"])[0] == older


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_folder_whose_name_is_no_text(tmp_path):
    (saved,) = write(tmp_path / os.fsdecode(b"\xff"), 1)
    assert_holds(saved, 1)
    (saved.path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"model\.safetensors: cannot be read: (?!.*still training)"):
        saved.tensors("model")


def test_without_verification_damage_would_go_unnoticed(tmp_path, monkeypatch):
    """The laws above have something to catch: safetensors itself reads a flipped bit without a word."""
    (saved,) = write(tmp_path, 1)
    file = saved.path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert not all(torch.equal(a, b) for a, b in zip(saved.tensors("model").values(), tensors()["model"].values()))  # noqa: B905
    assert latest(tmp_path)[0] is None
    monkeypatch.setattr(checkpoints, "problem_of", lambda *_: None)
    assert latest(tmp_path)[0] == Checkpoint(saved.path)


def pickles(tree):
    """Where a module imports pickle or its kin, or calls torch.save or torch.load."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [f"{node.value.id}.{node.attr}"]
        elif isinstance(node, ast.keyword):
            names = [f"{node.arg}={getattr(node.value, 'value', None)}"]
        forbidden = {"torch.save", "torch.load", "allow_pickle=True", "torch.distributed.checkpoint"}
        modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
        yield from (name for name in names if name in forbidden or name.split(".")[0] in modules)


PUBLISHED = {
    "weights/conversion.py": ["torch.save"],
    "weights/pickles.py": ["pickle", "pickle.UnpicklingError", "torch.load"],
}
"""Where checkpoints of others are read and written, which are pickles."""


def test_nothing_of_zoos_own_is_pickled():
    package = Path(zoo.__file__).parent
    modules = sorted(package.rglob("*.py"))
    assert len(modules) > 80
    found = {
        path.relative_to(package).as_posix(): sorted(pickles(ast.parse(path.read_text(encoding="utf-8"))))
        for path in modules
    }
    assert {path: names for path, names in found.items() if names} == PUBLISHED


def test_pickles_of_others_are_read_as_weights_only():
    tree = ast.parse((Path(zoo.__file__).parent / "weights" / "pickles.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"]
    assert calls
    for call in calls:
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert options["weights_only"] == "True"
        assert options["map_location"] == "'cpu'"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x')",
        "from torch import save",
        "def f():\n import dill",
        "np.load('x', allow_pickle=True)",
    ],
)
def test_the_search_for_pickles_finds_them(code):
    assert list(pickles(ast.parse(code)))
