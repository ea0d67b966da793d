"""Which samples there are in tar files, and where in them their pictures lie."""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from zoo.data.folders import ENDINGS, look_at, shown
from zoo.data.names import Names
from zoo.errors import DataError, in_words, printable
from zoo.json_files import parse_json

CLASS, FIELDS = "cls", "json"
"""Endings of the members that may say a picture's class."""

NO_LABEL = -1
LONGEST = 2**20
"""Bytes of a member with labels, at most."""

_PICTURES = frozenset(ending[1:] for ending in ENDINGS)


class Shard(NamedTuple):
    """A tar file, as it was when it was looked through.

    Attributes:
        name: of the file.
        size: in bytes.
        time: when it was last changed, in nanoseconds.
        left_out: how many keys in it have no picture.
        dotted: how many files of these end as a picture does, behind a second dot.
        links: how many members are links, which have no bytes of their own.
    """

    name: str
    size: int
    time: int
    left_out: int
    dotted: int
    links: int


@dataclass(frozen=True)
class TarIndex:
    """The samples of some shards, in the order in which they lie there.

    Attributes:
        shards: the files.
        shard: which one a sample is in [n].
        names: of the members that are pictures, printable, in UTF-8.
        offsets: where in its file a picture begins, in bytes [n].
        sizes: of the pictures, in bytes [n].
        labels: classes [n]; ``NO_LABEL`` where none is said.
    """

    shards: tuple[Shard, ...]
    shard: Int[np.ndarray, " n"]
    names: Names
    offsets: Int[np.ndarray, " n"]
    sizes: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """The member that is a sample's picture."""
        return printable(self.names[index].decode(errors="backslashreplace"))

    def rows(self, shard: int) -> slice:
        """The samples of a shard."""
        return slice(*np.searchsorted(self.shard, [shard, shard + 1]).tolist())

    def where(self, mask: Bool[np.ndarray, " n"]) -> TarIndex:
        """The samples that a mask has."""
        arrays = (self.shard, self.offsets, self.sizes, self.labels)
        shard, offsets, sizes, labels = (each[mask] for each in arrays)
        names = self.names.where(mask)
        return replace(self, shard=shard, names=names, offsets=offsets, sizes=sizes, labels=labels)

    def of_shard(self, shard: int) -> TarIndex:
        """Of one shard alone."""
        rows = self.rows(shard)
        count = rows.stop - rows.start
        names = self.names.part(rows.start, rows.stop)
        own = (self.shards[shard],)
        return TarIndex(own, np.zeros(count, np.int32), names, self.offsets[rows], self.sizes[rows], self.labels[rows])


def join(parts: Iterable[TarIndex]) -> TarIndex:
    """That of all shards, each of which has one."""
    each = list(parts)
    return TarIndex(
        shards=tuple(shard for part in each for shard in part.shards),
        shard=np.repeat(np.arange(len(each), dtype=np.int32), [len(part) for part in each]),
        names=Names.join([part.names for part in each]),
        offsets=np.concatenate([part.offsets for part in each]),
        sizes=np.concatenate([part.sizes for part in each]),
        labels=np.concatenate([part.labels for part in each]),
    )


