"""What classes are called, and which of them weights have seen samples of. Free of torch."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from zoo.checkpoint_folders import newest_states
from zoo.errors import ZooError, listed, lookalike, printable
from zoo.json_files import read_json
from zoo.shell import command

SHOWN = 20
T = TypeVar("T")


@dataclass(frozen=True)
class Classes:
    """The classes that a backbone is trained on, as far as they are known.

    Attributes:
        names: by label.
        counts: samples of each class, by label; None where they are not known.
    """

    names: tuple[str, ...] = ()
    counts: tuple[int, ...] | None = None

    def to_plain(self) -> dict[str, list[str] | list[int]]:
        """What is known, as JSON has it."""
        counts = {} if self.counts is None else {"class_counts": list(self.counts)}
        return {**({"classes": list(self.names)} if self.names else {}), **counts}

    @property
    def with_samples(self) -> tuple[int, ...] | None:
        """Labels of the classes that have samples; None where that is not known."""
        if self.counts is None:
            return None
        return tuple(label for label, count in enumerate(self.counts) if count)

    def names_of(self, labels: Sequence[int]) -> dict[str, str]:
        """The names of some labels, by label, as JSON has it; those that have one."""
        return {str(each): self.names[each] for each in sorted(set(labels)) if each < len(self.names)}

    def shown(self, label: int) -> str:
        """A class for messages."""
        return f"{label}, {_quoted(self.names[label])}" if label < len(self.names) else str(label)

    def untrained(self, num_classes: int) -> str | None:
        """That a backbone has classes without samples, for a warning; None where it has none, as far as is known."""
        there = self.with_samples
        if not num_classes or there is None or len(there) >= num_classes:
            return None
        return (
            f"backbone.num_classes is {num_classes}, and the data has samples of {len(there)} classes; the other"
            f" {num_classes - len(there)} are not trained, and are drawn only by --labels"
        )


UNKNOWN = Classes()


def find_labels(given: Sequence[str], classes: Classes) -> tuple[int, ...]:
    """Labels of what a user asks for, such as ``cat,dog`` and ``3``: a number is a label, whatever classes are called.

    Args:
        given: each a name, or names and numbers with commas between them. What is a class's name as a whole is that
            class, commas and all, unless it is numbers alone.
        classes: to choose from.

    Raises:
        ZooError: no class is called so.
    """
    return tuple(_find(each, text, classes) for text in given for each in _split(text, classes))


def doubtful_labels(given: Sequence[str], classes: Classes) -> Iterator[str]:
    """What to say of what could have been meant otherwise, a line each: a number, or names, that a class is called."""
    for text in dict.fromkeys(given):
        parts, whole = _parts(text), printable(text)
        if len(parts) == 1 or whole not in classes.names:
            continue
        own = classes.names.index(whole)
        if _are_numbers(parts):
            yield f"--labels {text} is classes {listed(parts, SHOWN)}; the class called {_quoted(whole)} is {own}"
        elif all(_is_number(each) or each in classes.names for each in parts):
            yield f"--labels {_quoted(whole)} is class {own}; for several, give each in a --labels of its own"
    for each in dict.fromkeys(each for text in given for each in _split(text, classes)):
        if _is_number(each) and each in classes.names and classes.names.index(each) != int(each):
            shown = classes.shown(int(each)) if int(each) >= 0 else each
            yield f"--labels {each} is class {shown}; the class called {_quoted(each)} is {classes.names.index(each)}"


def labels_without_samples(labels: Sequence[int], classes: Classes) -> Iterator[str]:
    """What to say of labels that no sample was trained with, a line each."""
    there = classes.with_samples
    for label in dict.fromkeys(labels):
        if there is not None and label not in there:
            yield f"--labels: class {classes.shown(label)} had no samples in training; its images mean nothing"


def renamed(before: Sequence[str], now: Sequence[str]) -> str | None:
    """The first class that is called otherwise, in words; None where all are called as before."""
    for label, (was, name) in enumerate(itertools.zip_longest(before, now)):
        if was != name:
            one, other = ("nothing" if each is None else repr(each) for each in (was, name))
            return f"class {label} was {one}, and is {other}{lookalike(was or '', name or '')}"
    return None


def read_classes(values: Mapping[str, Any]) -> Classes:
    """What ``to_plain`` gave, among others; nothing is known where it is something else, as in a stranger's file."""
    names, counts = values.get("classes"), values.get("class_counts")
    named, counted = _all_are(str, names), _all_are(int, counts)
    return Classes(named or (), counted)


def classes_of_run(folder: Path) -> Classes:
    """The classes that a run was trained on, as its run.json says, or else a checkpoint; none where nothing does."""
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        recorded = read_classes(read_json(folder / "run.json")[-1])
        if recorded != UNKNOWN:
            return recorded
    found = (read_classes(state) for _, state in newest_states(folder / "checkpoints"))
    return next((classes for classes in found if classes != UNKNOWN), UNKNOWN)


def _all_are(kind: type[T], values: Any) -> tuple[T, ...] | None:
    is_list = isinstance(values, list) and all(isinstance(each, kind) for each in values)
    return tuple(values) if is_list else None


def _split(text: str, classes: Classes) -> list[str]:
    """The names and numbers in a text."""
    parts = _parts(text)
    whole = printable(text)
    return [whole] if whole in classes.names and not _are_numbers(parts) else parts


def _parts(text: str) -> list[str]:
    return [each.strip(" ") for each in text.split(",")]


def _are_numbers(parts: Sequence[str]) -> bool:
    return all(map(_is_number, parts))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]+", text) is not None


def _find(name: str, text: str, classes: Classes) -> int:
    if _is_number(name):
        return int(name)
    name = printable(name)  # as names are that are read from folders
    if name in classes.names:
        return classes.names.index(name)
    asked = command("--labels", text)
    if not name:
        raise ZooError(f"{asked}: a class is missing; write such as 3,5")
    if not classes.names:
        raise ZooError(
            f"{asked}: write class numbers with commas between them, such as 3,5; no class names are known here"
        )
    near = [each for each in classes.names if lookalike(name, each)]
    near = near or difflib.get_close_matches(name, classes.names, n=1, cutoff=0.5)
    if near:
        names = f"did you mean {_quoted(near[0])}?{lookalike(name, near[0])}"
    else:
        names = f"there are {listed([_quoted(each) for each in classes.names], SHOWN)}"
    raise ZooError(f"{asked}: no class is called {_quoted(name)}; {names}")


def _quoted(name: str) -> str:
    """A name, or several, as a shell takes it; in quotes even where it needs none."""
    quoted = command(name)
    return quoted if quoted != name else f"'{name}'"
