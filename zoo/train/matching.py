"""Whether samples are such as a backbone takes: of a few before training, and of all labels as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import numpy as np

from zoo.backbone import Backbone
from zoo.data import Source
from zoo.data.left_out import LeftOut
from zoo.data.stream import Batch, Reader
from zoo.errors import DataError, SampleError, ZooError, listed
from zoo.labels import Labels, class_indices, rows
from zoo.parts import ClassConditioner, IndexConditioner
from zoo.recipe import Recipe
from zoo.sampling.labels import refuse_other_labels

LABELS_LOOKED_AT = 16
"""Samples, from the first to the last at even distances, whose labels are checked before training."""

TRIED = 4
"""Samples of which one is to be readable, to tell the shape of latents by."""


def misfit(recipe: Recipe, backbone: Backbone | None, source: Source, left_out: LeftOut) -> str | None:
    """What keeps the samples from the recipe's backbone, before each is looked at alone; None where nothing is found.

    Class indices are left to that look, which names each that there is no class for.

    Args:
        recipe: of both.
        backbone: what it builds, on any device; None to leave out labels.
        source: of a split.
        left_out: which samples are left out.
    """
    try:
        refuse_other_latents(recipe, source, left_out)
        if backbone is not None and len(left_out.kept):
            whole = class_indices(source.labels(left_out.kept[:1])) is not None
            if not (whole and isinstance(backbone.conditioner, IndexConditioner)):
                refuse_labels_of(recipe, backbone.conditioner, source, left_out)
    except DataError:  # of a sample
        return None
    except ZooError as error:
        return str(error)
    except Exception:  # likewise, of a plug-in
        return None
    return None


def refuse_other_latents(recipe: Recipe, source: Source, left_out: LeftOut) -> None:
    """Refuse a dataset whose latents are of another shape than the recipe's; nothing, where none of the first is read.

    Raises:
        ZooError: with both shapes.
    """
    latent = recipe.backbone.latent
    wanted = [latent.channels, *latent.size]
    for index in islice(left_out.kept.tolist(), TRIED):
        with suppress(Exception):  # whoever reads it next tells of that
            found = list(source.read(np.array([index]), [np.random.default_rng(index)]).latents.shape[1:])
            break
    else:
        return
    if found != wanted:
        raise ZooError(
            f"{recipe.name}: dataset {recipe.data.dataset.type} has latents {found}, and backbone.latent is {wanted}"
            f" (channels, then lengths of the axes): {source.id(index)}; set backbone.latent or data.dataset to what go"
            " together"
        )


def refuse_labels_of(recipe: Recipe, conditioner: ClassConditioner, source: Source, left_out: LeftOut) -> None:
    """Look at some samples' labels, since what they are is between the dataset and the conditioner alone.

    Raises:
        ZooError: the conditioner does not take them.
        DataError: a sample cannot be read.
    """
    kept = left_out.kept
    indices = kept[np.unique(np.linspace(0, len(kept) - 1, LABELS_LOOKED_AT).astype(np.int64))]
    for place, error in _refused(conditioner, source.labels(indices), len(indices)):
        raise ZooError(
            f"{recipe.name}: class_conditioner {recipe.backbone.class_conditioner.type} does not take the labels of"
            f" dataset {recipe.data.dataset.type}: {source.id(int(indices[place]))}: {error}; set"
            " backbone.class_conditioner or data.dataset to what go together; `zoo new-plugin NAME --kind dataset`"
            " begins a dataset of such labels"
        ) from error


def refuse_labels_in(piece: Batch, conditioner: ClassConditioner, reader: Reader) -> None:
    """Refuse samples that are about to be trained on, of whose labels the conditioner does not take some.

    Raises:
        SampleError: with the samples' names, and how to leave them out.
        DataError: it takes those of no sample.
    """
    count = len(piece.t)
    try:
        refuse_other_labels(conditioner, piece.labels, count)
        return
    except ValueError as error:
        whole = error
    found = list(_refused(conditioner, piece.labels, count))
    ids = list(dict.fromkeys(reader.source.id(int(piece.indices[place])) for place, _ in found))
    if not ids or len(found) == count > 1:  # not single samples are at fault
        names = listed([reader.source.id(index) for index in piece.indices.tolist()])
        raise DataError(f"the class conditioner does not take the labels of samples {names}: {whole}") from whole
    more = f" (and {len(ids) - 1} more of the {count} read at once)" if len(ids) > 1 else ""
    reason = found[0][1]
    raise SampleError(f"{ids[0]}: {reason}{more}; {reader.order.left_out.advice(ids)}") from reason


def _refused(conditioner: ClassConditioner, labels: Labels, count: int) -> Iterator[tuple[int, ValueError]]:
    """Which of some samples have labels that a conditioner does not take by themselves, and why."""
    for place in range(count):
        try:
            refuse_other_labels(conditioner, rows(labels, slice(place, place + 1)), 1)
        except ValueError as error:
            yield place, error
