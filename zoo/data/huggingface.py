"""Training in pixel space, from tables that the package datasets reads from disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from zoo.data.base import Split
from zoo.data.fingerprint import Fingerprint, Group, digest, digest_of_labels
from zoo.data.folders import HELD_OUT, TRAIN, look_at, shown
from zoo.data.held_out import Share, listed_split, rows_of_split
from zoo.data.picture_source import PictureDataset, PictureSource
from zoo.errors import DataError, MissingFolderError, in_words, listed, words_of
from zoo.registry import part
from zoo.signature import PathText

HELD_OUT_NAMES = (HELD_OUT[0], "validation", "valid", "val", "dev", "test")
"""What held-out parts of such data are called, of which the first that is there is taken."""

PARQUET, ARROW = ".parquet", ".arrow"
_CALLED = {name: name for name in (TRAIN, *HELD_OUT_NAMES)} | {
    "training": TRAIN,
    "evaluation": "validation",
    "eval": "validation",
    "testing": "test",
}
_WORDS = re.compile("|".join(rf"(?<![a-z]){re.escape(name)}(?![a-z])" for name in _CALLED))


@part("dataset", "huggingface")
class HuggingFace(PictureDataset):
    """Pictures in tables of Hugging Face's datasets, from disk: cropped and scaled as ``images`` does.

    The folder is one that ``save_to_disk`` has written, or holds ``.parquet`` or ``.arrow`` files at any depth, divided
    by their names or their folders' (``train-00000-of-00004.parquet``, ``validation/0.parquet``). A picture is a file's
    bytes, or the path of one below the folder; a label is a class index. Nothing is asked of a network, and no code of
    the data is run. datasets copies parquet into its cache once, as arrow files.

    Options:
        folder: where the tables are.
        image: the column of the pictures.
        label: that of the labels; it may be missing without classes.
        held_out: the share of the rows that is held out, by their numbers, where nothing else is; 0 for none.
        flip: mirror every other picture, at random; never those held out.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, ...],
        num_classes: int,
        *,
        folder: PathText,
        image: str = "image",
        label: str = "label",
        held_out: Share = 0.0,
        flip: bool = True,
    ) -> None:
        super().__init__(channels, size, num_classes, folder=folder, held_out=held_out, flip=flip)
        self.image = image
        self.label = label

    def open(self, split: Split = "train") -> TableSource:
        """The rows of a split; of the pictures none is read."""
        self.refuse_channels()
        parts = table_files(self.folder)
        first = {each: found[0] for each, found in parts.items()}
        own = parts[listed_split(self.folder, self.held_out, split, first)]
        table, counts = self._table(own)
        name = _called(self.folder, own[0]) or TRAIN
        rows = np.arange(len(table))
        if self.held_out:
            names = (f"{name} row {row}" for row in rows.tolist())
            rows = rows[rows_of_split(self.folder, names, self.held_out, split)]
        files = dict(zip(own, counts, strict=True))
        source = TableSource(table, rows, name, files, self, flip=self.flip and split == "train")
        self.refuse_classes(len(source.classes))
        self.refuse_labels(source)
        places = sorted({_place(self.folder, file) for file in own})
        if len(places) > 1:
            source.notes = (
                f"{shown(self.folder)}: takes the tables of {len(places)} folders together, {listed(places)}; set"
                " data.dataset.folder to one of them where each is a configuration of its own",
            )
        return source

    def takes(self, path: Path) -> bool:
        """Only the folder itself: tables are files."""
        return path.resolve() == self.folder.resolve()

    def _table(self, files: Sequence[Path]) -> tuple[Any, Sequence[int]]:
        """A ``datasets.Dataset`` of the columns that are asked for, in memory-mapped files; and the rows of each."""
        try:
            datasets: Any = import_module("datasets")
        except ImportError as error:
            raise DataError(
                f"dataset huggingface needs the package datasets ({error}); install it with:"
                " pip install 'diffusion-zoo[huggingface]'"
            ) from error
        names = [os.fspath(file) for file in files]
        try:
            if names[0].endswith(PARQUET):
                heads = [import_module("pyarrow.parquet").read_metadata(name) for name in names]
                counts, schemas = zip(*((each.num_rows, each.schema.to_arrow_schema()) for each in heads), strict=True)
                wanted = self._columns(files, schemas, sum(counts))
                table = datasets.Dataset.from_parquet(names, columns=wanted)
            else:
                tables = [datasets.Dataset.from_file(name) for name in names]
                counts, schemas = zip(*((len(each), each.data.schema) for each in tables), strict=True)
                wanted = self._columns(files, schemas, sum(counts))
                table = datasets.concatenate_datasets([each.select_columns(wanted) for each in tables])
            return table.select_columns(wanted).with_format("arrow"), counts
        except DataError:
            raise
        except Exception as error:  # of many kinds
            raise DataError(f"{shown(files[0].parent)}: its tables cannot be read: {in_words(error)}") from error

    def _columns(self, files: Sequence[Path], schemas: Sequence[Any], rows: int) -> list[str]:
        """Those that are asked for, which every file has to have; there have to be rows."""
        found = schemas[0].names
        wanted = [self.image] + [self.label] * (self.num_classes > 0 or self.label in found)
        for file, schema in zip(files, schemas, strict=True):
            missing = next((name for name in wanted if name not in schema.names), None)
            if missing is not None and missing in found:
                raise DataError(
                    f"{shown(file)}: has no column {missing!r}, which {shown(files[0].name)} has; give all tables the"
                    " same, or move this one away"
                )
            if missing is not None:
                raise DataError(
                    f"{shown(file)}: has no column {missing!r}; set data.dataset.image and label to some of"
                    f" {listed(list(found))}"
                )
            kind = str(schema.field(self.label).type) if self.label in wanted else "int64"
            if not re.fullmatch(r"u?int\d+", kind):
                raise DataError(
                    f"{shown(file)}: column {self.label!r} holds {kind}, no class indices; make them by"
                    " class_encode_column, or set data.dataset.label"
                )
        if not rows:
            raise DataError(f"{shown(files[0])}: holds no rows; give tables that do")
        return wanted


