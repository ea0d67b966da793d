"""One run at a time in a folder, whatever becomes of the processes and of the lock."""

import errno
import fcntl
import multiprocessing
import os
import platform
import shutil
import threading
from pathlib import Path

import pytest

from tests.runs.written import folder_of
from tests.train.small import small
from zoo import flock
from zoo.errors import RunError, ZooError
from zoo.runs.run_folder import RunFolder
from zoo.runs.writing import Writing


def test_a_second_run_in_the_folder_is_refused_until_the_first_ends(tmp_path, registry):
    first, second = folder_of(tmp_path, registry), RunFolder(tmp_path)
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
        folder_of(path, registry)

    monkeypatch.setattr(Path, "mkdir", late)
    with pytest.raises(ZooError, match="holds a run already; go on with it by --resume"):
        RunFolder(tmp_path / "run").create()
    RunFolder(tmp_path / "run").lock()  # it has let go


def test_a_folder_of_another_run_is_not_locked(tmp_path, registry):
    """By a process that takes over from one which has ended."""
    one = folder_of(tmp_path, registry)
    shutil.rmtree(tmp_path)
    other = folder_of(tmp_path, registry)
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
    first = folder_of(tmp_path, registry)
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
    folder = folder_of(tmp_path, registry)
    process = multiprocessing.get_context("fork").Process(target=lambda: (folder.lock(), os._exit(0)))
    process.start()
    process.join()
    assert process.exitcode == 0
    folder.lock()
    folder.unlock()


def test_data_workers_that_live_on_do_not_keep_the_lock(tmp_path, registry):
    """A fork has the locked file open as well; closing it here alone would not let go."""
    folder = folder_of(tmp_path, registry)
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
    folder.write(small(registry=registry))
    assert folder.lost() is None
    folder.unlock()
    RunFolder(tmp_path).lock()


def test_a_folder_is_kept_until_nothing_is_being_written_into_it(tmp_path, registry):
    folder, goes_on = folder_of(tmp_path, registry), threading.Event()
    folder.lock()
    folder.writing = Writing(lambda say: goes_on.wait(20))
    threading.Timer(0.2, goes_on.set).start()
    folder.unlock()
    assert goes_on.is_set()
    assert folder.writing.has_ended
