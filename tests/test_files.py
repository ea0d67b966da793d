"""What zoo writes is whole or not there, and never goes through a link."""

import ast
import errno
import multiprocessing
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import zoo
from zoo import flock
from zoo.errors import DataError, RunError, WeightsError
from zoo.files import append_line, safetensors, whole_folder, write_new, write_whole
from zoo.unfinished import remove, workplace

PACKAGE = Path(zoo.__file__).parent
CONTENTS = {
    "text": ("größe\n", "größe\n".encode()),
    "bytes": (b"\x00\r\n", b"\x00\r\n"),
    "function": (lambda file: file.write(b"by hand"), b"by hand"),
}


@pytest.fixture
def victim(tmp_path):
    """A file outside of the folder that is written to, which must stay as it is."""
    folder = tmp_path / "outside"
    folder.mkdir()
    path = folder / "victim"
    path.write_bytes(b"mine")
    yield path
    assert path.read_bytes() == b"mine"
    assert os.listdir(folder) == ["victim"]


@pytest.fixture
def inside(tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", CONTENTS)
def test_what_is_written_is_there_with_nothing_beside_it(kind, inside):
    content, expected = CONTENTS[kind]
    for before in (None, b"a longer one than it will be"):
        if before is not None:
            (inside / "x").write_bytes(before)
        write_whole(inside / "x", content, RunError)
        assert (inside / "x").read_bytes() == expected
        assert os.listdir(inside) == ["x"]


def test_tensors_are_written(inside):
    tensors = {"a": torch.arange(3.0)}
    write_whole(inside / "x", safetensors(tensors, {"format": "pt"}), WeightsError)
    assert torch.equal(load_file(inside / "x")["a"], tensors["a"])
    assert os.listdir(inside) == ["x"]


@pytest.mark.parametrize("content", [*CONTENTS, "tensors"])
def test_others_may_read_what_the_umask_lets_them(content, inside):
    content = safetensors({"a": torch.ones(1)}) if content == "tensors" else CONTENTS[content][0]
    mask = os.umask(0o027)
    try:
        write_whole(inside / "whole", content, RunError)
        write_new(inside / "new", content)
        append_line(inside / "line", "x")
    finally:
        os.umask(mask)
    assert {path.stat().st_mode & 0o777 for path in inside.iterdir()} == {0o640}


@pytest.mark.parametrize("step", [(os, "fsync"), (Path, "replace"), (Path, "open")])
@pytest.mark.parametrize("error", [RunError, WeightsError, DataError])
def test_a_failed_write_leaves_what_was_there(step, error, inside, monkeypatch):
    write_whole(inside / "x", "old", error)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*step, fail)
        with pytest.raises(error) as caught:
            write_whole(inside / "x", "new and longer", error)
    assert str(caught.value) == f"{inside / 'x'}: cannot be written: No space left on device"
    assert (inside / "x").read_bytes() == b"old"
    assert os.listdir(inside) == ["x"]


def leave_link(path, victim):
    path.symlink_to(victim)


def leave_link_to_nowhere(path, victim):
    path.symlink_to(victim.parent / "made")


def leave_link_to_folder(path, victim):
    path.symlink_to(victim.parent)


def leave_file(path, victim):
    path.write_bytes(b"half")


def leave_folder(path, victim):
    path.mkdir()
    (path / "link").symlink_to(victim)
    (path / "folder").symlink_to(victim.parent)


LEFT = [leave_link, leave_link_to_nowhere, leave_link_to_folder, leave_file, leave_folder]


def place_of_unfinished(path):
    with workplace(path) as place:
        return place


@pytest.mark.parametrize("leave", LEFT)
def test_what_lies_in_the_place_of_the_unfinished_file_is_replaced(leave, inside, victim):
    leave(place_of_unfinished(inside / "x"), victim)
    write_whole(inside / "x", "new", RunError)
    assert (inside / "x").read_bytes() == b"new"
    assert os.listdir(inside) == ["x"]


@pytest.mark.parametrize("leave", LEFT)
def test_what_lies_in_the_place_of_the_unfinished_folder_is_replaced(leave, inside, victim):
    leave(place_of_unfinished(inside / "x"), victim)
    with whole_folder(inside / "x") as unfinished:
        write_new(unfinished / "file", "new")
        assert not (inside / "x").exists()
    assert (inside / "x" / "file").read_bytes() == b"new"
    assert os.listdir(inside) == ["x"]


@pytest.mark.parametrize("leave", LEFT[:4])
def test_a_link_in_the_place_of_the_file_is_replaced(leave, inside, victim):
    leave(inside / "x", victim)
    write_whole(inside / "x", "new", RunError)
    assert (inside / "x").read_bytes() == b"new"
    assert not (inside / "x").is_symlink()


def refuse_locks(*arguments):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.fixture(params=["locks", "no locks", "no flock"])
def locks(request, monkeypatch):
    if request.param == "no locks":
        monkeypatch.setattr(flock.fcntl, "flock", refuse_locks)
    if request.param == "no flock":
        monkeypatch.setattr(flock, "fcntl", None)  # as on Windows


def test_of_many_that_write_a_file_at_the_same_time_each_writes_it_whole(inside, locks):
    def write(count):
        def content(file):
            file.write(b"first half of %d, " % count)
            if count:
                write(count - 1)
                assert (inside / "x").read_bytes() == b"first half of %d, second" % (count - 1)
            file.write(b"second")

        write_whole(inside / "x", content, RunError)

    write(3)
    assert (inside / "x").read_bytes() == b"first half of 3, second"
    assert os.listdir(inside) == ["x"]


