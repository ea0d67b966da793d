"""The parts of a backbone, made at their sites."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from zoo.attributes import said_by
from zoo.errors import PluginError
from zoo.kinds import KINDS
from zoo.parts.facts import facts_of, mistakes_in
from zoo.parts.initialise import EmptyIsNaN, faults, unmade
from zoo.parts.module_part import ModulePart
from zoo.recipe import PartSpec
from zoo.recipe.latent import LatentRecipe
from zoo.schedule import Stage, noise_ranges, resolved
from zoo.shape import Shape, block_dims
from zoo.sites import ENUMERATORS, Built, Key, Site, Unknown

Supplied = dict[str, Any]
"""Arguments of a part's constructor."""

OF_SHAPE = frozenset({"stages", "ranges", "scales", "block_dims"})
"""What the patch schedule alone tells of those that stand beside the backbone."""


def shape_of(values: Mapping[str, Any], stages: Sequence[Stage]) -> Shape:
    """The numbers of a backbone.

    Args:
        values: of the recipe's section.
        stages: as the schedule gives them.

    Raises:
        KeyError: a value that it needs is not there.
    """
    latent, dim, heads = values["latent"], values["dim"], values["heads"]
    return Shape(
        channels=latent.channels,
        size=latent.size,
        num_classes=values["num_classes"],
        dim=dim,
        heads=heads,
        depth=values["depth"],
        shared_condition=values["condition"] == "shared",
        stages=resolved(stages, len(latent.size), dim, heads),
    )


def supplied_at(kind: str, shape: Shape, built: Built) -> Iterator[tuple[Key, Supplied]]:
    """What the parts of a kind are given, by the key that each stands under.

    Args:
        kind: of the parts.
        shape: of the backbone.
        built: the parts that its sites tell of.
    """
    for key, site in ENUMERATORS[KINDS[kind].per](shape, built):
        yield key, supplied(kind, site)


def supplied(kind: str, site: Site) -> Supplied:
    """What of a site the parts of a kind are given."""
    return {name: getattr(site, name) for name in KINDS[kind].supplied}


def supplied_beside(kind: str, latent: LatentRecipe, num_classes: int, shape: Shape | None) -> Supplied:
    """What the parts of a kind that stands beside the backbone are given.

    Args:
        kind: of the parts.
        latent: of the backbone.
        num_classes: of the backbone.
        shape: of the backbone; None for a kind that is supplied with nothing of ``OF_SHAPE``.
    """
    size = latent.size
    site = Site(axes=len(size), channels=latent.channels, size=size, num_classes=num_classes)
    if shape is not None:
        site = replace(
            site,
            stages=len(shape.stages),
            ranges=noise_ranges(shape.stages),
            scales=tuple(stage.scale for stage in shape.stages),
            block_dims=block_dims(shape),
        )
    return supplied(kind, site)


def create_whole(spec: PartSpec, given: Supplied, *, is_sketched: bool = False) -> Any:
    """A part of the backbone, or beside it.

    Args:
        spec: the part.
        given: what it is supplied with.
        is_sketched: whether this made it on the meta device before, and only its numbers are new.

    Raises:
        ValueError: it refuses its options, or asks for what nobody knows at its site.
        PluginError: what it says of itself cannot be read, or weights of it are garbage, or would be after building on
            the meta device.
    """
    if torch.get_default_device().type == "meta":  # where there are no numbers
        return _create_whole(spec, given, _faults_of_layout)
    with EmptyIsNaN():  # type: ignore[no-untyped-call]
        return _create_whole(spec, given, unmade if is_sketched else _faults)


def _create_whole(spec: PartSpec, given: Supplied, faults_of: Callable[[nn.Module], Iterator[str]]) -> Any:
    kept = given.get("kept_dim")
    if isinstance(kept, Unknown):
        given = {**given, "kept_dim": None}
    try:
        part = spec.create(given)
    except Exception as error:
        if isinstance(kept, Unknown) and _needs_kept_dim(spec):
            raise ValueError(kept.reason) from error
        raise
    if isinstance(part, ModulePart) and any(faults_of(part)):
        spec.create(given, partial(_refuse, faults_of))  # once more, to tell of which part it is
    if isinstance(kept, Unknown) and "kept" in facts_of(part).needs:
        raise ValueError(kept.reason)
    return part


def _needs_kept_dim(spec: PartSpec) -> bool:
    return "kept_dim" in spec.entry.signature.supplied and "kept" not in said_by(spec.entry.cls, "uses", ())


def _faults_of_layout(part: nn.Module) -> Iterator[str]:
    yield from mistakes_in(part)
    yield from faults(part)


def _faults(part: nn.Module) -> Iterator[str]:
    yield from _faults_of_layout(part)
    yield from unmade(part)


def _refuse(faults_of: Callable[[nn.Module], Iterator[str]], part: Any) -> None:
    if isinstance(part, ModulePart):
        for fault in faults_of(part):
            raise PluginError(fault)


def once(given: Supplied, spec: PartSpec) -> Hashable:
    """Equal for sites at which a part is built the same."""
    return (id(spec), *(repr(given[name]) for name in spec.entry.signature.supplied))
