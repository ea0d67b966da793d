"""Commands as a user gives them, and how they are refused."""

from pathlib import Path

from typer.testing import CliRunner, Result

from zoo.cli import app


def zoo(*words: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in words])


def done(*words: object) -> Result:
    """Of a command that does what it is to do."""
    result = zoo(*words)
    assert result.exit_code == 0, result.stderr
    return result


def content(folder: Path | str = ".") -> dict[str, bytes]:
    """Of every file, by its path within the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def refused_in_lines(result: Result, exit_code: int = 2) -> list[str]:
    """What is on stderr; stdout is empty, and nothing was raised but the exit code."""
    assert (result.exit_code, result.stdout) == (exit_code, ""), result.stderr
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()


def refused(result: Result, exit_code: int = 2, *, told: bool = False) -> str:
    """The one line of an error, the only one on stderr unless something was told before."""
    *before, line = refused_in_lines(result, exit_code)
    assert told or not before
    assert [each.startswith("error: ") for each in (*before, line)] == [False] * len(before) + [True]
    return line.removeprefix("error: ")
