"""A module made of parts: which stands where, what it is called, and whether it returned what its kind promises."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import PluginError
from zoo.kinds import KINDS
from zoo.parts.base import ClassConditioner, Router
from zoo.parts.returned import Promised, described, has_shape, sizes
from zoo.paths import AffinePath
from zoo.recipe import Recipe
from zoo.schedule import StageShape, grid_of
from zoo.shape import Shape, key_name
from zoo.sites import Key, Site, Slot


class PartHolder(nn.Module):
    """What a backbone is for those that take data through its parts: it finds them by kind and key, tells what it knows
    of them, and calls one by its name where it breaks a promise."""

    shape: Shape
    recipe: Recipe | None
    path: AffinePath
    blocks: nn.ModuleList
    modulation: nn.Module
    router: Router
    prefixes: Mapping[int, int]
    """Tokens in front at every width."""
    places: Mapping[Key, Site]
    """What is known at every grid that blocks work at, by spot."""
    taken: Mapping[int, int]
    """Blocks whose outputs later ones take, and the last that does."""
    gives: Mapping[Key, frozenset[str]]
    """What the class conditioner of every width gives, with the parts inside it."""
    fed: Collection[tuple[str, Key]]
    """Upsamplers and skips that get what left a patch on the way down, by kind and pair."""
    slots: tuple[Slot, ...]
    """Of every block, for the modulation."""
    head_slots: Mapping[int, Slot]
    """Of the heads, by width."""

    @property
    def latent(self) -> tuple[int, ...]:
        """Channels and size of the latents (C, *size)."""
        return self.shape.latent

    @property
    def stages(self) -> tuple[StageShape, ...]:
        """From noisy to clean, with patch, width and heads of every level."""
        return self.shape.stages

    @property
    def conditioner(self) -> ClassConditioner:
        """The class conditioner, that of the first width where there are several: all take the same labels."""
        return self.part("class_conditioner", self.shape.widths[0])

    @property
    def scores(self) -> int:
        """Scores of each sample that a router wants in training: one for each image token that it sees; 0 without."""
        return max(map(self.scores_of, range(len(self.stages))))

    def scores_of(self, stage: int) -> int:
        """Image tokens that the router sees in one stage; 0 without one."""
        if self.router.stop <= self.router.first:
            return 0
        levels = [level for level in self.stages[stage].levels for _ in range(level.blocks)]
        return prod(grid_of(self.latent_of(stage)[1:], levels[self.router.first].patch))

    def latent_of(self, stage: int) -> tuple[int, ...]:
        """Channels and size of the latents of one stage."""
        return (self.latent[0], *self.stages[stage].size_in(self.shape.size))

    def part(self, kind: str, key: Key = None) -> Any:
        """The part of a kind that stands under a key: a block's index, a width, a patch and width, a pair of these, or
        None where there is one for the whole."""
        held: Any = getattr(self, KINDS[kind].where or "")
        if KINDS[kind].per == "blocks":
            return held[key]
        return held[key_name(self.shape, key)] if isinstance(held, nn.ModuleDict) else held

    def promised(
        self,
        returned: Any,
        shape: Promised,
        kind: str,
        key: Key = None,
        *,
        role: str = "",
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """What a part returned, if it is what its kind promises. Only looks at shape and dtype, so that it compiles.

        Not in a trace, where each look at a size would be an operator; what does not trace, an audit runs once more
        without one.

        Args:
            returned: by the part.
            shape: that it promises; a letter stands for any length.
            kind: of the part.
            key: that it stands under.
            role: what it is of that which the part returned, or from which method it came: ``as its context``.
            dtype: that it promises; None for any.
        """
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return returned
        if not isinstance(returned, Tensor) or not has_shape(returned, shape):
            raise self.broken_promise(returned, f"a tensor {sizes(shape)}", kind, key, role=role)
        if dtype is not None and returned.dtype != dtype:
            raise self.broken_promise(returned.dtype, f"one of {dtype}", kind, key, role=role)
        return returned

    def broken_promise(
        self, returned: Any, promised: str, kind: str, key: Key = None, *, role: str = ""
    ) -> PluginError:
        """What to raise where a part returned something else than its kind promises."""
        what = f"{described(returned)} {role}".rstrip()
        return PluginError(f"{self.called(kind, key)} returned {what} in place of {promised}")

    def called(self, kind: str, key: Key = None) -> str:
        """What messages call a part: by kind, key and, where a recipe is known, plug-in and name."""
        alone = key is None or (KINDS[kind].per == "widths" and len(self.shape.widths) == 1)
        part = kind if alone else f"{kind} {key_name(self.shape, key)}"
        if self.recipe is None:
            return part
        spec = self.recipe.backbone.spec(kind, key)
        return f"{part} ({spec.entry.plugin.name}'s {spec.type})"


def held(per: str, parts: Mapping[Key, nn.Module], shape: Shape) -> nn.Module:
    """Parts of a kind as the backbone holds them: by number, by name, or the only one where there is one of a width."""
    if per == "blocks":
        return nn.ModuleList(parts.values())
    if per == "assembly" or (per == "widths" and len(shape.widths) == 1):
        return next(iter(parts.values()))
    return nn.ModuleDict({key_name(shape, key): part for key, part in parts.items()})