class TableSource(PictureSource):
    """Rows of a table; each picture is read from it every time.

    Args:
        table: a ``datasets.Dataset`` that gives arrow tables.
        rows: of it, those of the split [n].
        name: what its part of the data is called.
        files: that it is of, in order, and how many rows each has.
        dataset: whose pictures these are.
        flip: whether they are mirrored at random.
    """

    def __init__(
        self,
        table: Any,
        rows: Int[np.ndarray, " n"],
        name: str,
        files: Mapping[Path, int],
        dataset: HuggingFace,
        *,
        flip: bool,
    ) -> None:
        self.folder = dataset.folder
        self._table, self._rows, self._name, self._files, self._image = table, rows, name, files, dataset.image
        labels = np.full(len(rows), -1)
        classes: tuple[str, ...] = ()
        if dataset.label in table.column_names:
            column = table.select_columns([dataset.label])[:].column(dataset.label)
            try:
                labels = column.cast("int64").fill_null(-1).to_numpy()[rows]
            except ValueError as error:  # of uint64
                raise DataError(
                    f"{shown(self.folder)}: column {dataset.label!r} holds no class indices ({words_of(error)}); set"
                    " data.dataset.label"
                ) from error
            classes = tuple(map(shown, getattr(table.features[dataset.label], "names", ())))
        super().__init__(labels, classes, dataset, flip=flip)

    def file(self, index: int) -> tuple[Path, bytes | None]:
        """A picture's bytes, and what it is called; or its file."""
        found: Any = self._table[int(self._rows[index])].column(self._image)[0].as_py()
        path: Any = found
        if isinstance(found, dict):  # as datasets.Image has it
            found, path = found.get("bytes"), found.get("path")
        if isinstance(found, bytes):
            return self.folder / self.id(index), found
        if isinstance(path, str):
            if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
                raise DataError(
                    f"{shown(self.folder)}: {self.id(index)} names {shown(path)}, and files elsewhere are not read;"
                    " give paths below the folder, or the pictures' bytes"
                )
            return self.folder / path, None
        raise DataError(
            f"{shown(self.folder)}: {self.id(index)} has no picture in column {self._image!r}; leave the row out, or"
            " set data.dataset.image"
        )

    def id(self, index: int) -> str:
        """The part of the data, and the row of it."""
        return f"{self._name} row {self._rows[index]}"

    def fingerprint(self, *, files: bool = True) -> Fingerprint:
        """By file, in order: which rows of it and, of the file, size and time."""
        return Fingerprint(
            samples=len(self),
            classes=self.classes,
            counts=self.class_counts(),
            labels=digest_of_labels(torch.from_numpy(self._labels)),
            groups=tuple(self._groups(files)),
            of="file",
        )

    def _groups(self, files: bool) -> Iterator[tuple[str, Group]]:
        starts = np.cumsum([0, *self._files.values()])
        bounds = pairwise(np.searchsorted(self._rows, starts).tolist())
        for file, start, (first, stop) in zip(self._files, starts, bounds, strict=False):
            if first == stop:  # of a held-out part that has none
                continue
            size, time = map(str, look_at(file)) if files else ("", "")
            names = digest([(self._rows[first:stop] - start).tobytes()])
            yield (
                shown(file.relative_to(self.folder)),
                Group(samples=stop - first, names=names, sizes=size, times=time),
            )


