"""Samples that a recipe leaves out, by ``data.leave_out``: those that cannot be read, or should not be trained on.

They keep their place in the order of all samples, so that a run can go on without them; the next one of the order that
is not left out takes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from zoo.classes import Classes
from zoo.data.base import Dataset, Samples, Source, Split
from zoo.errors import DataError, MissingSplitError, SampleError, listed, printable
from zoo.files import did_you_mean_file
from zoo.json_files import read_text
from zoo.labels import class_indices
from zoo.shell import Commands, command

SHOWN = 8
"""Ids that a message names."""

IN_A_COMMAND = 20
"""Ids of a command that a message tells."""


@dataclass(frozen=True)
class LeftOut:
    """Which samples of a source are left out.

    Attributes:
        ids: as the recipe names them, or the file that it names.
        mask: whether a sample is left out [n].
        unknown: ids that no sample has.
        run: what goes on where samples are left out, for advice; None where there is none.
    """

    ids: tuple[str, ...]
    mask: Bool[np.ndarray, " n"]
    unknown: tuple[str, ...] = ()
    run: Commands | None = None

    @property
    def kept(self) -> Int[np.ndarray, " m"]:
        """Indices of the others, in order."""
        return np.flatnonzero(~self.mask)

    def notes(self) -> list[str]:
        """What to say before the others are used, a line each."""
        count = int(self.mask.sum())
        lines = [f"note: data.leave_out: {count} of {len(self.mask)} samples are left out"] if count else []
        if self.unknown:
            names = listed([json.dumps(each, ensure_ascii=False) for each in self.unknown], SHOWN)
            lines.append(f"warning: data.leave_out: no sample is called {names}; there is nothing to leave out")
        return lines

    def advice(self, ids: Collection[str]) -> str:
        """How to leave out more samples, to be added to what is wrong with them."""
        it = "it" if len(ids) == 1 else "them"
        return f"leave {it} out: {way_without(self.ids, ids, self.run)}"


def way_without(left_out: Sequence[str], more: Collection[str], run: Commands | None) -> str:
    """The commands that leave more samples out, as the end of a message, which lists of many would make endless.

    Args:
        left_out: ids of what is left out already.
        more: ids of the others.
        run: what goes on; None where there is none.
    """
    every = [*left_out, *more]
    if len(more) <= SHOWN and len(every) <= IN_A_COMMAND:
        option = command("--set", f"data.leave_out={json.dumps(every, ensure_ascii=False)}")
        return f"{run.go_on} {option}" if run else option
    if run is None:
        return "`zoo data check --leave-out FILE` writes a list, which data.leave_out takes"
    return f"{run.check} --leave-out FILE, then {run.go_on} --set data.leave_out=FILE"


NOTHING = LeftOut((), np.zeros(0, dtype=bool))


def ids_in(given: str | tuple[str, ...] | None, *, piped: bool = False) -> tuple[str, ...]:
    """The ids that a recipe's ``data.leave_out`` names, by themselves or in a file with one a line, as they are there.

    Args:
        given: the ids, or the path of the file.
        piped: whether that may be what a shell's ``<(...)`` gives, of which only the first reader has the ids.

    Raises:
        DataError: the file cannot be read.
    """
    if not isinstance(given, str):
        return given or ()
    path = Path(given).expanduser()
    try:
        lines = read_text(path, piped=piped).removeprefix("\ufeff").splitlines()
    except FileNotFoundError:
        raise DataError(
            f"{printable(str(path.absolute()))}: there is no such file, and data.leave_out names it; write it anew,"
            f" or set that to null{did_you_mean_file(path, (path.suffix,))}"
        ) from None
    except (OSError, ValueError) as error:  # a ValueError where it is not UTF-8, or a zero byte is in the path
        raise DataError(f"{printable(str(path))}: cannot be read, and data.leave_out names it: {error}") from error
    return tuple(line for line in lines if line.strip())


def open_kept(dataset: Dataset, split: Split, given: str | tuple[str, ...] | None) -> tuple[Source, LeftOut]:
    """The samples of a split, and which of them a recipe leaves out.

    An id of another split of the dataset is not called unknown, since one list may serve for all.

    Raises:
        MissingSplitError: there is no such split.
        DataError: the data, or the list of what is left out, cannot be read; or all is left out.
    """
    source = dataset.open(split)
    found = find_left_out(source, given)
    if found.unknown:
        with suppress(MissingSplitError):
            other = dataset.open("held_out" if split == "train" else "train")
            unknown = find_left_out(other, found.unknown, all_of_it=True).unknown
            found = replace(found, unknown=unknown)
    return source, found


def find_left_out(source: Source, given: str | tuple[str, ...] | None, *, all_of_it: bool = False) -> LeftOut:
    """Which samples of a source are left out.

    Args:
        source: of one split.
        given: ids, or the path of a file that holds them.
        all_of_it: nothing need be kept.

    Raises:
        DataError: the list cannot be read, or names all samples.
    """
    ids = ids_in(given)
    mask = np.zeros(len(source), dtype=bool)
    wanted = {printable(each): printable(each.strip()) for each in ids}
    found = _leave_out(source, wanted, mask)
    # A name may begin or end with spaces; where none does so, they are of whoever has written the list.
    trimmed = {name: plain for name, plain in wanted.items() if name not in found}
    found |= _leave_out(source, set(trimmed.values()) - set(trimmed), mask)
    if mask.all() and not all_of_it:
        raise DataError(f"data.leave_out names all {len(mask)} samples; nothing is left to read")
    return LeftOut(ids, mask, tuple(name for name, plain in trimmed.items() if plain not in found))


def _leave_out(source: Source, wanted: Collection[str], mask: Bool[np.ndarray, " n"]) -> set[str]:
    """Mark the samples that are called so, and give the names of those."""
    found = set[str]()
    for index, name in enumerate(map(printable, source.ids()) if wanted else ()):
        if name in wanted:
            mask[index] = True
            found.add(name)
    return found


def classes_kept(source: Source, left_out: LeftOut) -> Classes:
    """What the classes of a source are called, and how many samples of each are not left out, if that is known."""
    counts = source.class_counts()
    if counts is None or not left_out.mask.any():
        return Classes(source.classes, counts)
    with suppress(DataError):  # of a source that can count labels, and not tell those of samples that it cannot read
        gone = class_indices(source.labels(np.flatnonzero(left_out.mask)))
        if gone is not None:
            counts = tuple((np.array(counts) - np.bincount(gone.numpy(), minlength=len(counts))).tolist())
    return Classes(source.classes, counts)


def read_kept(
    source: Source,
    indices: Int[np.ndarray, " B"],
    generators: Callable[[], Sequence[np.random.Generator]],
    left_out: LeftOut,
) -> Samples:
    """Samples of a source; what is wrong with them comes with advice.

    Args:
        source: of which samples are left out.
        indices: of those to read.
        generators: gives one for each of them, the same whenever it is called.
        left_out: what is left out already.

    Raises:
        SampleError: a sample cannot be read.
        DataError: none of several can.
    """
    try:
        return source.read(indices, generators())
    except DataError as error:
        bad = _unreadable(source, indices, generators())
        if not bad or len(bad) == len(set(indices.tolist())) > 1:  # not the samples are at fault then, but their disk
            raise
        more = f" (and {len(bad) - 1} more of the {len(indices)} read at once)" if len(bad) > 1 else ""
        raise SampleError(f"{error}{more}; {left_out.advice(bad)}") from error


def _unreadable(source: Source, indices: Int[np.ndarray, " B"], generators: Sequence[np.random.Generator]) -> list[str]:
    """Ids of those samples that cannot be read by themselves."""
    found = dict[str, None]()
    for index, generator in zip(indices.tolist(), generators, strict=True):
        try:
            source.read(np.array([index]), [generator])
        except DataError:
            found[source.id(index)] = None
    return list(found)
