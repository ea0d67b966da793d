"""Built-in stage embedders: tell the blocks which patches they work on."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from zoo.parts.base import StageEmbedder
from zoo.parts.layers import Embedding
from zoo.registry import part


@part("stage_embedder", "none")
class NoStageEmbedder(StageEmbedder):
    """Nothing is added to the condition."""

    def forward(self, stage: int) -> Float[Tensor, " D"] | None:
        """None."""
        return None


@part("stage_embedder", "learned")
class LearnedStageEmbedder(StageEmbedder):
    """A learned vector a stage, added to time and class (PPFlow, section 4, patch-level embedding)."""

    def __init__(self, dim: int, stages: int) -> None:
        super().__init__()
        self.embedding = Embedding(stages, dim)

    def forward(self, stage: int) -> Float[Tensor, " D"] | None:
        """The vector ``[D]`` of a stage, 0 = noisiest."""
        return self.embedding.weight[stage]
