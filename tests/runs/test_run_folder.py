"""The run folder: one run at a time, nothing overwritten, and a recipe that trains the same again."""

import errno
import fcntl
import json
import multiprocessing
import os
import platform
import shutil
import sys
import tracemalloc
from pathlib import Path

import pytest
import yaml

from tests.train.small import VALUES, small
from zoo import flock
from zoo.assembly import load_recipe
from zoo.errors import RunError, ZooError
from zoo.recipe import absolute
from zoo.runs import metrics_file
from zoo.runs.run_folder import RunFolder, load_run

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.y*ml"))


def written(path, registry, recipe=None):
    recipe = recipe or small(registry=registry)
    folder = RunFolder(path)
    folder.create()
    folder.write(recipe, recipe.resolved())
    folder.unlock()
    return folder


def test_a_new_folder_is_made_with_all_above_it(tmp_path, registry):
    folder = written(tmp_path / "a" / "b", registry)
    assert folder.is_used
    assert load_run(tmp_path / "a" / "b").path == folder.path
    assert {each.name for each in folder.path.iterdir()} == {".lock", "recipe.yaml", "run.json"}


def test_a_folder_with_a_run_is_not_used_again(tmp_path, registry):
    written(tmp_path, registry)
    before = (tmp_path / "recipe.yaml").read_bytes()
    with pytest.raises(ZooError) as caught:
        RunFolder(tmp_path).create()
    assert (
        str(caught.value) == f"{tmp_path}: holds a run already; go on with it by --resume, or choose another --run-dir"
    )
    assert caught.value.exit_code == 2
    assert (tmp_path / "recipe.yaml").read_bytes() == before


@pytest.mark.parametrize("name", ["notes.txt", "checkpoints", ".hidden"])
def test_a_folder_with_anything_else_is_not_used(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(ZooError, match="is not empty, and holds no run; choose another --run-dir"):
        RunFolder(tmp_path).create()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ZooError):
        RunFolder(tmp_path / "file").create()
    with pytest.raises(RunError, match="the run folder cannot be made: Not a directory"):
        RunFolder(tmp_path / "file" / "below").create()


def test_what_a_crash_before_the_first_line_left_is_no_hindrance(tmp_path):
    """On this machine or another, and where nothing can be locked."""
    (tmp_path / ".lock").touch()
    for name in (".recipe.yaml.node-1.0", ".recipe.yaml.another.1", ".run.json.node-1.0", ".run.json.0123456789abcdef"):
        (tmp_path / f"{name}.unfinished").mkdir()
    folder = RunFolder(tmp_path)
    folder.create()
    assert not folder.is_used


class Crash(BaseException):
    """The end of the process."""


@pytest.mark.parametrize("call", [0, 1])
@pytest.mark.parametrize("point", ["fsync", "replace"])
def test_a_crash_while_the_first_files_are_written(point, call, tmp_path, registry, monkeypatch):
    """There is a run that can be gone on with, or none, and the folder can be used; never something in between."""
    owner, real = (os, os.fsync) if point == "fsync" else (Path, Path.replace)
    calls = []

    def crash(*arguments):
        calls.append(arguments)
        if len(calls) == call + 1:
            raise Crash
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, point, crash)
        with pytest.raises(Crash):
            written(tmp_path, registry)
    folder = RunFolder(tmp_path)
    assert folder.is_used == (call == 1)
    folder.lock() if folder.is_used else folder.create()
    folder.write(small(registry=registry), small(registry=registry).resolved())
    folder.unlock()
    assert load_recipe(folder.recipe, (), registry) == small(registry=registry)
    assert len(json.loads(folder.versions.read_text())) == 1


def test_a_second_run_in_the_folder_is_refused_until_the_first_ends(tmp_path, registry):
    first, second = written(tmp_path, registry), RunFolder(tmp_path)
    first.lock()
    with pytest.raises(RunError) as caught:
        second.lock()
    owner = f"process {os.getpid()} on {platform.node()}"
    assert str(caught.value) == f"{tmp_path}: {owner} is training in this folder; wait for it, or stop it"
    assert caught.value.exit_code == 3
    first.unlock()
    second.lock()
    second.unlock()
    second.unlock()  # nothing to do


def test_of_many_that_begin_at_the_same_moment_exactly_one_does(tmp_path):
    context = multiprocessing.get_context("fork")
    begin, told = context.Barrier(8), context.SimpleQueue()

    def start():
        folder = RunFolder(tmp_path / "run")
        begin.wait()
        try:
            folder.create()
        except ZooError as error:
            told.put(str(error))
        else:
            told.put("begins")
        begin.wait()  # with the lock, which ends with the process

    processes = [context.Process(target=start) for _ in range(8)]
    for process in processes:
        process.start()
    results = [told.get() for _ in processes]
    for process in processes:
        process.join()
    assert results.count("begins") == 1
    assert all("is training in this folder" in each for each in results if each != "begins")


