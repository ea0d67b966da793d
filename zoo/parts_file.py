"""Parts in a file that is in no package: ``--parts my_parts.py``, or ``parts="my_parts.py"`` in Python.

What is run is what has been read, so that the hash of the file is that of the parts, and a copy of it does the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from zoo.errors import PluginError, in_words, words_of
from zoo.files import did_you_mean_file
from zoo.plugins import HASHED, Plugin
from zoo.shell import command

DIGITS = 16
"""Hexadecimal digits of a SHA-256 that tell one file from another."""

OF_FILE = "__zoo_parts_file__"
"""The attribute of a module that holds the file that it was made of."""


@dataclass(frozen=True)
class PartsFile(Plugin):
    """A file in place of a plug-in: by its name and, in place of a version, its hash.

    Attributes:
        path: of the file.
        source: its bytes.
    """

    path: Path = field(compare=False)
    source: bytes = field(compare=False, repr=False)

    @property
    def digest(self) -> str:
        """The hash."""
        return self.version.removeprefix(HASHED)

    def load(self) -> ModuleType:
        """Run the file as a module of its own; the same one for the same name and content.

        It does not find what lies beside it, which a copy of it would lack.

        Raises:
            PluginError: it fails, or ends the process; with the line.
        """
        name = f"{re.sub(r'[^a-zA-Z0-9]', '_', self.path.stem)}_{self.digest}"
        if name in sys.modules:
            return sys.modules[name]
        module = ModuleType(name)
        vars(module).update({"__file__": str(self.path), OF_FILE: self})
        sys.modules[name] = module  # where dataclasses, type hints and pickle look a class up
        try:
            with self.running():
                exec(compile(self.source, str(self.path), "exec", dont_inherit=True), vars(module))  # noqa: S102
        except BaseException:
            del sys.modules[name]
            raise
        return module

    @contextmanager
    def running(self) -> Iterator[None]:
        """While its code runs: what it prints goes to stderr, and it does not find what lies beside it.

        Raises:
            PluginError: it fails, or ends the process; with the line.
        """
        try:
            with redirect_stdout(sys.stderr), _without_neighbours(self.path):
                yield
        except (Exception, SystemExit) as error:
            raise PluginError(_what_failed(self.path, error)) from error

    def __reduce__(self) -> tuple[object, ...]:
        return _loaded, (self.path, self.source)


def read_parts_file(path: str | os.PathLike[str]) -> PartsFile:
    """Read a file with parts, without running it.

    Raises:
        PluginError: there is none, it cannot be read, or its name does not end in .py.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        inside = next(iter(sorted(file.glob("*.py"))), file / "my_parts.py")
        raise PluginError(f"{file}: is a folder; give each file of it by itself, such as {command('--parts', inside)}")
    if file.suffix != ".py":
        raise PluginError(f"{file}: parts are in a Python file; let its name end in .py")
    if not file.exists():
        raise PluginError(f"{file}: there is no such file of parts{did_you_mean_file(file, ('.py',))}")
    if not file.is_file():  # of a pipe nothing may ever come
        raise PluginError(f"{file}: is no file; give a Python file")
    try:
        return _of(file, file.read_bytes())
    except OSError as error:
        raise PluginError(f"{file}: cannot be read: {error.strerror}") from error


def refuse_namesakes(plugins: Iterable[Plugin]) -> None:
    """Refuse two files of one name: records tell files by their names.

    Raises:
        PluginError: there are two.
    """
    versions: dict[str, str] = {}
    for plugin in plugins:
        if plugin.is_file and versions.setdefault(plugin.name, plugin.version) != plugin.version:
            raise PluginError(f"two files of parts are called {plugin.name}; rename one of them")


def place_in(run: Path, file: Plugin) -> Path:
    """Where the folder of a run keeps a copy of a file of parts: by its hash, since it may change under its name."""
    return run / "parts" / file.version.removeprefix(HASHED) / file.name


def kept_copy(run: Path, file: Plugin) -> Path | None:
    """The copy of a file of parts that the folder of a run keeps, if it is there, and as it was.

    Args:
        run: the folder.
        file: as the run has it on record, which anyone may have written.
    """
    place = place_in(run, file)
    if place.parent.parent.parent != run or ".." in place.relative_to(run).parts:
        return None
    with suppress(PluginError, OSError):  # such as of a name that no file can have
        return place if read_parts_file(place).version == file.version else None
    return None


def options_of(places: Iterable[Path]) -> list[str]:
    """The words of a command that give files of parts."""
    return [word for place in places for word in ("--parts", str(place))]


def file_of(cls: type[Any]) -> PartsFile | None:
    """The file of parts that a class was made in; None for one of a package, or of a script."""
    file: PartsFile | None = getattr(sys.modules.get(str(cls.__module__)), "__dict__", {}).get(OF_FILE)
    return file


def name_of(cls: object) -> str:
    """What a class is called in messages: ``module.Class``, or ``my_parts.py: Class`` of a file of parts."""
    module, name = getattr(cls, "__module__", "?"), getattr(cls, "__qualname__", repr(cls))
    file = file_of(cls) if isinstance(cls, type) else None
    return f"{module}.{name}" if file is None else f"{file.name}: {name}"


def loaded_files() -> tuple[PartsFile, ...]:
    """Those that this process has run. Another one that unpickles them has their classes, too."""
    return tuple(
        file for module in list(sys.modules.values()) if (file := getattr(module, "__dict__", {}).get(OF_FILE))
    )


def _of(path: Path, source: bytes) -> PartsFile:
    return PartsFile(path.name, HASHED + hashlib.sha256(source).hexdigest()[:DIGITS], path, source)


def _loaded(path: Path, source: bytes) -> PartsFile:
    file = _of(path, source)
    file.load()
    return file


@contextmanager
def _without_neighbours(path: Path) -> Iterator[None]:
    """Keep Python from looking into the file's own folder first, as it does in a notebook and with ``python -m``."""
    first = sys.path[0] if sys.path else None
    if first is None or Path(first).resolve() != path.resolve().parent:
        yield
        return
    del sys.path[0]
    try:
        yield
    finally:
        sys.path.insert(0, first)


def _what_failed(path: Path, error: BaseException) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    words, mend = in_words(error), ""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines, words = [error.lineno], f"{type(error).__name__}: {error.msg}"
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        beside = error.name.partition(".")[0]
        if (path.parent / beside).is_dir() or (path.parent / f"{beside}.py").exists():
            mend = (
                f"; a file of parts stands alone, since a run keeps a copy of it: put what it needs of {beside} into it"
            )
    if isinstance(error, PluginError) and not lines:  # of what it has returned
        return words_of(error)
    where = f"{path}:{lines[-1]}" if lines and lines[-1] else str(path)
    if isinstance(error, SystemExit):
        return f"{where}: ends the process, by sys.exit or its like; leave that out of a file of parts"
    return f"{where}: {words}{mend}"
