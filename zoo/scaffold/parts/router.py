"""A router: which image tokens run through which blocks."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field, PositiveInt
from torch import Tensor

import zoo
from zoo.parts import Layout, Router, keep_tokens


class Route(NamedTuple):
    """All tokens where the route begins, and which of the image's go on."""

    tokens: Float[Tensor, "b T D"]
    kept: Int[Tensor, "b K"]


@zoo.part("router", "mine")
class MineRouter(Router):
    """Example: a random share of the image tokens goes on; the others change by what these change in the mean.

    In sampling, without scores, all go on. After TREAD (Krause et al., 2025, arXiv 2501.04765), where the others stay.

    Options:
        first: the first block that some skip, from 0.
        stop: the first that none skips any more.
        share: of the image tokens that goes on, rounded up.

    Raises:
        ValueError: no block is between the two.
    """

    def __init__(
        self,
        *,
        first: Annotated[int, Field(ge=0)] = 1,
        stop: PositiveInt = 2,
        share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5,
    ) -> None:
        super().__init__()
        if stop <= first:
            raise ValueError(f"stop {stop} is not after first {first}; make it greater")
        self.first, self.stop, self.share = first, stop, share

    def begin(
        self, tokens: Float[Tensor, "b T D"], layout: Layout, scores: Float[Tensor, "b N"] | None
    ) -> tuple[Float[Tensor, "b T2 D"], Layout, Any]:
        """Those of the highest scores go on. How many follows from N alone, so that samples stay of one length."""
        if scores is None:
            return tokens, layout, None
        count = max(1, -int(-scores.shape[1] * self.share // 1))
        index = scores.topk(count, dim=1).indices.sort(dim=1).values
        return *keep_tokens(tokens, layout, index), Route(tokens, index)

    def end(self, tokens: Float[Tensor, "b T2 D"], m: int, route: Any) -> Float[Tensor, "b T D"]:
        """All tokens again, in their places."""
        if route is None:
            return tokens
        before, index = route.tokens[:, m:], route.kept.unsqueeze(2).expand(-1, -1, tokens.shape[2])
        change = (tokens[:, m:] - before.gather(1, index)).mean(dim=1, keepdim=True)
        image = (before + change).to(tokens.dtype).scatter(1, index, tokens[:, m:])
        return torch.cat([tokens[:, :m], image], dim=1)
