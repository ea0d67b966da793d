"""The tokens of one stage on their way through the blocks, which all stages go through together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.labels import Labels
from zoo.part_holder import PartHolder
from zoo.parts.returned import Promised, described
from zoo.parts.values import ClassCondition, Group, Layout, Modulations, Position, Rotary, Tap
from zoo.schedule import Node, Pair, grid_of, is_finer
from zoo.shape import Spot, kept_before
from zoo.sites import Key


class Piece(NamedTuple):
    """Samples of one stage.

    Attributes:
        stage: its index, 0 = noisiest.
        latents: noisy latents [b, C, *size], of the stage's own size.
        t: noise levels [b].
        labels: what the class conditioner takes.
        scores: for a router, uniform in [0, 1), at least one for each image token that it sees [b, N]; None keeps all.
    """

    stage: int
    latents: Float[Tensor, "b C *size"]
    t: Float[Tensor, " b"]
    labels: Labels | None = None
    scores: Float[Tensor, "b N"] | None = None


class Walk:
    """The tokens of one piece; changes grid and width where a level of its stage begins.

    Args:
        backbone: whose parts they go through.
        piece: the samples.
        modulation: of these samples.
        conditions: what their labels say, by width.
        tapped: blocks whose outputs are asked for.
        residual: dtype of the tokens between parts under autocast.

    Attributes:
        taps: what these have returned up to now, by block.
    """

    def __init__(
        self,
        backbone: PartHolder,
        piece: Piece,
        modulation: Modulations,
        conditions: Mapping[int, ClassCondition],
        tapped: Collection[int],
        residual: torch.dtype,
    ) -> None:
        self.residual = residual
        self.backbone, self.piece, self.modulation, self.conditions = backbone, piece, modulation, conditions
        stage = backbone.shape.stages[piece.stage]
        self.size = stage.size_in(backbone.shape.size)
        self.nodes = [level.node for level in stage.levels]
        self.kept_nodes = kept_before(stage)
        firsts = [sum(level.blocks for level in stage.levels[:number]) for number in range(len(stage.levels))]
        self.level_at = {first: number for number, first in enumerate(firsts)}
        self.kept: dict[Node, Tensor] = {}
        self.outputs: dict[int, Tensor] = {}
        self.tapped = tapped
        self.taps: dict[int, Tap] = {}
        self.wanted = self._wanted()
        self.route: Any = None
        self.routed = False
        self.tokens: Tensor
        self.layout: Layout
        self.whole: Layout
        self.m = 0

    def enter(self, index: int) -> Group:
        """What a block is called with."""
        router, level = self.backbone.router, self.level_at.get(index)
        if self.routed and index == router.stop and not (router.spans_widths and self._at_one_patch(level)):
            self._end_route()
        if level is not None:
            self._begin(level)
        if router.stop > router.first == index:
            self._begin_route()
        block: Any = self.backbone.blocks[index]
        taken = tuple(self.outputs[each] for each in block.takes)
        for each in block.takes:
            if self.backbone.taken[each] == index:
                self.outputs.pop(each, None)
        return Group(self.tokens, self.modulation.blocks[index], self.layout, taken)

    def leave(self, index: int, returned: Any) -> None:
        """Go on with what a block returned."""
        self.tokens = self._promised(returned, self.tokens.shape, "block", index)
        if index in self.backbone.taken:
            self.outputs[index] = self.tokens
        if index in self.tapped:
            self.taps[index] = Tap(self.tokens, self.m, self.layout.grid, self.layout.index)

    def end(self) -> Float[Tensor, "b C *size"]:
        """What the weights predict, from the tokens of the last block."""
        if self.routed:
            self._end_route()
        node, promised = self.nodes[-1], self.backbone.promised
        head = self.backbone.part("head", node)
        latents = head(
            self.tokens[:, self.m :], self.modulation.heads.get(node.dim, ()), grid_of(self.size, node.patch)
        )
        shape = (len(self.tokens), self.backbone.shape.channels, *self.size)
        return promised(latents, shape, "head", node, dtype=self._dtype())

    def _at_one_patch(self, level: int | None) -> bool:
        """Whether a level begins at the patch of the one before: its downsampler takes each token by itself."""
        return level is not None and self.nodes[level - 1].patch == self.nodes[level].patch

    def _begin(self, level: int) -> None:
        """Take the tokens to a level's patch and width, with those in front that belong to it, and to their places."""
        node = self.nodes[level]
        if level == 0:
            self.tokens, self.m = self._embed(node), 0
        else:
            before = self.nodes[level - 1]
            if before.dim != node.dim:
                self.tokens, self.m = self.tokens[:, self.m :], 0
            self.tokens = self._resample((before, node), level)
            if self.routed:  # whatever stands in for tokens that were left out has the new width
                self._end_route()
        spot, changes = Spot(node, self.size), level == 0 or before.dim != node.dim
        position = self._position(spot)
        if position.add is not None:
            self.tokens = _add_to_image(self.tokens, self.m, position.add)
        if changes and self.backbone.prefixes[node.dim]:
            prefix = self._prefix(node.dim)
            if position.prefix is not None:
                prefix = prefix + position.prefix
            self.tokens, self.m = torch.cat([prefix, self.tokens], dim=1), prefix.shape[1]
        self.tokens = self._between_parts(self.tokens)
        condition = self.conditions[self.backbone.shape.condition_dim(node.dim)]
        self.layout = Layout(
            m=self.m,
            grid=grid_of(self.size, node.patch),
            patch=node.patch,
            rotary=position.rotary,
            context=condition.context,
            context_mask=condition.context_mask,
        )

    def _position(self, spot: Spot) -> Position:
        backbone, site = self.backbone, self.backbone.places[spot]
        position = backbone.part("position", spot)()
        if not isinstance(position, Position):
            raise backbone.broken_promise(position, "a Position", "position", spot)
        count, rotary = prod(site.grid), position.rotary
        if position.add is not None:
            backbone.promised(position.add, (count, site.dim), "position", spot, role="as its add")
        if rotary is not None:
            self._angles(rotary, (count, site.dim // site.heads), "position", spot, "as its rotary")
        if position.prefix is not None:
            backbone.promised(position.prefix, (site.m, site.dim), "position", spot, role="as its prefix")
        return position

    def _angles(self, rotary: Any, shape: Promised, kind: str, key: Key, role: str) -> None:
        if not isinstance(rotary, Rotary):
            raise self.backbone.broken_promise(rotary, "a Rotary", kind, key, role=role)
        for name, table in zip(Rotary._fields, rotary, strict=True):
            self.backbone.promised(table, shape, kind, key, role=f"{role}.{name}")

    def _prefix(self, width: int) -> Tensor:
        """The tokens in front that belong to a width: the modulation's, and the class conditioner's."""
        found = (self.modulation.tokens.get(width), self.conditions[width].tokens)
        return torch.cat([each for each in found if each is not None], dim=1)

    def _embed(self, node: Node) -> Tensor:
        shape = (len(self.piece.latents), prod(grid_of(self.size, node.patch)), node.dim)
        tokens = self.backbone.part("patch_embedder", node)(self.piece.latents)
        return self.backbone.promised(tokens, shape, "patch_embedder", node)

    def _resample(self, pair: Pair, level: int) -> Tensor:
        """Tokens on the next level's grid: with what joins them, where it is finer."""
        (before, after), backbone, m = pair, self.backbone, self.m
        grid, next_grid = grid_of(self.size, before.patch), grid_of(self.size, after.patch)
        if not is_finer(after.patch, before.patch):
            if before in self.wanted:
                self.kept[before] = self.tokens[:, m:]
            count = self.tokens.shape[1] if self.routed else m + prod(next_grid)
            returned = backbone.part("downsampler", pair)(self.tokens, m, grid)
            return self._resampled(returned, "downsampler", pair, count)
        upsampler: Any = backbone.part("upsampler", pair)
        skip: Any = backbone.part("skip", pair)
        kept = self.kept.get(self.kept_nodes[level].get(after.patch, after))
        returned = upsampler(self.tokens, m, grid, *([kept] if ("upsampler", pair) in backbone.fed else []))
        tokens = self._resampled(returned, "upsampler", pair, m + prod(next_grid))
        if skip.feeds == "nothing":
            return tokens
        other = self._embed(after) if skip.feeds == "latents" else kept
        joined = skip(tokens[:, m:], other)
        joined = self._promised(joined, (len(tokens), prod(next_grid), after.dim), "skip", pair)
        return torch.cat([tokens[:, :m], joined], dim=1) if m else joined

    def _resampled(self, returned: Any, kind: str, pair: Pair, count: int) -> Tensor:
        grid = grid_of(self.size, pair[1].patch)
        if not isinstance(returned, tuple) or len(returned) != 2 or returned[1] != grid:
            raise self.backbone.broken_promise(returned, f"a tuple of tokens and the grid {grid}", kind, pair)
        shape = (len(self.piece.latents), count, pair[1].dim)
        return self._promised(returned[0], shape, kind, pair)

    def _wanted(self) -> set[Node]:
        """What has to be kept on the way down for parts on the way up."""
        wanted = set()
        for level, (before, after) in enumerate(pairwise(self.nodes), start=1):
            if any((kind, (before, after)) in self.backbone.fed for kind in ("upsampler", "skip")):
                wanted.add(self.kept_nodes[level][after.patch])
        return wanted

    def _begin_route(self) -> None:
        backbone, whole, batch = self.backbone, self.layout, len(self.tokens)
        scores, count = self.piece.scores, prod(whole.grid)
        returned: Any = backbone.router.begin(self.tokens, whole, None if scores is None else scores[:, :count])
        if not isinstance(returned, tuple) or len(returned) != 3 or not isinstance(returned[1], Layout):
            promised = "a tuple of tokens, their Layout and what end is given"
            raise backbone.broken_promise(returned, promised, "router", role="from begin")
        tokens, layout, route = returned
        if (layout.m, layout.grid) != (whole.m, whole.grid):
            raise backbone.broken_promise(layout, described(whole), "router", role="from begin")
        if layout.index is not None:
            kept: int | str = "K" if scores is not None else count  # without scores all tokens go on
            count = backbone.promised(layout.index, (batch, kept), "router", role="from begin as index").shape[1]
        shape = (batch, self.m + count, self.tokens.shape[2])
        self.tokens = self._promised(tokens, shape, "router", role="from begin")
        if layout.index is not None and whole.rotary is not None:
            self._angles(layout.rotary, (batch, count, "head_dim"), "router", None, "from begin as rotary")
        self.layout, self.whole, self.route, self.routed = layout, whole, route, True

    def _end_route(self) -> None:
        returned = self.backbone.router.end(self.tokens, self.m, self.route)
        shape = (len(self.tokens), self.m + prod(self.whole.grid), self.tokens.shape[2])
        self.tokens = self._promised(returned, shape, "router", role="from end")
        self.layout, self.route, self.routed = self.whole, None, False

    def _promised(self, returned: Any, shape: Promised, kind: str, key: Key = None, *, role: str = "") -> Tensor:
        """Tokens that are promised, of the dtype of those before."""
        return self._between_parts(self.backbone.promised(returned, shape, kind, key, role=role, dtype=self._dtype()))

    def _between_parts(self, tokens: Tensor) -> Tensor:
        """Under autocast, whose Linears return bfloat16, the tokens as wide as the residual stream is to be."""
        if not _autocasts(tokens):
            return tokens
        wide = self.residual == torch.float32
        return tokens.to(torch.promote_types(tokens.dtype, torch.float32) if wide else self.residual)

    def _dtype(self) -> torch.dtype | None:
        """Of what parts return; None under autocast, where it may be another one."""
        return None if _autocasts(self.tokens) else self.tokens.dtype


def _autocasts(tokens: Tensor) -> bool:
    device = tokens.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def _add_to_image(tokens: Tensor, m: int, addend: Tensor) -> Tensor:
    """``tokens`` with ``addend`` on those behind the first m."""
    return torch.cat([tokens[:, :m], tokens[:, m:] + addend], dim=1) if m else tokens + addend