def test_one_that_begins_after_another_has_begun_and_ended_sees_it(tmp_path, registry, monkeypatch):
    """Between its look at the folder and its lock."""
    make = Path.mkdir

    def late(path, **options):
        monkeypatch.undo()
        make(path, **options)
        written(path, registry)

    monkeypatch.setattr(Path, "mkdir", late)
    with pytest.raises(ZooError, match="holds a run already; go on with it by --resume"):
        RunFolder(tmp_path / "run").create()
    RunFolder(tmp_path / "run").lock()  # it has let go


def test_a_folder_of_another_run_is_not_locked(tmp_path, registry):
    """By a process that takes over from one which has ended."""
    one = written(tmp_path, registry)
    shutil.rmtree(tmp_path)
    other = written(tmp_path, registry)
    assert other.run != one.run
    with pytest.raises(RunError, match="has been taken by another run"):
        one.lock()
    other.lock()


def test_a_folder_that_goes_away_while_it_is_locked_is_told(tmp_path, monkeypatch):
    real = fcntl.flock

    def late(*arguments):
        (tmp_path / ".lock").unlink()
        real(*arguments)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(RunError, match="is being removed or replaced; start again when that is over"):
        RunFolder(tmp_path).lock()


@pytest.mark.parametrize(
    "change", [Path.unlink, lambda path: path.write_bytes(b"\xff"), lambda path: path.write_bytes(b"")]
)
def test_a_lock_that_does_not_say_whose_it_is(change, tmp_path, registry):
    """Who holds it ends just then, and has removed it; or it is damaged."""
    first = written(tmp_path, registry)
    first.lock()
    real = fcntl.flock

    def late(*arguments):
        change(tmp_path / ".lock")
        real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", late)
        with pytest.raises(RunError) as caught:
            RunFolder(tmp_path).lock()
    assert str(caught.value) == f"{tmp_path}: another process is training in this folder; wait for it, or stop it"
    first.unlock()


def test_the_lock_ends_with_the_process(tmp_path, registry):
    folder = written(tmp_path, registry)
    process = multiprocessing.get_context("fork").Process(target=lambda: (folder.lock(), os._exit(0)))
    process.start()
    process.join()
    assert process.exitcode == 0
    folder.lock()
    folder.unlock()


def test_data_workers_that_live_on_do_not_keep_the_lock(tmp_path, registry):
    """A fork has the locked file open as well; closing it here alone would not let go."""
    folder = written(tmp_path, registry)
    folder.lock()
    context = multiprocessing.get_context("fork")
    done = context.Event()
    worker = context.Process(target=done.wait)
    worker.start()
    with pytest.raises(RunError, match="is training in this folder"):
        RunFolder(tmp_path).lock()
    folder.unlock()
    try:
        RunFolder(tmp_path).lock()
        assert worker.is_alive(), "or it could not have kept the lock"
    finally:
        done.set()
        worker.join()


def test_a_lock_that_cannot_be_made_is_an_error_of_the_run(tmp_path, monkeypatch):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(RunError, match="the folder cannot be locked: Is a directory"):
        RunFolder(tmp_path).lock()
    (tmp_path / ".lock").rmdir()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_warned_of(number, tmp_path, registry, monkeypatch):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = RunFolder(tmp_path / "run")
    assert folder.create() == (
        f"{tmp_path / 'run'}: its file system refuses locks ({os.strerror(number)}): see to it that no other process"
        " is training in this folder"
    )
    assert folder.lost() is None
    (tmp_path / "run" / ".lock").unlink()
    (tmp_path / "run").rmdir()
    assert folder.lost() == "has been removed or moved"
    folder.unlock()


def test_other_failures_of_a_lock_are_errors_of_the_run(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(RunError, match=r"\.lock: the folder cannot be locked: Input/output error"):
        RunFolder(tmp_path).lock()


def test_a_system_without_fcntl_is_warned_of(tmp_path, registry, monkeypatch):
    """Windows."""
    monkeypatch.setattr(flock, "fcntl", None)
    folder = RunFolder(tmp_path)
    assert folder.create() == (
        f"{tmp_path}: this system has no flock: see to it that no other process is training in this folder"
    )
    folder.write(small(registry=registry), small(registry=registry).resolved())
    assert folder.lost() is None
    folder.unlock()
    RunFolder(tmp_path).lock()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunError, match="the run folder cannot be made: Permission denied"):
            RunFolder(tmp_path / "run").create()
        with pytest.raises(RunError, match="the folder cannot be locked: Permission denied"):
            RunFolder(tmp_path).lock()
    finally:
        tmp_path.chmod(0o700)


