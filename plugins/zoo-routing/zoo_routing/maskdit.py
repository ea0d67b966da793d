"""What MaskDiT has beside its router: the last block of its encoder, labels without a null vector, and its losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

import zoo
from zoo.flow import Loss, LossInputs
from zoo.parts import (
    ClassCondition,
    DiTBlock,
    Embedding,
    Group,
    IndexConditioner,
    Layout,
    Vectors,
    layer_norm,
    modulate,
    patchify,
)

EPS = 1e-6


@zoo.part("block", "maskdit_bridge")
class BridgeBlock(DiTBlock):
    """A ``dit`` block, behind which stands a modulated norm: the last one of MaskDiT's encoder.

    The downsampler after it, ``linear`` with ``init: zero``, leads to the width of the decoder.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.modulation_vectors, self.lends = 8, None

    def forward_stage(
        self, tokens: Float[Tensor, "b T D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b T D"]
    ) -> Float[Tensor, "b T D"]:
        """Tokens of the same shape."""
        return BridgeBlock.forward(self, [Group(tokens, vectors, layout)])[0]

    def forward(self, groups: Sequence[Group]) -> list[Tensor]:
        """Tokens of the same shapes; Linears run once, over the joined rows of all groups."""
        inside = [group._replace(vectors=group.vectors[:6]) for group in groups]
        returned = zip(super().forward(inside), groups, strict=True)
        return [modulate(layer_norm(x), *group.vectors[6:]) for x, group in returned]


@zoo.part("class_conditioner", "zero_null")
class ZeroNull(IndexConditioner):
    """A vector for each class, and zero for no condition, which is not learned: MaskDiT's."""

    gives = frozenset({"label"})

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__(num_classes)
        self.embedding = Embedding(num_classes, dim)

    def forward(self, labels: Int[Tensor, " B"]) -> ClassCondition:
        """A vector [B, D] for each."""
        found = self.embedding(labels.clamp(max=self.num_classes - 1))
        return ClassCondition(vector=found * (labels < self.num_classes).unsqueeze(1))


Tap = Annotated[int, Field(ge=0)]


class OfPatches(Loss):
    """A loss of single patches. It taps a block of the route, which tells which of them were left out."""

    routed = True

    def __init__(self, *, tap: Tap = 0) -> None:
        super().__init__()
        self.taps = (tap,)

    def patches(self, inputs: LossInputs, values: Float[Tensor, "b C *size"]) -> Float[Tensor, "b N P"]:
        """Numbers of each patch, as large as a token of the tap."""
        grid = inputs.taps[self.taps[0]].grid
        size = tuple(side // count for side, count in zip(values.shape[2:], grid, strict=True))
        return patchify(values, size)


@zoo.part("loss", "kept_squared_error")
class KeptSquaredError(OfPatches):
    """Mean squared error of the patches that a router has left in: MaskDiT's denoising (section 3.3).

    Options:
        tap: a block of the route.
    """

    def forward(self, inputs: LossInputs) -> Float[Tensor, " b"]:
        """The mean over the patches of each sample that are there; over all where none was left out."""
        errors = self.patches(inputs, (inputs.prediction - inputs.target).square()).mean(dim=2)
        kept = inputs.kept
        return errors.mean(dim=1) if kept is None else (errors * kept).sum(dim=1) / kept.sum(dim=1)


@zoo.part("loss", "masked_reconstruction")
class MaskedReconstruction(OfPatches):
    """Squared error of the patches that were left out, between the data that is predicted and the noisy patch that was
    not seen, brought to mean 0 and variance 1: MaskDiT's reconstruction (section 3.3), of weight 0.1 there.

    Options:
        tap: a block of the route.
    """

    weighted = False

    def forward(self, inputs: LossInputs) -> Float[Tensor, " b"]:
        """The mean over the patches of each sample that are not there; 0 where all are."""
        predicted = self.patches(inputs, inputs.mixture.data(inputs.velocity, inputs.z.to(inputs.data.dtype)))
        kept = inputs.kept
        if kept is None:
            return 0.0 * predicted.flatten(1).mean(dim=1)
        noisy = self.patches(inputs, inputs.z.to(inputs.data.dtype))
        unbiased = min(1, noisy.shape[2] - 1)  # a single number has no variance
        spread = (noisy.var(dim=2, keepdim=True, correction=unbiased) + EPS).sqrt()
        errors = (predicted - (noisy - noisy.mean(dim=2, keepdim=True)) / spread).square().mean(dim=2)
        gone = ~kept
        return (errors * gone).sum(dim=1) / gone.sum(dim=1).clamp(min=1)
