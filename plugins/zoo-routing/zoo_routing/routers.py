"""Routers that put a learned token in the place of those that were left out: MaskDiT's and SPRINT's."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field, PositiveInt
from torch import Tensor, nn

import zoo
from zoo.errors import OptionError
from zoo.parts import Grid, Layout, Linear, Router, keep_tokens

STD = 0.02


class Masked(NamedTuple):
    """Which image tokens went on, and of how many."""

    kept: Int[Tensor, "b K"]
    whole: int


@zoo.part("router", "maskdit")
class MaskDiT(Router):
    """Blocks before ``stop`` see a random share of the image tokens, those after it a learned token for each other one.

    In sampling all tokens run through all blocks. Where the level that begins at ``stop`` has another width, it is the
    decoder's, and the learned token has it. Source: Zheng et al., Fast Training of Diffusion Models with Masked
    Transformers (arXiv 2306.09305), section 3.

    Options:
        stop: the first block of the decoder.
        share: of the image tokens that are left out; as many as are kept are rounded down, and at least one is.

    Raises:
        OptionError: there is no block ``stop``.
    """

    spans_widths = True

    def __init__(
        self,
        depth: int,
        block_dims: tuple[int, ...],
        *,
        stop: PositiveInt,
        share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5,
    ) -> None:
        super().__init__()
        if stop >= depth:
            raise OptionError([(("stop",), f"{stop} leaves the decoder no block of {depth}; make it less")])
        self.stop, self.share = stop, share
        self.mask = nn.Parameter(torch.empty(block_dims[stop]))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the learned token anew."""
        nn.init.normal_(self.mask, std=STD)

    def begin(
        self, tokens: Float[Tensor, "b T D"], layout: Layout, scores: Float[Tensor, "b N"] | None
    ) -> tuple[Float[Tensor, "b T2 D"], Layout, Masked | None]:
        """Those of the highest scores; all, without scores."""
        if scores is None:
            return tokens, layout, None
        count = scores.shape[1]
        kept = scores.topk(max(1, int(count * (1 - self.share))), dim=1).indices.sort(dim=1).values
        return *keep_tokens(tokens, layout, kept), Masked(kept, count)

    def end(self, tokens: Float[Tensor, "b T2 D"], m: int, route: Masked | None) -> Float[Tensor, "b T D"]:
        """Those that went on, and the learned token in the place of the others."""
        return tokens if route is None else _filled(tokens, m, route, self.mask)


class Split(NamedTuple):
    """All tokens as they were where a route begins, and which of the image's went on; None for all."""

    tokens: Float[Tensor, "b T D"]
    route: Masked | None


@zoo.part("router", "sprint")
class Sprint(Router):
    """Of each group of image tokens one goes through the blocks in the middle, and a Linear joins what comes from there
    with all tokens from before.

    A learned token stands for those that did not go. In sampling all go. Source: Park et al., SPRINT: Sparse-Dense
    Residual Fusion for Efficient Diffusion Transformers (arXiv 2510.21986); two blocks before and behind, and groups of
    two by two, as the published recipes have it.

    Options:
        before: blocks in front of the route.
        behind: blocks after it.
        group: tokens of a group on each axis: 2 leaves out three of four in a plane.

    Raises:
        OptionError: no block is left for the route.
    """

    fuses = True

    def __init__(
        self,
        depth: int,
        block_dims: tuple[int, ...],
        *,
        before: PositiveInt = 2,
        behind: PositiveInt = 2,
        group: Annotated[int, Field(ge=2, le=64)] = 2,
    ) -> None:
        super().__init__()
        if before + behind >= depth:
            raise OptionError(
                [(("before",), f"{before} and {behind} behind leave no block of {depth} to route to; make one less")]
            )
        self.first, self.stop, self.group = before, depth - behind, group
        width = block_dims[self.stop - 1]
        self.mask = nn.Parameter(torch.empty(width))
        self.fuse = Linear(2 * width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the learned token anew; the Linear has its own."""
        nn.init.normal_(self.mask, std=STD)

    def begin(
        self, tokens: Float[Tensor, "b T D"], layout: Layout, scores: Float[Tensor, "b N"] | None
    ) -> tuple[Float[Tensor, "b T2 D"], Layout, Split]:
        """The highest score of each group; all, without scores."""
        if scores is None:
            return tokens, layout, Split(tokens, None)
        kept = one_of_each_group(scores, layout.grid, self.group)
        return *keep_tokens(tokens, layout, kept), Split(tokens, Masked(kept, scores.shape[1]))

    def end(self, tokens: Float[Tensor, "b T2 D"], m: int, route: Any) -> Float[Tensor, "b T D"]:
        """A Linear of both."""
        deep = tokens if route.route is None else _filled(tokens, m, route.route, self.mask)
        fused: Tensor = self.fuse(torch.cat([route.tokens.to(deep.dtype), deep], dim=2))
        return fused


def one_of_each_group(scores: Float[Tensor, "b N"], grid: Grid, group: int) -> Int[Tensor, "b K"]:
    """The place of the highest score in each block of ``group`` tokens an axis, in the order of places.

    Groups at the far edge are smaller where the grid is no multiple.
    """
    sides = tuple(-(-side // group) for side in grid)
    padding = [each for side, count in zip(grid[::-1], sides[::-1], strict=True) for each in (0, count * group - side)]
    places = torch.arange(prod(grid), device=scores.device).view(1, *grid)
    blocks, own = (
        _blocks(F.pad(values, padding, value=-1), sides, group) for values in (scores.view(-1, *grid), places)
    )
    best = blocks.argmax(dim=2, keepdim=True)
    return own.expand(len(scores), -1, -1).gather(2, best).squeeze(2).sort(dim=1).values


def _blocks(values: Tensor, sides: Grid, group: int) -> Tensor:
    """[b, groups, tokens of each] of values on a grid."""
    axes = len(sides)
    split = values.view(len(values), *(each for side in sides for each in (side, group)))
    order = [0, *range(1, 2 * axes + 1, 2), *range(2, 2 * axes + 1, 2)]
    return split.permute(order).reshape(len(values), prod(sides), group**axes)


def _filled(tokens: Tensor, m: int, route: Masked, mask: Tensor) -> Tensor:
    """All image tokens, behind those in front, of those that went on and a learned one."""
    masks = mask.to(tokens.dtype).expand(len(tokens), route.whole, -1)
    image = masks.scatter(1, route.kept.unsqueeze(2).expand(-1, -1, tokens.shape[2]), tokens[:, m:])
    return torch.cat([tokens[:, :m], image], dim=1) if m else image
