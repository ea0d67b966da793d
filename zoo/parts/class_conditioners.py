"""Built-in class conditioners: what the labels say to the blocks."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from zoo.parts.base import ClassConditioner, IndexConditioner
from zoo.parts.layers import Embedding
from zoo.parts.values import ClassCondition
from zoo.registry import part


@part("class_conditioner", "embedding")
class EmbeddingConditioner(IndexConditioner):
    """One vector a class, added to the time embedding: DiT.

    Options:
        std: standard deviation of the initialisation. The field's 0.02 is hardly learned in short runs; 1.0 is.
    """

    gives = frozenset({"label"})

    def __init__(self, dim: int, num_classes: int, *, std: Annotated[float, Field(ge=0.0)] = 0.02) -> None:
        super().__init__(num_classes)
        self.embedding = Embedding(num_classes + 1, dim, std=std)

    def forward(self, labels: Int[Tensor, " B"]) -> ClassCondition:
        """The classes' vectors ``[B, D]``; ``num_classes`` is the null class."""
        return ClassCondition(vector=self.embedding(labels))


@part("class_conditioner", "class_tokens")
class ClassTokenConditioner(IndexConditioner):
    """Several tokens a class, in front of the image tokens (MPDiT, section 3.3).

    Options:
        tokens: tokens of each class, m (MPDiT, table 6).
        std: standard deviation of the initialisation.
    """

    gives = frozenset({"prefix"})

    def __init__(
        self,
        dim: int,
        num_classes: int,
        *,
        tokens: Annotated[int, Field(ge=1, le=4096)] = 16,
        std: Annotated[float, Field(ge=0.0)] = 0.02,
    ) -> None:
        super().__init__(num_classes)
        self.class_tokens = tokens
        self.embedding = Embedding(num_classes + 1, tokens * dim, std=std)

    def forward(self, labels: Int[Tensor, " B"]) -> ClassCondition:
        """The classes' tokens ``[B, m, D]``; ``num_classes`` is the null class."""
        return ClassCondition(tokens=self.embedding(labels).unflatten(1, (self.class_tokens, -1)))


@part("class_conditioner", "none")
class NoConditioner(ClassConditioner):
    """Unconditional: labels are ignored and may be left out."""

    uses_labels = False

    def __init__(self) -> None:
        super().__init__()

    def forward(self, labels: Tensor | None) -> ClassCondition:
        """Nothing."""
        return ClassCondition()

    def null(self, labels: Tensor) -> Tensor:
        """The labels: they say nothing anyway."""
        return labels

    def example_labels(self, batch: int, device: torch.device | str | None = None) -> Tensor:
        """Zeros ``[B]``."""
        return torch.zeros(batch, dtype=torch.long, device=device)

    def check_labels(self, labels: Tensor | None, batch: int) -> None:
        """Any labels will do."""