def table_files(folder: Path) -> dict[Split, list[Path]]:
    """The files of each split that there is, in order; all as ``train`` where none is called so.

    Raises:
        MissingFolderError: there is no such folder.
        DataError: it holds no tables, or of both kinds; one is of no split.
    """
    if not folder.is_dir():
        raise MissingFolderError(f"{shown(folder.absolute())}: there is no such folder")
    found = sorted(path for path in folder.rglob("*") if path.suffix in (PARQUET, ARROW) and _is_table(path))
    if not found:
        raise DataError(f"{shown(folder)}: holds no tables ({PARQUET}, {ARROW}); give a folder that does")
    if len({path.suffix for path in found}) > 1:
        raise DataError(f"{shown(folder)}: holds tables of both {PARQUET} and {ARROW}; move those of one kind away")
    names = {path: _called(folder, path) for path in found}
    held_out = next((name for name in HELD_OUT_NAMES if name in names.values()), None)
    train = [path for path, name in names.items() if name == TRAIN]
    rest = [path for path, name in names.items() if not name]
    if train and rest:
        raise DataError(
            f"{shown(rest[0])}: is called after no part of the data, and others are; begin its name with {TRAIN!r}, or"
            " move it away"
        )
    parts: dict[Split, list[Path]] = {"train": train or rest}
    if held_out is not None:
        parts["held_out"] = [path for path, name in names.items() if name == held_out]
    if not parts["train"]:
        raise DataError(f"{shown(folder)}: has no tables to train on; begin the names of some with {TRAIN!r}")
    return parts


def _is_table(path: Path) -> bool:
    # The latter are what map() leaves beside saved tables; and Spark writes folders that are called as tables are.
    return not path.name.startswith((".", "cache-")) and path.is_file()


def _called(folder: Path, path: Path) -> str:
    """The part of the data that a file or its folder is called after; nothing where it is after none."""
    word = _WORDS.search(path.relative_to(folder).as_posix().lower())
    return _CALLED[word[0]] if word else ""


def _place(folder: Path, path: Path) -> str:
    """The folder that a file is in, but for those that are called after a part of the data."""
    parts = path.relative_to(folder).parent.parts
    return "/".join(shown(part) for part in parts if not _WORDS.search(part.lower())) or "."
