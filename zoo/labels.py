"""Labels: what samples are of, as a tensor with a row for each of them, or several such tensors by name.

Class indices are a tensor [B], embeddings of texts are one [B, ...], and ``{"class": [B], "size": [B, 2]}`` says two
things of each sample. What zoo does to labels on their way from a dataset to a class conditioner is done here, so that
nothing else needs to know which of these they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise

import torch
from jaxtyping import Bool, Int
from torch import Tensor

Labels = Tensor | Mapping[str, Tensor]
"""A tensor [B, ...], or a mapping of names to such tensors."""


def checked(given: object) -> Labels:
    """What is given, if it is labels.

    Raises:
        ValueError: it is not: neither a tensor with a row for each sample, nor a mapping to tensors of as many rows.
    """
    if isinstance(given, Tensor) and given.ndim:
        return given
    if isinstance(given, Mapping) and given and all(isinstance(each, Tensor) and each.ndim for each in given.values()):
        if len({len(each) for each in given.values()}) > 1:
            lengths = ", ".join(f"{name} {len(each)}" for name, each in given.items())
            raise ValueError(f"labels: must have a row for each sample under every name, got rows: {lengths}")
        return given
    raise ValueError(
        f"labels: must be a tensor with a row for each sample, or a mapping of names to such, got {form_of(given)}"
    )


def form_of(labels: object) -> str:
    """What kind of labels they are, for messages."""
    if isinstance(labels, Mapping):
        return f"a mapping of {', '.join(map(str, labels)) or 'nothing'}"
    if isinstance(labels, Tensor):
        return f"a tensor {list(labels.shape)}"
    return type(labels).__name__


def length(labels: Labels) -> int:
    """Number B of samples."""
    return len(labels if isinstance(labels, Tensor) else next(iter(labels.values())))


def as_floats(labels: Labels, examples: Labels) -> Labels:
    """The labels, of which whole numbers are floats where those of the examples are."""

    def as_float(own: Tensor, other: Tensor) -> Tensor:
        whole = not (own.is_floating_point() or own.is_complex())
        return own.to(other.dtype) if whole and other.is_floating_point() else own

    return labels if _names(labels) != _names(examples) else map_labels(as_float, labels, examples)


def class_indices(labels: Labels) -> Int[Tensor, " B"] | None:
    """The labels, where they are nothing but whole numbers, one a sample; None where they say something else."""
    whole = isinstance(labels, Tensor) and labels.ndim == 1 and not labels.is_floating_point()
    return labels if whole else None  # type: ignore[return-value]  # mypy keeps no condition that has a name


def rows(labels: Labels, index: Tensor | slice) -> Labels:
    """Those of some samples: of the indices [R] in their order, of a mask [B], or of a slice."""
    return map_labels(lambda own: own[index], labels)


def in_turn(labels: Labels, places: Sequence[int]) -> Labels:
    """Those of some places, where all samples come in turn, again and again."""
    return rows(labels, torch.tensor(places, dtype=torch.int64) % length(labels))


def join(labels: Sequence[Labels]) -> Labels:
    """Those of all samples of the first, then of the second, and so on.

    Raises:
        ValueError: some are a tensor and others a mapping, or they have different names.
    """
    return map_labels(lambda *own: torch.cat(own), *labels)


def split(labels: Labels, counts: Sequence[int]) -> list[Labels]:
    """Those of the first ``counts[0]`` samples, of the next ``counts[1]``, and so on: what ``join`` undoes."""
    return [rows(labels, slice(*ends)) for ends in pairwise(accumulate(counts, initial=0))]


def drop(labels: Labels, null: Labels, mask: Bool[Tensor, " B"]) -> Labels:
    """``labels``, with ``null`` in place of those to drop. The one place where labels are dropped.

    Args:
        labels: what the class conditioner takes.
        null: what stands for no condition, as ``class_conditioner.null(labels)`` gives it.
        mask: which samples lose their label [B].

    Raises:
        ValueError: ``null`` has other names than the labels.
    """
    return map_labels(lambda own, none: none.where(mask.view(-1, *[1] * (own.ndim - 1)), own), labels, null)


def move(labels: Labels, device: torch.device, *, non_blocking: bool = False) -> Labels:
    """The same on a device; ``non_blocking`` as ``Tensor.to`` has it."""
    return map_labels(lambda own: own.to(device, non_blocking=non_blocking), labels)


def map_labels(change: Callable[..., Tensor], *labels: Labels) -> Labels:
    """What ``change`` makes of the tensors: of all that have one name, where they have names.

    Raises:
        ValueError: some are a tensor and others a mapping, or they have different names.
    """
    first, *others = labels
    for other in others:
        if _names(other) != _names(first):
            raise ValueError(f"labels: must be alike to go together, got {form_of(first)} and {form_of(other)}")
    if isinstance(first, Tensor):
        return change(*labels)
    return {name: change(*(own[name] for own in labels)) for name in first}  # type: ignore[index]


def _names(labels: Labels) -> frozenset[str] | None:
    return None if isinstance(labels, Tensor) else frozenset(labels)
