"""What the backbone supplies to each part, and the part that is made with it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from torch import nn

from zoo.errors import PluginError
from zoo.kinds import KINDS
from zoo.parts.initialise import faults
from zoo.recipe import PartSpec
from zoo.schedule import Stage, finest_patch_of, first_patches_of, grid_of, patches_of, transitions_of

Supplied = dict[str, Any]
"""Arguments of a part's constructor."""


def supply(kind: str, values: Mapping[str, Any], stages: tuple[Stage, ...]) -> dict[Hashable, Supplied]:
    """What each instance of a kind is constructed with: by patch, by pair of patches, by block, or (None) just one.

    Raises:
        KeyError: a value that the kind needs is not among ``values``.
    """
    if kind == "patch_schedule":
        return {None: {"depth": values["depth"]}}
    if KINDS[kind].section != "backbone":
        return {None: {name: _of_latent(name, values) for name in KINDS[kind].supplied}}
    dim = values["dim"]
    if kind == "time_embedder":
        return {None: {"dim": dim}}
    if kind == "class_conditioner":
        return {None: {"dim": dim, "num_classes": values["num_classes"]}}
    if kind == "modulation":
        return {None: {"dim": dim, "depth": values["depth"]}}
    if kind == "block":
        depth, heads = values["depth"], values["heads"]
        inside = {"axes": 2, "condition_dim": dim}  # of parts that a block holds
        return {index: {"dim": dim, "heads": heads, "depth": depth, "index": index, **inside} for index in range(depth)}
    if kind == "stage_embedder":
        return {None: {"dim": dim, "stages": len(stages)}}
    if kind == "upsampler":
        pairs = transitions_of(stages)
        return {pair: {"dim": dim, "coarse_patch": pair[0], "fine_patch": pair[1]} for pair in pairs}
    if kind == "position":
        (height, width), heads = values["latent"].size, values["heads"]
        return {
            patch: {
                "dim": dim,
                "heads": heads,
                "grid": grid_of(height, width, patch),
                "patch": patch,
                "finest_patch": finest_patch_of(stages),
            }
            for patch in patches_of(stages)
        }
    channels = values["latent"].channels
    if kind == "head":
        patches = first_patches_of(stages, last=True)
    else:
        skipped = [fine for _, fine in transitions_of(stages)] if values["skip"] == "linear" else []
        patches = tuple(dict.fromkeys([*first_patches_of(stages), *skipped]))
    return {patch: {"dim": dim, "channels": channels, "patch": patch} for patch in patches}


def _of_latent(name: str, values: Mapping[str, Any]) -> Any:
    return values["num_classes"] if name == "num_classes" else getattr(values["latent"], name)


def create_whole(spec: PartSpec, supplied: Supplied) -> Any:
    """A part of the backbone.

    Raises:
        ValueError: it refuses its options.
        PluginError: weights of it would be garbage after building on the meta device.
    """
    part = spec.create(supplied)
    if _fault(part) is not None:
        spec.create(supplied, _refuse_fault)  # once more, to tell of which part it is
    return part


def _fault(part: Any) -> str | None:
    return next(faults(part), None) if isinstance(part, nn.Module) else None


def _refuse_fault(part: Any) -> None:
    fault = _fault(part)
    if fault is not None:
        raise PluginError(fault)
