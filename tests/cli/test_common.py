"""What all commands share."""

import errno
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from zoo import cli
from zoo.cli.common import Commands

app = typer.Typer(cls=Commands)


@app.callback()
def root() -> None:
    pass


@app.command()
def warned() -> None:
    warnings.warn("the disk is nearly full", stacklevel=1)
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.warn("a library's own affair", kind, stacklevel=1)


@app.command()
def opens(name: str) -> None:
    raise {
        "file": OSError(errno.EMFILE, "Too many open files", "/tmp/x"),
        "socket": RuntimeError("The server socket has failed to bind. code: -24, name: EMFILE, message: too many"),
    }[name]


@app.command()
def leaves() -> None:
    raise GeneratorExit


@app.command()
def stopped() -> None:
    raise KeyboardInterrupt


nested = typer.Typer()
nested.command("stopped")(stopped)
nested.callback()(root)
app.add_typer(nested, name="nested")


@pytest.mark.parametrize("name", ["file", "socket"])
def test_too_many_open_files_are_no_fault_of_a_plugin(name: str) -> None:
    result = CliRunner().invoke(app, ["opens", name])
    assert (result.exit_code, result.stderr) == (3, "error: too many open files: raise their number by `ulimit -n`\n")


def test_a_part_that_ends_the_process_in_whatever_way_is_told_in_a_line() -> None:
    result = CliRunner().invoke(app, ["leaves"])
    said = "error: RuntimeError: a part ends the process, by GeneratorExit (a fault of zoo or of a plug-in; --debug"
    assert (result.exit_code, result.stderr) == (1, f"{said} shows where)\n")


@pytest.mark.parametrize("told", ["default", "always", "error"])
def test_users_are_told_what_they_can_mend_whatever_the_interpreter_shows(told: str) -> None:
    """Libraries tell their deprecations once a process, which would make output depend on what ran before."""
    with warnings.catch_warnings():
        warnings.simplefilter(told)
        result = CliRunner().invoke(app, ["warned"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "warning: the disk is nearly full\n"


@pytest.mark.parametrize("words", [["stopped"], ["nested", "stopped"]])
@pytest.mark.parametrize(("rank", "told"), [(None, "interrupted\n"), ("0", "interrupted\n"), ("1", "")])
def test_ctrl_c_is_told_in_a_line_by_the_first_process(
    words: list[str], rank: str | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rank:
        monkeypatch.setenv("RANK", rank)
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", told)


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["absent"], 2)])
def test_what_plugins_warn_of_as_they_are_loaded_ends_no_command(words: list[str], code: int) -> None:
    """``python -W error -m zoo``, where one imports a library that calls what is deprecated."""

    def load(*_: str) -> None:
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = CliRunner().invoke(app, words, obj=SimpleNamespace(names=lambda: load() or [], get=load))
    assert (result.exit_code, "old" in result.output) == (code, False)


def test_a_working_folder_that_is_gone_is_told_by_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for words in (["recipes"], ["train", "--resume", "--run-dir", str(tmp_path)], ["data", "check", "--recipe", "x"]):
        result = CliRunner().invoke(cli.app, words)
        told = "error: the working folder has been removed: cd to another one first\n"
        assert (result.exit_code, result.stdout, result.stderr) == (2, "", told)