def test_versions_are_recorded_for_every_start(tmp_path, registry, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["zoo", "train", "--resume"])
    folder = written(tmp_path, registry)
    folder.write(small(registry=registry), small(registry=registry).resolved())
    runs = json.loads(folder.versions.read_text())
    assert len(runs) == 2
    for run in runs:
        assert run.keys() == {"run", "versions", "python", "machine", "command"}
        assert run["versions"]["packages"].keys() == {"zoo", "torch"}
        assert run["command"] == ["zoo", "train", "--resume"]


@pytest.mark.parametrize("text", ["", "{", "3", "null"])
def test_versions_that_are_damaged_are_kept_aside(text, tmp_path, registry):
    folder = written(tmp_path, registry)
    folder.versions.write_text(text)
    with pytest.warns(
        UserWarning, match=r"run\.json: is damaged: .*; it is kept as run\.json\.damaged, and a new list"
    ):
        folder.write(small(registry=registry), small(registry=registry).resolved())
    assert (tmp_path / "run.json.damaged").read_text() == text
    assert len(json.loads(folder.versions.read_text())) == 1


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recorded_recipe_is_the_recipe(path, tmp_path, registry):
    recipe = absolute(load_recipe(path, (), registry))  # as a run makes it, since paths are relative to the file
    folder = written(tmp_path, registry, recipe)
    assert load_recipe(folder.recipe, (), registry).resolved() == recipe.resolved()


def test_all_recipes_are_found():
    assert len(RECIPES) >= 50


@pytest.mark.parametrize(
    "name",
    ["1e3", "0o17", "1e-4", "no", "~", "null", "1:30", ".5", "-.5e3", "+1", "a: b", "# x", " a ", "größe", "a\nb: c",
     "a\r\nb", "\x07", "\u2028", "'", '"', "{a}", "x" * 200, "two words " * 15],
)  # fmt: skip
def test_names_that_yaml_could_take_for_something_else(name, tmp_path, registry):
    recipe = load_recipe({**VALUES, "name": name}, (), registry)
    folder = written(tmp_path, registry, recipe)
    assert load_recipe(folder.recipe, (), registry).resolved() == recipe.resolved()
    assert folder.recipe.read_text(encoding="utf-8").splitlines()[0].startswith("# ")


def test_plain_yaml_would_read_some_of_these_wrongly():
    """The law above has something to catch."""
    from zoo.recipe.source import parse_yaml

    assert parse_yaml(yaml.safe_dump({"name": "1e3"}), "here").plain() == {"name": 1000.0}


def test_the_first_line_is_the_command_that_goes_on(tmp_path, registry):
    folder = written(tmp_path / "with blank", registry)
    line = folder.recipe.read_text().splitlines()[0]
    assert line == f"# small, in full.   zoo train --resume --run-dir '{tmp_path / 'with blank'}'"


def metrics(folder, *lines):
    folder.metrics.write_text("".join(lines))
    return folder


def line(step, **values):
    return json.dumps({"step": step, "loss": 1.0, **values}) + "\n"


def test_metrics_of_later_steps_are_dropped(tmp_path):
    folder = metrics(RunFolder(tmp_path), line(1), line(2, note="ä"), line(3), line(4))
    folder.forget_after(2)
    assert folder.metrics.read_text() == line(1) + line(2, note="ä")
    assert [each["step"] for each in folder.read_metrics()] == [1, 2]
    folder.forget_after(0)
    assert folder.read_metrics() == []


def test_the_losses_of_a_long_run_take_little_memory(tmp_path):
    """A run draws its curve again and again; lines in full would take a kilobyte for each step."""
    count = 2000
    errors = [0.123456789, 0.987654321]
    folder = metrics(RunFolder(tmp_path), *(line(step, stage_errors=errors) for step in range(1, count + 1)))
    tracemalloc.start()
    try:
        steps, losses = folder.read_losses()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert steps == list(range(1, count + 1))
    assert losses == [1.0] * count
    assert peak < 200 * count


def test_lines_without_a_loss_are_no_points_of_the_curve(tmp_path):
    folder = metrics(RunFolder(tmp_path), line(1), json.dumps({"step": 2, "skipped": 1}) + "\n", line(3))
    assert folder.read_losses() == ([1, 3], [1.0, 1.0])


@pytest.mark.parametrize("length", range(1, len(line(3))))
def test_a_line_that_was_cut_off_is_dropped(length, tmp_path):
    folder = metrics(RunFolder(tmp_path), line(1), line(2), line(3)[:length])
    whole = length == len(line(3)) - 1  # but for the newline
    assert [each["step"] for each in folder.read_metrics()] == [1, 2, 3][: 2 + whole]
    folder.forget_after(9)
    assert folder.metrics.read_text() == line(1) + line(2) + line(3) * whole


