"""Image folders: which pictures there are, of which class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from zoo.data.base import Split
from zoo.data.fingerprint import Group, digest
from zoo.data.names import Names
from zoo.errors import DataError, MissingFolderError, MissingSplitError, printable

ENDINGS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif"
)  # fmt: skip
MOST_ENDINGS = 8
"""Endings of what is left out that one line counts."""

TRAIN = "train"
HELD_OUT = ("held_out", "val")


@dataclass(frozen=True)
class ImageList:
    """Pictures of a folder, by class and then by name.

    Attributes:
        folder: what the paths are relative to.
        below: the part of it that the pictures lie in, such as ``train/``; empty where it is not divided.
        classes: names; a label is a position here. Empty where the pictures have no classes, and all labels are 0.
        labels: of each picture [n].
        names: their paths below the folder.
        others: how many files beside them are left out since they do not end as pictures do, by their ending.
    """

    folder: Path
    below: str
    classes: tuple[str, ...]
    labels: Int[np.ndarray, " n"]
    names: Names
    others: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def path(self, index: int) -> Path:
        """The picture's file."""
        return self.folder / os.fsdecode(self.names[index])

    def id(self, index: int) -> str:
        """The picture's path below the folder, printable."""
        return shown(os.fsdecode(self.names[index]))

    def where(self, mask: Bool[np.ndarray, " n"]) -> ImageList:
        """Those that a mask has."""
        return replace(self, labels=self.labels[mask], names=self.names.where(mask))

    @property
    def note(self) -> str | None:
        """What is left out, on one line; None where nothing is."""
        if not self.others:
            return None
        often = sorted(self.others.items(), key=lambda each: (-each[1], each[0]))
        told = [f"{count} {ending}" for ending, count in often[:MOST_ENDINGS]]
        rest = sum(count for _, count in often[MOST_ENDINGS:])
        files = "file that is no picture" if sum(self.others.values()) == 1 else "files that are no pictures"
        counts = ", ".join(told + [f"{rest} of other endings"] * (rest > 0))
        return f"{shown(self.folder)}: left out {sum(self.others.values())} {files}: {counts}"

    def groups(self, *, files: bool) -> Iterator[tuple[str, Group]]:
        """The pictures of each class, by its name; all as of one that has none where there are no classes.

        Args:
            files: look at every file, for its size and when it was changed.

        Raises:
            DataError: a file is gone.
        """
        start = len(os.fsencode(self.below))
        for label, name in enumerate(self.classes or ("",)):
            rows = range(*np.searchsorted(self.labels, [label, label + 1]).tolist())
            if not rows:  # of a held-out part that has none
                continue
            inside = self.names[rows[0]].index(b"/", start) + 1 if name else start
            names = digest(self.names[row][inside:] + b"\0" for row in rows)
            sizes, times = self._files(rows) if files else ("", "")
            yield name, Group(samples=len(rows), names=names, sizes=sizes, times=times)

    def _files(self, rows: range) -> tuple[str, str]:
        """Digests of sizes and times of files."""
        folder = os.fsencode(self.folder) + b"/"
        found = np.array([look_at(folder + self.names[row]) for row in rows], dtype=np.int64)
        return digest([found[:, 0].tobytes()]), digest([found[:, 1].tobytes()])


def list_images(folder: Path, split: Split = "train", *, flat: bool = False) -> ImageList:
    """The pictures of a split: in a folder for each class, or these in folders ``train`` and ``held_out`` (or ``val``).

    Labels follow the sorted names of the class folders (of ``train``'s, for both splits): as numbers where all are
    numbers, so that 2 comes before 10, and else as text. Hidden files and folders are left out, and so are files that
    do not end as pictures do, which are counted; links are followed.

    Args:
        folder: of the dataset.
        split: which part of it.
        flat: also take a folder of pictures without any class folder.

    Raises:
        DataError: it is no such folder, or has no such split; a class without pictures, or pictures without a class;
            names that are shown alike, by which neither classes nor pictures can be told apart.
    """
    below = split_folder(folder, split)
    classes = _classes(split_folder(folder, "train"))
    others = Counter[str]()
    if flat and not classes:
        found = [(0, name) for name in _images(below, others)]
        if not found:
            raise _without_pictures(below)
    else:
        found = list(_labelled(below, classes, others))
    _refuse_alike(below, classes)
    _refuse_alike(below, [name for _, name in found])
    prefix = f"{below.name}/" if below != folder else ""
    return _listed(folder, prefix, classes, found, others)


