"""Where it is kept which samples there are in tar files, so that they are looked through once."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from zoo.data.fingerprint import sha256_of
from zoo.data.folders import look_at, shown
from zoo.data.names import Names
from zoo.data.tar_index import Shard, TarIndex, join, read_shard
from zoo.errors import DataError
from zoo.files import safetensors, write_whole
from zoo.json_files import parse_json
from zoo.mapped import named_in_text

NAME = ".zoo-index.safetensors"
ARRAYS = ("shard", "offsets", "sizes", "labels", "ends")
TEXT = "text"
VERSION, HASH = "1", "sha256"


def index_of(folder: Path, field: str) -> TarIndex:
    """The samples of all shards of a folder; those that have changed since are looked through again.

    Args:
        folder: of the shards.
        field: of a sample's ``.json`` that is its class.

    Raises:
        DataError: there are no shards, or no pictures in them; one cannot be read, or is no tar file.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".tar" and not path.name.startswith("."))
    if not paths:
        raise DataError(f"{shown(folder)}: holds no shards (.tar); give a folder that does")
    known = next(_kept(folder, field), None)
    if known is not None and [each[:3] for each in known.shards] == [(path.name, *look_at(path)) for path in paths]:
        return known
    places = {} if known is None else {each[:3]: place for place, each in enumerate(known.shards)}
    parts = list[TarIndex]()
    for path in paths:
        place = places.get((path.name, *look_at(path)))
        parts.append(read_shard(path, field) if known is None or place is None else known.of_shard(place))
    index = join(parts)
    if not len(index):
        raise DataError(f"{shown(folder)}: its shards hold no pictures; members end in .jpg, .png or the like")
    _keep(index, folder, field)
    return index


def _files(folder: Path) -> Iterator[Path]:
    """Where the index may be: beside the shards, or in the folder that XDG_CACHE_HOME names, or in ``~/.cache``."""
    yield folder / NAME
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    yield cache / "zoo" / f"tar-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}.safetensors"


def _kept(folder: Path, field: str) -> Iterator[TarIndex]:
    for file in _files(folder):
        try:
            if file.is_file() and (found := _read(file, field)) is not None:
                yield found
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            warnings.warn(f"{shown(file)}: cannot be used, and is made anew: {reason}", stacklevel=2)


def _keep(index: TarIndex, folder: Path, field: str) -> None:
    ends, text = index.names.ends, np.frombuffer(index.names.text, dtype=np.uint8)
    arrays = dict(zip(ARRAYS, (index.shard, index.offsets, index.sizes, index.labels, ends), strict=True))
    tensors = {name: torch.from_numpy(each.copy()) for name, each in {**arrays, TEXT: text}.items()}
    metadata = {HASH: sha256_of(tensors), "version": VERSION, "field": field, "shards": json.dumps(index.shards)}
    for file in _files(folder):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            return write_whole(file, safetensors(tensors, metadata), DataError, synced=False)
        except (OSError, DataError) as error:
            failed = error
    warnings.warn(f"{shown(folder)}: its shards are looked through every time: {failed}", stacklevel=2)


def _read(file: Path, field: str) -> TarIndex | None:
    """What is kept in a file; None where it is of another version, or was made with another field."""
    with named_in_text(file) as named, safe_open(named, "pt") as opened:
        metadata = opened.metadata() or {}
        if (metadata.get("version"), metadata.get("field")) != (VERSION, field):
            return None
        tensors = {name: opened.get_tensor(name) for name in (*ARRAYS, TEXT)}
    if sha256_of(tensors) != metadata.get(HASH):
        raise ValueError("its SHA-256 differs")
    shard, offsets, sizes, labels, ends = (tensors[name].numpy() for name in ARRAYS)
    names = Names(tensors[TEXT].numpy().tobytes(), ends)
    shards = tuple(Shard(*each) for each in parse_json(metadata["shards"]))
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