@pytest.mark.parametrize(
    "garbage",
    [
        *("\n", "}\n", "{}\n", "[1]\n", "3\n", '{"step": "3"}\n', '{"loss": 2}\n', "\x00" * 50, "\x00\n", "nul\n"),
        *(line(1, loss=loss) for loss in ("x", None, True, [1.0], {})),
        *(line(1, stage_errors=errors) for errors in ("x", 1.0, ["x"], [None], [1e101])),
        *(line(1, terms=terms) for terms in ("x", [1.0], {"cosine": "x"}, {"cosine": None}, {"cosine": 1e101})),
        *(line(1, **{key: "x"}) for key in metrics_file.NUMBERS),
    ],
)
def test_garbage_between_lines_is_dropped(garbage, tmp_path):
    folder = metrics(RunFolder(tmp_path), line(1), garbage, "\n", line(2))
    assert [each["step"] for each in folder.read_metrics()] == [1, 2]
    folder.forget_after(2)
    assert folder.metrics.read_text() == line(1) + line(2)


def test_a_line_that_is_longer_than_any_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics_file, "LONGEST_LINE", 100)
    folder = metrics(RunFolder(tmp_path), line(1), line(2, note="x" * 500), line(3))
    folder.forget_after(3)
    assert folder.metrics.read_text() == line(1) + line(3)


def test_metrics_that_are_too_many_to_be_read_are_dropped_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics_file, "LARGEST", 100)
    folder = metrics(RunFolder(tmp_path), *(line(step) for step in range(9)))
    with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be read: it has more than"):
        folder.read_metrics()
    folder.forget_after(1)
    assert folder.metrics.read_text() == line(0) + line(1)
    assert len(folder.read_metrics()) == 2


def test_metrics_that_are_a_pipe_are_waited_for_by_nobody(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    for call in (RunFolder(tmp_path).read_metrics, lambda: RunFolder(tmp_path).forget_after(1)):
        with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be read: it is no plain file"):
            call()


def test_bytes_that_are_no_text_are_dropped(tmp_path):
    folder = RunFolder(tmp_path)
    folder.metrics.write_bytes(line(1).encode() + b"\xff\xfe\n" + line(2).encode())
    assert [each["step"] for each in folder.read_metrics()] == [1, 2]


def test_without_metrics_there_is_nothing_to_drop(tmp_path):
    RunFolder(tmp_path).forget_after(3)
    assert RunFolder(tmp_path).read_metrics() == []
    assert not list(tmp_path.iterdir())


def test_a_crash_while_metrics_are_dropped_loses_none(tmp_path, monkeypatch):
    folder = metrics(RunFolder(tmp_path), line(1), line(2))

    def crash(descriptor):
        raise Crash

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(Crash):
        folder.forget_after(1)
    assert folder.metrics.read_text() == line(1) + line(2)


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_what_holds_no_run_is_told(make, tmp_path):
    make(tmp_path / "x")
    with pytest.raises(
        RunError, match=r"x: holds no run \(no recipe.yaml, and no checkpoint\); give the folder that `zoo"
    ):
        load_run(tmp_path / "x")


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(RunError, match="x: there is no such weight file or run"):
        load_run(tmp_path / "x")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"figures"', '{"figures": {}, "checkpoint": "step_00000001"}'])
def test_an_evaluation_that_is_none_of_ours_is_passed_over(tmp_path, text):
    folder = RunFolder(tmp_path)
    folder.evaluations.mkdir()
    (folder.evaluations / "step_00000001-aaaaaaaa.json").write_text(text)
    assert folder.read_evaluations() == []


def test_evaluations_come_by_step_and_those_of_another_way_stay(tmp_path):
    folder = RunFolder(tmp_path)
    for checkpoint, steps, fid in (("step_00000020", 5, 1.0), ("step_00000003", 5, 2.0), ("step_00000020", 6, 3.0)):
        found = {
            "figures": {"generated": {"fid": fid}}, "counts": {"generated": 10, "train": 20}, "checkpoint": checkpoint,
            "weights": "ema", "weights_sha256": "", "data": {}, "drawing": {"images_per_second": 1.0}, "libraries": {},
            "sample": {"solver": {"type": "euler"}, "steps": steps, "guidance": {"type": "classifier_free"}},
            "evaluate": {"features": {"type": "digits"}, "metrics": []}, "doubts": [], "seed": 0, "zoo": "1",
        }  # fmt: skip
        folder.write_evaluation(found)
        folder.write_evaluation({**found, "weights": "raw"})
        folder.write_evaluation(found)
    assert [each["figures"]["generated"]["fid"] for each in folder.read_evaluations()] == [2.0, 1.0, 3.0]
    assert len(list(folder.evaluations.iterdir())) == 6
