"""Where it is kept which samples there are in tar files, so that they are looked through once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo import flock
from zoo.data.cache import cache_file, keep_cached, read_cached
from zoo.data.folders import look_at, shown
from zoo.data.names import Names
from zoo.data.tar_index import Shard, TarIndex, join, read_shard
from zoo.errors import DataError
from zoo.json_files import parse_json

NAME = ".zoo-index.safetensors"
ARRAYS = ("shard", "offsets", "sizes", "labels", "ends")
TEXT = "text"
FIELD, SHARDS = "field", "shards"


def index_of(folder: Path, field: str) -> TarIndex:
    """The samples of all shards of a folder; those that have changed since are looked through again.

    Of processes that ask at the same time one looks, and the others take what it has kept.

    Args:
        folder: of the shards.
        field: of a sample's ``.json`` that is its class.

    Raises:
        DataError: there are no shards, or no pictures in them; one cannot be read, or is no tar file.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".tar" and not path.name.startswith("."))
    if not paths:
        raise DataError(f"{shown(folder)}: holds no shards (.tar); give a folder that does")
    unpacked = next((path for path in paths if path.is_dir()), None)
    if unpacked is not None:
        raise DataError(f"{shown(unpacked)}: is a folder, and is called as shards are; give it another name")
    there = [(path.name, *look_at(path)) for path in paths]
    known = _kept(folder, field)
    if known is not None and _places(known) == there:
        return known
    with _in_turn(folder):
        known = _kept(folder, field)
        if known is not None and _places(known) == there:
            return known
        places = {} if known is None else {each: place for place, each in enumerate(_places(known))}
        parts = list[TarIndex]()
        for path, own in zip(paths, there, strict=True):
            place = places.get(own)
            parts.append(read_shard(path, field) if known is None or place is None else known.of_shard(place))
        index = join(parts)
        if not len(index):
            raise DataError(f"{shown(folder)}: its shards hold no pictures; members end in .jpg, .png or the like")
        _keep(index, folder, field)
    return index


def _places(index: TarIndex) -> list[tuple[str, int, int]]:
    return [(each.name, each.size, each.time) for each in index.shards]


@contextmanager
def _in_turn(folder: Path) -> Iterator[None]:
    """Be the one that looks; or, once another has looked, go on at once, since it may have kept nothing."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        yield
        return
    try:
        try:
            flock.lock(descriptor)
        except BlockingIOError:
            flock.wait(descriptor)
        yield
    finally:
        os.close(descriptor)


def _files(folder: Path) -> list[Path | None]:
    """Where the index may be: beside the shards, or in zoo's cache."""
    return [folder / NAME, cache_file("tar", {"folder": os.fspath(folder.resolve())})]


def _kept(folder: Path, field: str) -> TarIndex | None:
    def made(tensors: dict[str, Tensor], notes: Mapping[str, str]) -> TarIndex | None:
        return _index(tensors, notes) if notes.get(FIELD) == field else None

    each = (read_cached(file, made) for file in _files(folder))
    return next((found for found in each if found is not None), None)


def _keep(index: TarIndex, folder: Path, field: str) -> None:
    ends, text = index.names.ends, np.frombuffer(index.names.text, dtype=np.uint8)
    arrays = dict(zip(ARRAYS, (index.shard, index.offsets, index.sizes, index.labels, ends), strict=True))
    tensors = {name: torch.from_numpy(each.copy()) for name, each in {**arrays, TEXT: text}.items()}
    notes = {FIELD: field, SHARDS: json.dumps(index.shards)}
    keep_cached(_files(folder), tensors, f"{shown(folder)}: its shards are looked through", notes)


def _index(tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> TarIndex:
    """What is kept, where it goes together."""
    shard, offsets, sizes, labels, ends = (tensors[name].numpy() for name in ARRAYS)
    names = Names(tensors[TEXT].numpy().tobytes(), ends)
    shards = tuple(Shard(*each) for each in parse_json(notes[SHARDS]))
    last = np.append(np.array([each.size for each in shards], dtype=np.int64), -1)
    count = len(ends)
    sound = (
        all(each.shape == (count,) for each in (shard, offsets, sizes, labels))
        and bool((np.diff(shard, prepend=0, append=len(shards) - 1) >= 0).all())
        and bool((np.diff(ends, prepend=0) > 0).all() and ends[-1] == len(names.text))
        and bool((offsets >= 0).all() and (sizes >= 0).all() and (offsets + sizes <= last[shard]).all())
    )
    if not sound:
        raise ValueError("its numbers do not go together")
    return TarIndex(shards, shard, names, offsets, sizes, labels)