def read_shard(path: Path, field: str) -> TarIndex:
    """Look through a tar file: members that lie side by side and have the same path up to the first dot of their name
    are a sample, as webdataset has it. Hidden files are left out.

    Args:
        path: of the file.
        field: of a sample's ``.json`` that is its class, where it has no ``.cls``.

    Raises:
        DataError: it is no tar file, or a damaged or compressed one; a sample has two pictures, or a label that is no
            whole number; two samples are called alike.
    """
    size, time = look_at(path)
    names, numbers, lost = list[bytes](), list[tuple[int, int, int]](), Counter[str]()
    with _opened(path) as file:
        for group in _groups(path, file, lost):
            found = sorted(ending for ending in group if ending in _PICTURES)
            if not found:
                lost["keys"] += 1
                lost["dotted"] += sum(ending.rpartition(".")[2] in _PICTURES for ending in group)
                continue
            picture = group[found[0]]
            if len(found) > 1:
                raise DataError(
                    f"{shown(path / picture.name)}: is one of several pictures of its sample, beside"
                    f" {shown(group[found[1]].name)}; leave one of them in the shard"
                )
            names.append(shown(picture.name).encode())
            numbers.append((picture.offset_data, picture.size, _label(path, file, group, field)))
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1).decode()
        raise DataError(f"{shown(path / name)}: is there twice; give each sample of a shard a name of its own")
    columns = np.array(numbers, dtype=np.int64).reshape(-1, 3)
    shard = (Shard(path.name, size, time, lost["keys"], lost["dotted"], lost["links"]),)
    return TarIndex(
        shard, np.zeros(len(names), np.int32), Names.of(names), *(columns[:, each].copy() for each in range(3))
    )


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read: {error.strerror}") from error


def _groups(path: Path, file: BinaryIO, lost: Counter[str]) -> Iterator[dict[str, tarfile.TarInfo]]:
    """The members of each key, by their endings in lower case."""
    key, group = None, dict[str, tarfile.TarInfo]()
    for member in _members(path, file):
        member.name = member.name.removeprefix("./")
        folder, slash, name = member.name.rpartition("/")
        stem, dot, ending = name.partition(".")
        if not stem or not dot:
            continue
        if not member.isreg():
            lost["links"] += 1
            continue
        if key != (own := folder + slash + stem):
            if group:
                yield group
            key, group = own, {}
        if ending.lower() in group:
            raise DataError(f"{shown(path / member.name)}: is there twice; give each file of a shard a name of its own")
        group[ending.lower()] = member
    if group:
        yield group


def _members(path: Path, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The files in a tar file; one that ends within is damaged, even where tarfile would take what is there."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it keeps them all
                if member.size < 0:
                    raise tarfile.ReadError("a member has less than no bytes")
                if (member.isreg() and not member.issparse()) or member.islnk() or member.issym():
                    yield member
            file.seek(tar.offset)
            end = file.read(tarfile.BLOCKSIZE)
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        with path.open("rb") as again:
            head = again.read(6)
        if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")):
            raise DataError(
                f"{shown(path)}: is compressed, and nothing in it can be read by its place; decompress it, pictures are"
                " compressed already"
            ) from error
        raise DataError(f"{shown(path)}: is no tar file, or a damaged one: {in_words(error)}") from error
    if len(end) < tarfile.BLOCKSIZE or end.strip(b"\0"):
        raise DataError(f"{shown(path)}: is cut off or damaged at byte {tar.offset}; copy it again")


def _label(path: Path, file: BinaryIO, group: dict[str, tarfile.TarInfo], field: str) -> int:
    ending = CLASS if CLASS in group else FIELDS
    member = group.get(ending)
    if member is None:
        return NO_LABEL
    if member.size > LONGEST:
        raise DataError(f"{shown(path / member.name)}: has {member.size} bytes, too many to say a class; leave it out")
    file.seek(member.offset_data)
    text = file.read(member.size).decode(errors="backslashreplace").strip()
    found: object = text
    if ending == FIELDS:
        try:
            values = parse_json(text)
        except ValueError as error:
            raise DataError(f"{shown(path / member.name)}: is not JSON: {error}") from error
        found = values.get(field) if isinstance(values, dict) else None
        if found is None:
            return NO_LABEL
    if isinstance(found, bool) or not re.fullmatch(r"[0-9]{1,9}", str(found)):
        what = f"field {field!r}" if ending == FIELDS else "a label"
        raise DataError(
            f"{shown(path / member.name)}: {what} is {str(found)[:40]!r}, no class index; give whole numbers from 0"
        )
    return int(str(found))
