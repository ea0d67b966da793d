"""Each writer has a folder of its own, whatever others do between its steps, on this machine and on others."""

import errno
import itertools
import os
import platform
import runpy

import pytest

from zoo import flock
from zoo.errors import RunError
from zoo.files import write_whole
from zoo.unfinished import _take, is_unfinished, remove, workplace

pytestmark = pytest.mark.skipif(flock.fcntl is None, reason="nothing is locked here, and no name is taken twice")

STEPS = 20
"""Of one that takes its place where a crash has left something, or another is."""


class Others:
    """Other writers of a file, who do what is planned before steps of this one, which are counted from 0."""

    def __init__(self, path, patch):
        self.path, self.live, self.passed, self.plan = path, [], 0, []
        names = ("access", "fstat", "listdir", "lstat", "mkdir", "open", "rmdir", "scandir", "stat", "unlink")
        for owner, name in [*((os, name) for name in names), (flock.fcntl, "flock")]:
            patch.setattr(owner, name, self._after_others(getattr(owner, name)))

    def _after_others(self, real):
        def step(*arguments, **options):
            plan, self.plan = self.plan, []  # their own steps are none of this one's
            while plan and plan[0][0] == self.passed:
                getattr(self, plan.pop(0)[1])()
            self.passed += bool(plan)
            self.plan = plan
            return real(*arguments, **options)

        return step

    def begin(self):
        folder, held = _take(self.path)
        (folder / "half").touch()
        self.live.append((folder, held))

    def end(self):
        for folder, held in self.live:
            remove(folder)
            os.close(held)
        self.live = []

    def crash(self):
        for _, held in self.live:
            os.close(held)
        self.live = []


@pytest.mark.parametrize(
    ("before", "acts"),
    [
        ((), ("begin", "end")),
        ((), ("begin", "crash")),
        (("begin",), ("end", "begin")),
        (("begin",), ("crash", "begin")),
        (("begin", "crash"), ("begin", "end")),
        (("begin", "crash"), ("begin", "crash")),
    ],
    ids="-".join,
)
def test_whatever_others_do_between_two_steps_each_has_its_own(before, acts, tmp_path, monkeypatch):
    others = Others(tmp_path / "x", monkeypatch)
    for when in itertools.combinations_with_replacement(range(STEPS), 2):
        for act in before:
            getattr(others, act)()
        others.passed, others.plan = 0, list(zip(when, acts, strict=True))
        with workplace(tmp_path / "x") as folder:
            others.plan = []
            assert os.listdir(folder) == [], when
            (folder / "x").touch()
            assert all(os.listdir(live) == ["half"] for live, _ in others.live), when
            assert folder not in {live for live, _ in others.live}
        others.end()
        for path in tmp_path.iterdir():
            remove(path)


def leave(path):
    """What a writer that was killed has left, in its folder."""
    folder, held = _take(path)
    (folder / "half").touch()
    os.close(held)
    return folder


def test_what_a_crash_has_left_on_this_machine_goes(tmp_path):
    leave(tmp_path / "x")
    write_whole(tmp_path / "x", "new", RunError)
    assert os.listdir(tmp_path) == ["x"]


def test_another_machine_whose_locks_are_not_seen_here_is_let_be(tmp_path, monkeypatch):
    with workplace(tmp_path / "x") as theirs:
        (theirs / "half").touch()
        monkeypatch.setattr(platform, "node", lambda: "../another.machine")
        monkeypatch.setattr(flock.fcntl, "flock", lambda *_: None)
        write_whole(tmp_path / "x", "new", RunError)
        assert os.listdir(theirs) == ["half"]
    assert os.listdir(tmp_path) == ["x"]


def denied(real, *names):
    def call(path, *arguments, **options):
        if os.path.basename(path) in names:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *arguments, **options)

    return call


def files_stay(patch, folder):
    patch.setattr(os, "unlink", denied(os.unlink, "half"))


def cannot_be_opened(patch, folder):
    patch.setattr(os, "open", denied(os.open, folder.name))


def cannot_be_written_into(patch, folder):
    (folder / "half").unlink()
    patch.setattr(os, "access", lambda path, mode: path != folder)
    patch.setattr(os, "rmdir", denied(os.rmdir, folder.name))


def is_a_file(patch, folder):
    remove(folder)
    folder.touch()
    patch.setattr(os, "unlink", denied(os.unlink, folder.name))


FOREIGN = [files_stay, cannot_be_opened, cannot_be_written_into, is_a_file]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_another_user_has_left_is_no_hindrance(foreign, tmp_path, monkeypatch):
    folder = leave(tmp_path / "x")
    foreign(monkeypatch, folder)
    write_whole(tmp_path / "x", "new", RunError)
    assert (tmp_path / "x").read_text() == "new"
    assert set(os.listdir(tmp_path)) == {"x", folder.name}


@pytest.mark.parametrize("foreign", [None, *FOREIGN])
def test_a_folder_in_which_nothing_can_be_made_is_told_at_once(foreign, tmp_path, monkeypatch):
    if foreign is not None:
        foreign(monkeypatch, leave(tmp_path / "x"))
    real, refused = os.mkdir, []

    def mkdir(path, *arguments):
        if not os.path.lexists(path):
            refused.append(path)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        real(path, *arguments)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(RunError) as caught:
        write_whole(tmp_path / "x", "new", RunError)
    assert str(caught.value) == f"{tmp_path / 'x'}: cannot be written: Permission denied"
    assert len(refused) == 1


def test_locks_that_macos_refuses_are_none(monkeypatch):
    """There ENOTSUP is another number than EOPNOTSUPP."""

    def refuse(*_):
        raise OSError(45, "Operation not supported")

    monkeypatch.setattr(errno, "ENOTSUP", 45)
    monkeypatch.setattr(flock.fcntl, "flock", refuse)
    assert runpy.run_path(flock.__file__)["lock"](0) == "its file system refuses locks (Operation not supported)"


def test_what_is_unfinished_is_known_by_its_name(tmp_path):
    with workplace(tmp_path / "x.json") as folder:
        assert is_unfinished(folder, tmp_path / "x.json")
        for other in (tmp_path / "y.json", tmp_path / "y" / "x.json"):
            assert not is_unfinished(folder, other)
    assert not is_unfinished(tmp_path / ".x.json.notes", tmp_path / "x.json")


def test_long_names_of_machines_leave_room_for_those_of_files(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "n" * 63)
    path = tmp_path / ("f" * 230)
    write_whole(path, "text", RunError)
    assert path.read_text() == "text"
