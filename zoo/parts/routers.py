"""Built-in routers: which image tokens run through which blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field, PositiveInt
from torch import Tensor

from zoo.errors import OptionError
from zoo.parts.base import Router
from zoo.parts.values import Layout, Rotary
from zoo.registry import part


@part("router", "none")
class NoRouter(Router):
    """All tokens run through all blocks."""

    gives = frozenset()

    def begin(
        self, tokens: Float[Tensor, "b T D"], layout: Layout, scores: Float[Tensor, "b N"] | None
    ) -> tuple[Float[Tensor, "b T D"], Layout, Any]:
        """All of them."""
        return tokens, layout, None

    def end(self, tokens: Float[Tensor, "b T D"], m: int, route: Any) -> Float[Tensor, "b T D"]:
        """All of them."""
        return tokens


class Skipped(NamedTuple):
    """All tokens as they were where a route begins, and which of the image's go on."""

    tokens: Float[Tensor, "b T D"]
    kept: Int[Tensor, "b K"]


@part("router", "tread")
class Tread(Router):
    """In training, a random share of the image tokens skips some blocks, and comes back as it was.

    In sampling, all tokens run through all blocks. TREAD: Krause et al., 2025, arXiv 2501.04765.

    Options:
        first: the first block that is skipped, from 0.
        stop: the first one that is not skipped any more.
        share: of the image tokens that skip, rounded down; at least one goes on.
    """

    def __init__(
        self,
        *,
        first: Annotated[int, Field(ge=0)],
        stop: PositiveInt,
        share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5,
    ) -> None:
        super().__init__()
        if stop <= first:
            raise OptionError(
                [(("stop",), f"{stop} is not after first {first}, and would skip no block; make it greater")]
            )
        self.first, self.stop, self.share = first, stop, share

    def begin(
        self, tokens: Float[Tensor, "b T D"], layout: Layout, scores: Float[Tensor, "b N"] | None
    ) -> tuple[Float[Tensor, "b T2 D"], Layout, Skipped | None]:
        """Those of the highest scores; all, without scores."""
        if scores is None:
            return tokens, layout, None
        count = scores.shape[1]
        index = scores.topk(count - min(int(count * self.share), count - 1), dim=1).indices.sort(dim=1).values
        return *keep_tokens(tokens, layout, index), Skipped(tokens, index)

    def end(self, tokens: Float[Tensor, "b T2 D"], m: int, route: Skipped | None) -> Float[Tensor, "b T D"]:
        """Those that went on, and the others as they were."""
        if route is None:
            return tokens
        skipped, index = route.tokens[:, m:], route.kept.unsqueeze(2).expand(-1, -1, tokens.shape[2])
        image = skipped.to(tokens.dtype).scatter(1, index, tokens[:, m:])
        return torch.cat([tokens[:, :m], image], dim=1) if m else image


def keep_tokens(
    tokens: Float[Tensor, "b T D"], layout: Layout, index: Int[Tensor, "b K"]
) -> tuple[Float[Tensor, "b T2 D"], Layout]:
    """The image tokens at ``index``, behind those in front, and their layout, whose angles travel with them."""
    image = tokens[:, layout.m :].gather(1, index.unsqueeze(2).expand(-1, -1, tokens.shape[2]))
    rotary = None if layout.rotary is None else Rotary(layout.rotary.cos[index], layout.rotary.sin[index])
    kept = torch.cat([tokens[:, : layout.m], image], dim=1) if layout.m else image
    return kept, replace(layout, index=index, rotary=rotary)
