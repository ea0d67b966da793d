"""A router that leaves out tokens across a change of width, where a learned token takes their place: MaskDiT's."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

import zoo
from zoo.parts import Layout, Router, keep_tokens


class Masked(NamedTuple):
    """Image tokens that went on, by index, and of how many."""

    kept: Tensor
    count: int


@zoo.part("router", "mask_tokens")
class MaskTokens(Router):
    """An encoder, blocks 0 to ``stop - 1``, sees some of the tokens; a decoder gets one learned token for all others.

    Options:
        stop: the first block of the decoder.
        dim: its width.
        share: of the image tokens that are left out, rounded up; at least one goes on.
    """

    spans_widths = True

    def __init__(
        self, *, stop: PositiveInt, dim: PositiveInt, share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    ) -> None:
        super().__init__()
        self.stop, self.share = stop, share
        self.mask = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.mask, std=0.02)

    def begin(self, tokens: Tensor, layout: Layout, scores: Tensor | None) -> tuple[Tensor, Layout, Any]:
        if scores is None:
            return tokens, layout, None
        count = scores.shape[1]
        kept = scores.topk(max(1, int(count * (1 - self.share))), dim=1).indices.sort(dim=1).values
        return *keep_tokens(tokens, layout, kept), Masked(kept, count)

    def end(self, tokens: Tensor, m: int, route: Masked | None) -> Tensor:
        if route is None:
            return tokens
        masks = self.mask.to(tokens.dtype).expand(len(tokens), route.count, -1)
        image = masks.scatter(1, route.kept.unsqueeze(2).expand(-1, -1, tokens.shape[2]), tokens[:, m:])
        return torch.cat([tokens[:, :m], image], dim=1)


PARTS = [MaskTokens]