def list_pictures(folder: Path) -> ImageList:
    """All pictures of a folder at any depth, by their names, as of no class and of no split.

    Args:
        folder: where they lie.

    Raises:
        DataError: there is no such folder, or no picture in it; names that are shown alike.
    """
    others = Counter[str]()
    names = _images(folder, others)
    if not names:
        raise _without_pictures(folder)
    _refuse_alike(folder, names)
    return _listed(folder, "", [], [(0, name) for name in names], others)


def _without_pictures(folder: Path) -> DataError:
    return DataError(f"{shown(folder)}: holds no pictures ({', '.join(ENDINGS)}); give a folder that does")


def _listed(
    folder: Path, below: str, classes: Sequence[str], found: Sequence[tuple[int, str]], others: Counter[str]
) -> ImageList:
    return ImageList(
        folder=folder,
        below=below,
        classes=tuple(shown(name) for name in classes),
        labels=np.array([label for label, _ in found], dtype=np.int64),
        names=Names.of(os.fsencode(below + name) for _, name in found),
        others=dict(others),
    )


def other_files(folder: Path, below: str = "") -> Iterator[str]:
    """Paths below ``folder`` of what there is beside pictures in the part ``below`` of it, hidden files aside."""
    for path, folders, files in os.walk(folder / below, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        others = (name for name in sorted(files) if not name.startswith(".") and not _ends_as_picture(name))
        yield from (shown(os.path.relpath(os.path.join(path, name), folder)) for name in others)


def split_folders(folder: Path) -> dict[Split, Path]:
    """The folder of each split that there is: sub-folders, or the folder itself as ``train`` where it is not divided.

    It is divided if it holds ``train`` and ``held_out`` (or ``val``), or ``train`` and no other folder.

    Raises:
        MissingFolderError: there is no such folder.
    """
    return _divided(folder, _sub_folders(folder))


def split_folder(folder: Path, split: Split) -> Path:
    """The folder of one split.

    Raises:
        MissingFolderError: there is no such folder.
        MissingSplitError: there is no such split.
    """
    found = split_folders(folder)
    if split not in found:
        raise MissingSplitError(
            f"{shown(folder)}: has no held-out part; divide it into sub-folders {TRAIN!r} and {HELD_OUT[0]!r}"
        )
    return found[split]


def changes_division(folder: Path, path: Path) -> bool:
    """Whether a folder that is made at ``path`` would have ``folder`` be divided otherwise, or no longer.

    Raises:
        MissingFolderError: there is no such folder.
    """
    folder, path = folder.resolve(), path.resolve()
    if path == folder or not path.is_relative_to(folder) or _is_hidden(path, folder):
        return False
    names = _sub_folders(folder)
    return _divided(folder, names) != _divided(folder, names | {path.relative_to(folder).parts[0]})


def would_be_listed(folder: Path, path: Path) -> bool:
    """Whether pictures in a folder that is made at ``path`` would be among those of a split.

    Raises:
        MissingFolderError: there is no such folder.
    """
    path = path.resolve()
    parts = [each.resolve() for each in split_folders(folder).values()]
    among = any(path.is_relative_to(part) and not _is_hidden(path, part) for part in parts)
    return among or path == folder.resolve() or changes_division(folder, path)


def look_at(path: Path | bytes) -> tuple[int, int]:
    """The size of a file in bytes, and when it was last changed, in nanoseconds.

    Raises:
        DataError: it is gone, or may not be looked at.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{shown(os.fsdecode(path))}: cannot be looked at: {error.strerror}") from error
    return status.st_size, status.st_mtime_ns


def shown(path: Path | str) -> str:
    """A path as it can be printed on one line, whatever its bytes are."""
    return printable(os.fspath(path))


def _classes(folder: Path) -> list[str]:
    """Class folders, in the order of their labels."""
    names = _sub_folders(folder)
    numbered = all(name.isascii() and name.isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name) if numbered else 0, name))


def _refuse_alike(folder: Path, names: Sequence[str]) -> None:
    """Refuse names of which one, as it is shown, is another: such as one with a line break, and one with ``\\n``."""
    odd = [name for name in names if shown(name) != name]
    if odd:
        found = Counter(map(shown, odd)) + Counter(name for name in names if shown(name) == name)
        alike = next((name for name in odd if found[shown(name)] > 1), None)
        if alike is not None:
            raise DataError(f"{shown(folder / alike)}: two names are shown like this; rename one")


def _labelled(folder: Path, classes: list[str], others: Counter[str]) -> Iterator[tuple[int, str]]:
    """Label and path below ``folder`` of every picture in its class folders; ``others`` counts what is beside them."""
    files = [entry for entry in _visible(folder) if not entry.is_dir()]
    loose = next((entry.name for entry in files if _is_picture(entry)), None)
    own = _classes(folder)
    if not own:
        holds = "holds pictures, but no class folders" if loose else "holds no class folders"
        raise DataError(f"{shown(folder)}: {holds}; put the pictures of each class into a folder of its own")
    if loose:
        raise DataError(f"{shown(folder / loose)}: lies beside the class folders; move it into one, or away")
    unknown = sorted(set(own) - set(classes))
    if unknown:
        raise DataError(
            f"{shown(folder / unknown[0])}: no such class is in {TRAIN!r}, so it has no label; add it there, or"
            " remove it here"
        )
    others.update(_ending(entry) for entry in files)
    for label, name in enumerate(classes):
        if name not in own:
            continue
        found = [f"{name}/{image}" for image in _images(folder / name, others)]
        if not found:
            raise DataError(f"{shown(folder / name)}: is a class without pictures ({', '.join(ENDINGS)}); remove it")
        yield from ((label, image) for image in found)


def _images(folder: Path, others: Counter[str]) -> list[str]:
    """Sorted paths below ``folder`` of all pictures in it, at any depth; ``others`` counts what is beside them."""
    return sorted(_walk(folder, "", frozenset(), others))


def _walk(folder: Path, prefix: str, above: frozenset[tuple[int, int]], others: Counter[str]) -> Iterator[str]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise DataError(f"{shown(folder)}: is a link to a folder that it lies in; remove it")
    for entry in _visible(folder):
        if entry.is_dir():
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/", above | {here}, others)
        elif _is_picture(entry):
            if not entry.is_file():
                raise DataError(f"{shown(entry.path)}: is no file, or a link to nothing; remove it")
            yield prefix + entry.name
        else:
            others[_ending(entry)] += 1


def _divided(folder: Path, below: set[str]) -> dict[Split, Path]:
    """The folder of each split, by the names of the folders that there are."""
    held_out = next((name for name in HELD_OUT if name in below), None)
    if TRAIN in below and held_out:
        return {"train": folder / TRAIN, "held_out": folder / held_out}
    return {"train": folder / TRAIN if below == {TRAIN} else folder}


def _is_hidden(path: Path, below: Path) -> bool:
    return any(name.startswith(".") for name in path.relative_to(below).parts)


def _sub_folders(folder: Path) -> set[str]:
    return {entry.name for entry in _visible(folder) if entry.is_dir()}


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return _ends_as_picture(entry.name) and not entry.is_dir()


def _ends_as_picture(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _ending(entry: os.DirEntry[str]) -> str:
    return shown(os.path.splitext(entry.name)[1].lower()) or "without ending"


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        raise MissingFolderError(f"{shown(folder.absolute())}: there is no such folder") from None
    except NotADirectoryError:
        raise DataError(f"{shown(folder)}: is a file; give the folder that holds the data") from None
    except (OSError, ValueError) as error:  # a ValueError where a zero byte is in the path
        raise DataError(f"{shown(folder)}: cannot be read: {error}") from error
