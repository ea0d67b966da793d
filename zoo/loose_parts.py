"""Parts that are in no package: classes, and files that hold some."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any

from zoo.errors import PluginError
from zoo.hooks import FORMATS, marked_in, parts_of
from zoo.parts_file import PartsFile, file_of, read_parts_file

PartsLike = type[Any] | str | PathLike[str] | Iterable[type[Any] | str | PathLike[str]] | None
"""Parts that are in no package: classes marked by ``@zoo.part``, and paths of files with such; None for no parts."""


def each_of(parts: PartsLike) -> list[Any]:
    """Several classes and paths, or the one that stands alone.

    Raises:
        PluginError: it is none of these.
    """
    if isinstance(parts, type | str | PathLike):
        return [parts]
    if not isinstance(parts, Iterable | None):
        raise PluginError(f"parts={parts!r}: give classes marked by @zoo.part, or paths of files with such")
    return list(parts or ())


def read_loose(parts: PartsLike) -> list[Any]:
    """The classes, and the files in place of their paths.

    Raises:
        PluginError: a file that cannot be read.
    """
    return [read_parts_file(each) if isinstance(each, str | PathLike) else each for each in each_of(parts)]


def classes_given(loose: Iterable[Any]) -> Iterator[tuple[Any, PartsFile | None]]:
    """All classes of what ``read_loose`` tells, and the file that each is of; None for one that is of no file of parts.

    Raises:
        PluginError: a file that cannot be used, or gives nothing.
    """
    for each in loose:
        if isinstance(each, PartsFile):
            yield from ((cls, each) for cls in _classes_of_file(each))
        else:
            yield each, file_of(each) if inspect.isclass(each) else None


def _classes_of_file(file: PartsFile) -> list[Any]:
    """What a file of parts gives: what its hook tells or, where it has none, all classes that it marks.

    Raises:
        PluginError: it fails as it is run, or has neither part nor weight format.
    """
    module = file.load()
    hook = getattr(module, "zoo_parts", None)
    of = str(getattr(hook, "__module__", "")).partition(".")[0]
    if hook is not None and of != "zoo":  # whose own `from zoo.parts import *` brings
        with file.running():
            return parts_of(module, file)
    marked = marked_in(module)
    if not marked and not hasattr(module, FORMATS):
        raise PluginError(f"{file.path}: has no parts; put @zoo.part(kind, name) above a class")
    return marked
