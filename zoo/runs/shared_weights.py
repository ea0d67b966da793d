"""Weights that one process of a job reads for all of them, so that a disk which they share is read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from zoo.assembly import check_recorded
from zoo.backbone import Backbone
from zoo.classes import Classes
from zoo.data.fingerprint import Fingerprint
from zoo.distributed.distributed import Distributed
from zoo.recipe import Recorded, Versions, read_tree
from zoo.registry import Registry
from zoo.runs.weights import WeightsSource
from zoo.weights import Weights, filled


def read_by_one(source: WeightsSource, registry: Registry, world: Distributed) -> Weights:
    """The weights; on other processes than the main one their tensors are on the meta device, for ``filled_by_one``.

    All processes call it.

    Args:
        source: where they are, as the main process has found it.
        registry: the parts to choose from.
        world: this process among those of the job.

    Raises:
        ZooError: as ``WeightsSource.read`` raises it, on all processes.
    """
    own: list[Weights] = []

    def read() -> _Told | None:
        own.append(source.read(registry))
        return None if world.size == 1 else _told_of(own[0])

    told = world.first(read)
    with world.together():
        if told is not None and not own:
            own.append(told.weights(source.where, registry))
    return own[0]


def filled_by_one(weights: Weights, world: Distributed) -> Backbone:
    """A backbone on every process's device with the weights that the main process has, in evaluation mode.

    Args:
        weights: of ``read_by_one``, or such as all processes have.
        world: this process among those of the job; all of them call it.

    Raises:
        ZooError: of the same kind on all processes, where one cannot make it.
    """
    with world.together():
        backbone = filled(weights, world.device)
    world.share(backbone.state_dict().values())
    return backbone


@dataclass(frozen=True)
class _Told:
    """What other processes are told of weights; as plain values, since they have parts of their own."""

    recipe: Mapping[str, Any]
    tensors: Mapping[str, tuple[torch.Size, torch.dtype]]
    source: Mapping[str, Any]
    classes: Classes
    versions: Versions | None
    data: Fingerprint | None

    def weights(self, where: str, registry: Registry) -> Weights:
        # The main process has compared versions with those on record, and said what there is to say.
        recipe = check_recorded(Recorded(where, read_tree(self.recipe)), registry, needs=("backbone",))
        tensors = {name: torch.empty(size, dtype=dtype, device="meta") for name, (size, dtype) in self.tensors.items()}
        return Weights(recipe, tensors, self.source, self.classes, self.versions, self.data)


def _told_of(weights: Weights) -> _Told:
    return _Told(
        weights.recipe.resolved(),
        {name: (each.shape, each.dtype) for name, each in weights.tensors.items()},
        weights.source,
        weights.classes,
        weights.versions,
        weights.data,
    )
