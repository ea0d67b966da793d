"""The alignment of a block's tokens with features of the clean picture (REPA, arXiv 2410.06940, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.errors import DataError
from zoo.flow import Loss, LossInputs
from zoo.parts import Linear, Tap

FEATURES = "features"
"""What the loss asks the dataset for."""

POOLS: Mapping[int, Callable[[Tensor, Any], Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}
"""By the number of axes."""

SIDE = 4
"""Features of an axis, in examples."""


@zoo.part("loss", "repa")
class RepresentationAlignment(Loss):
    """One minus the cosine between features and what an MLP makes of a block's tokens (Yu et al., 2025, equation 8).

    The features are a map ``[b, features, *grid]``. Where their grid is not that of the tokens, each token is aligned
    with the mean of the features that it covers, or with the one that covers it: a block of large patches, or a stage
    of PPFlow. Tokens that a router has left out are aligned with nothing.

    Options:
        depth: blocks until the tokens are aligned; the published recipes' is 8.
        features: width of the features; DINOv2-B's is 768.
        hidden: width of the MLP's two hidden layers.

    Raises:
        ValueError: there are fewer blocks.
        DataError: the features have another width, or other axes.
    """

    weighted = False
    extra = (FEATURES,)

    def __init__(
        self,
        block_dims: tuple[int, ...],
        *,
        depth: Annotated[int, Field(ge=1)] = 8,
        features: Annotated[int, Field(ge=2, le=65536)] = 768,  # a single number has no direction to turn to
        hidden: Annotated[int, Field(ge=1, le=65536)] = 2048,
    ) -> None:
        super().__init__()
        if depth > len(block_dims):
            raise ValueError(f"depth {depth} is beyond the {len(block_dims)} blocks; set it to one of 1 to as many")
        self.taps = (depth - 1,)
        self.features = features
        self.projector = nn.Sequential(
            Linear(block_dims[depth - 1], hidden),
            nn.SiLU(),
            Linear(hidden, hidden),
            nn.SiLU(),
            Linear(hidden, features),
        )

    def forward(self, inputs: LossInputs) -> Float[Tensor, " b"]:
        """The mean over the tokens of each sample; in [0, 2], and 1 where features are zero."""
        (tap,) = (inputs.taps[index] for index in self.taps)
        wanted = self._wanted(inputs.extra[FEATURES], tap).to(inputs.data.dtype)
        found = self.projector(tap.tokens[:, tap.m :]).to(inputs.data.dtype)
        return 1 - F.cosine_similarity(found, wanted, dim=2).mean(dim=1)

    def _wanted(self, features: Tensor, tap: Tap) -> Float[Tensor, "b K z"]:
        if features.ndim != 2 + len(tap.grid) or features.shape[1] != self.features:
            axes = " x ".join(map(str, features.shape[1:]))
            raise DataError(
                f"loss repa: features are {axes}, and its option `features` is {self.features}, with {len(tap.grid)}"
                " axes of the picture behind; set it to the encoder's width, or give features of such pictures"
            )
        pooled = POOLS[len(tap.grid)](features, tap.grid).flatten(2).mT
        if tap.index is None:
            return pooled
        return pooled.gather(1, tap.index.unsqueeze(2).expand(-1, -1, self.features))

    def example_extra(self, batch: int, size: tuple[int, ...]) -> Mapping[str, Tensor]:
        """Features of some pictures, on a grid of ``SIDE`` an axis."""
        return {FEATURES: torch.randn(batch, self.features, *[SIDE] * len(size))}