def test_of_many_that_fill_a_folder_at_the_same_time_one_has_its_name(inside, locks):
    with pytest.raises(OSError, match="x"), whole_folder(inside / "x") as late:  # noqa: PT012
        write_new(late / "file", "late")
        with whole_folder(inside / "x") as unfinished:
            write_new(unfinished / "file", "first")
            write_new(unfinished / "other", "first")
        assert (late / "file").read_text() == "late"
    assert {path.name: path.read_text() for path in (inside / "x").iterdir()} == {"file": "first", "other": "first"}
    assert os.listdir(inside) == ["x"]


def write_in_process(path, count):
    for _ in range(20):
        write_whole(path, safetensors({"a": torch.full((1000,), count)}), WeightsError, synced=False)


def test_processes_that_write_a_file_at_the_same_time_do_no_harm(inside):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_in_process, args=(inside / "x", count)) for count in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(load_file(inside / "x")["a"].unique()) == 1
    assert os.listdir(inside) == ["x"]


@pytest.mark.parametrize("leave", LEFT)
def test_a_new_file_takes_the_place_of_nothing(leave, inside, victim):
    leave(inside / "x", victim)
    with pytest.raises(FileExistsError):
        write_new(inside / "x", "new")


def test_lines_are_added(inside):
    append_line(inside / "x", "größe")
    append_line(inside / "x", "2")
    assert (inside / "x").read_bytes() == "größe\n2\n".encode()


@pytest.mark.parametrize("leave", LEFT[:3])
def test_lines_are_not_added_through_a_link(leave, inside, victim):
    leave(inside / "x", victim)
    with pytest.raises(OSError, match="x"):
        append_line(inside / "x", "1")


@pytest.mark.parametrize("leave", LEFT)
def test_a_link_is_removed_and_not_what_it_leads_to(leave, inside, victim):
    leave(inside / "x", victim)
    remove(inside / "x")
    remove(inside / "x")  # nothing is left to remove
    assert not os.listdir(inside)


def test_a_folder_whose_filling_fails_is_gone(inside):
    with pytest.raises(ZeroDivisionError), whole_folder(inside / "x") as unfinished:  # noqa: PT012
        write_new(unfinished / "file", "half")
        raise ZeroDivisionError
    assert not os.listdir(inside)


WRITERS = {"write_text", "write_bytes", "save", "save_file", "savez", "savez_compressed", "savefig", "tofile"}
OPENERS = {"open", "fdopen", "ZipFile"}


def writes(tree):
    """Calls that write a file by themselves, but for those into ``file``, which the one writer has opened."""
    into_file = {
        id(call)
        for function in ast.walk(tree)
        if isinstance(function, ast.Lambda | ast.FunctionDef) and "file" in {each.arg for each in function.args.args}
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and "file" in map(ast.unparse, call.args)
    }
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and id(call) not in into_file:
            name = ast.unparse(call.func).rpartition(".")[2]
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            texts = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            opened = any(set(text) <= set("rwaxbt+") and set(text) & set("wax+") for text in texts)
            flags = any("O_WRONLY" in ast.unparse(each) or "O_RDWR" in ast.unparse(each) for each in given)
            if "os.devnull" in map(ast.unparse, given):
                continue
            if (name in WRITERS and given) or (name in OPENERS and (opened or flags)):
                yield ast.unparse(call.func)


ALLOWED = {
    "cli/data.py": ["open"],  # a temporary file
    "report/page/grids.py": ["image.save"],  # into memory, as the next three
    "pictures.py": ["archive.open"],
    "report/pareto.py": ["figure.savefig"],
    "testing/assemblies.py": ["save"],
    "testing/laws.py": ["save"],
    "evaluate/kept_features.py": ["save"],  # into memory
    "files.py": ["open", "path.open"],
    "train/run.py": ["saver.save"],
    "train/saving.py": ["checkpoints.save"],
    "train/snapshots.py": ["checkpoints.save"],
    "weights/files.py": ["path.open"],  # the header of what is being written
}


def test_nothing_is_written_but_by_the_one_writer():
    found = {
        path.relative_to(PACKAGE).as_posix(): sorted(writes(ast.parse(path.read_text(encoding="utf-8"))))
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    assert {path: calls for path, calls in found.items() if calls} == ALLOWED


@pytest.mark.parametrize(
    "code",
    ["open(p, 'w')", "open(p, mode='a')", "p.open('xb')", "p.open('r+b')", "p.write_text(t)", "p.write_bytes(b)",
     "image.save(p)", "torch.save(x, p)", "figure.savefig(p)", "save_file(x, p)", "zipfile.ZipFile(p, 'w')",
     "np.savez(p)", "os.open(p, os.O_RDWR)", "def f(file): torch.save(x, p)", "lambda p: save_file(x, p)"],
)  # fmt: skip
def test_a_write_would_be_found(code):
    assert list(writes(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    ["open(p)", "p.open('rb')", "open(p, encoding='utf-8')", "data.open('train')", "lambda file: torch.save(x, file)",
     "def f(file):\n with zipfile.ZipFile(file, 'w') as archive: archive.write(b)"],
)  # fmt: skip
def test_what_writes_nothing_is_let_be(code):
    assert not list(writes(ast.parse(code)))
