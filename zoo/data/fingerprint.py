"""What a source holds, in a few lines: a run that goes on can tell from them what has changed in its data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from zoo.classes import renamed
from zoo.errors import lookalike
from zoo.labels import Labels
from zoo.signature import Options

DIGEST_SIZE = 8


class Group(Options):
    """Samples that lie together, such as in the folder of a class or in a shard.

    Attributes:
        samples: how many.
        names: digest of what they are called, in order.
        recorded: of their bytes, as it was recorded when they were written; empty where nothing was.
        sizes: digest of the files' sizes; empty where these were not looked at.
        times: digest of when the files were last changed; likewise.
    """

    samples: int
    names: str
    recorded: str = ""
    sizes: str = ""
    times: str = ""

    @property
    def contents(self) -> Group:
        """Without what a copy of the files need not keep."""
        return self.model_copy(update={"times": ""})


@dataclass(frozen=True)
class Changes:
    """What of a source is no longer as it was, each in a few words.

    Attributes:
        moved: which samples there are, of which labels, in which order.
        replaced: groups with files of other sizes, under the same names.
        touched: groups with files that have been changed or copied since, to the same sizes.
    """

    moved: list[str]
    replaced: list[str]
    touched: list[str]


class Fingerprint(Options):
    """What tells the samples of a source, and their order, from those of another. Plain JSON, of a few lines a group.

    Attributes:
        samples: how many.
        classes: names by label.
        counts: samples of each class by label, where that can be told without reading them.
        labels: digest of the labels in order.
        groups: of samples, in order, with their names.
        of: what a group is.
    """

    samples: int
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] | None = None
    labels: str
    groups: tuple[tuple[str, Group], ...] = ()
    of: str = "class"

    def order(self) -> str:
        """A digest of everything but what only a look at the files tells."""
        return self._digest_without("sizes", "times")

    def contents(self) -> str:
        """A digest of everything that a copy of the files keeps."""
        return self._digest_without("times")

    def changes_since(self, before: Fingerprint) -> Changes:
        """What is no longer as it was."""
        found: dict[str, list[str]] = {"moved": [], "replaced": [], "touched": []}
        for key, text in self._of_groups(before):
            found[key].append(text)
        if not found["moved"]:
            found["moved"] += self._of_classes(before)
        if not found["moved"] and self.samples != before.samples:
            found["moved"].append(f"there were {before.samples} samples, and there are {self.samples}")
        if not found["moved"] and self.labels != before.labels:
            found["moved"].append("labels are others, or in another order")
        return Changes(**found)

    def _digest_without(self, *left_out: str) -> str:
        blank = dict.fromkeys(left_out, "")
        groups = tuple((name, group.model_copy(update=blank)) for name, group in self.groups)
        return digest([self.model_copy(update={"groups": groups}).model_dump_json().encode()])

    def _of_groups(self, before: Fingerprint) -> Iterator[tuple[str, str]]:
        was, now = dict(before.groups), dict(self.groups)
        # Times tell classes apart whose files have equal names and sizes; a copy need not have kept them.
        holders = {group.contents: name for name, group in was.items()} | {group: name for name, group in was.items()}
        gone = {name: None for name in was if name not in now}
        for name, group in now.items():
            if name in was:
                continue
            other = holders.get(group, holders.get(group.contents))
            if other in gone:
                del gone[other]
                yield "moved", f"{self.of} {other!r} is called {name!r}{lookalike(other, name)}"
            else:
                yield "moved", f"{self.of} {name!r} of {_samples(group.samples)} is new"
        yield from (("moved", f"{self.of} {name!r} of {_samples(was[name].samples)} is gone") for name in gone)
        exchanged = set[str]()
        for name, group in now.items():
            if name not in was or name in exchanged or group == was[name]:
                continue
            same = group.contents == was[name].contents
            other = holders.get(group) if same else holders.get(group, holders.get(group.contents))
            if other is None or other == name:
                yield self._of_group(name, was[name], group)
            elif other in now and now[other].contents == was[name].contents:
                exchanged.add(other)
                yield "moved", f"{self.of} {name!r} and {self.of} {other!r} are exchanged"
            else:
                yield "moved", f"{self.of} {name!r} holds what {other!r} held"
        pairs = zip((name for name in was if name in now), (name for name in now if name in was), strict=True)
        place = next((pair for pair in pairs if pair[0] != pair[1]), None)
        if place is not None:
            yield "moved", f"{self.of} {place[1]!r} comes before {place[0]!r}"

    def _of_group(self, name: str, was: Group, now: Group) -> tuple[str, str]:
        where = f"{self.of} {name!r}" if name else "the data"
        if was.samples != now.samples:
            return "moved", f"{where} has {_samples(now.samples)} in place of {was.samples}"
        if was.names != now.names:
            return "moved", f"{where} has samples of other names, or in another order"
        if was.recorded != now.recorded:
            return "moved", f"{where} was written anew, with other contents"
        if was.sizes == now.sizes:
            return "touched", where
        if now.recorded:
            return "moved", f"{where} is of another size, and by its recorded hash the same"
        return "replaced", where

    def _of_classes(self, before: Fingerprint) -> Iterator[str]:
        called_otherwise = renamed(before.classes, self.classes)
        if called_otherwise is not None:
            yield called_otherwise
        elif self.counts is not None and before.counts is not None and len(self.counts) == len(before.counts):
            for label, (now, was) in enumerate(zip(self.counts, before.counts, strict=True)):
                if now != was:
                    name = self.classes[label] if label < len(self.classes) else str(label)
                    yield f"class {name!r} has {now} samples in place of {was}"


def digest(parts: Iterable[bytes]) -> str:
    """A short digest of bytes: it tells what changed by chance, not what was forged."""
    found = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for part in parts:
        found.update(part)
    return found.hexdigest()


def sha256_of(tensors: Mapping[str, Tensor]) -> str:
    """Of the bytes of all tensors, in the order of their names."""
    found = hashlib.sha256()
    for _, tensor in sorted(tensors.items()):
        found.update(tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def digest_of_labels(labels: Labels) -> str:
    """A digest of labels in order, whatever they are."""
    named = labels.items() if isinstance(labels, Mapping) else [("", labels)]
    return digest(part for name, values in sorted(named) for part in _parts(name, values.detach().cpu().contiguous()))


def counts_of_classes(labels: Int[np.ndarray, " n"], classes: int) -> tuple[int, ...] | None:
    """Samples of each class, by label; None where a label is of none."""
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
        return None
    return tuple(np.bincount(labels, minlength=classes).tolist())


def _parts(name: str, values: Tensor) -> Iterator[bytes]:
    """What tells a tensor of labels from another."""
    yield f"{name}{values.dtype} {list(values.shape)} ".encode()
    yield values.view(torch.uint8).numpy().tobytes()


def _samples(count: int) -> str:
    return f"{count} sample{'s' if count != 1 else ''}"
