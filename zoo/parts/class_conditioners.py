"""Built-in class conditioners: what the labels say to the blocks."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor, nn

from zoo.parts.base import ClassCondition, ClassConditioner
from zoo.registry import part


@part("class_conditioner", "embedding")
class EmbeddingConditioner(ClassConditioner):
    """One vector a class, added to the time embedding: DiT.

    Options:
        std: standard deviation of the initialisation. The field's 0.02 is hardly learned in short runs; 1.0 is.
    """

    def __init__(self, dim: int, num_classes: int, *, std: Annotated[float, Field(ge=0.0)] = 0.02) -> None:
        super().__init__()
        self.num_classes = _at_least_one(num_classes)
        self.embedding = nn.Embedding(num_classes + 1, dim, _weight=_normal(num_classes + 1, dim, std))

    def forward(self, labels: Int[Tensor, B]) -> ClassCondition:
        """The classes' vectors ``[B, D]``; ``num_classes`` is the null class."""
        return ClassCondition(vector=self.embedding(labels))


@part("class_conditioner", "class_tokens")
class ClassTokenConditioner(ClassConditioner):
    """Several tokens a class, in front of the image tokens (MPDiT, section 3.3).

    Options:
        tokens: tokens of each class, m (MPDiT, table 6).
        std: standard deviation of the initialisation.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        *,
        tokens: Annotated[int, Field(ge=1, le=4096)] = 16,
        std: Annotated[float, Field(ge=0.0)] = 0.02,
    ) -> None:
        super().__init__()
        self.num_classes = _at_least_one(num_classes)
        self.class_tokens = tokens
        self.embedding = nn.Embedding(
            num_classes + 1, tokens * dim, _weight=_normal(num_classes + 1, tokens * dim, std)
        )

    def forward(self, labels: Int[Tensor, B]) -> ClassCondition:
        """The classes' tokens ``[B, m, D]``; ``num_classes`` is the null class."""
        return ClassCondition(tokens=self.embedding(labels).unflatten(1, (self.class_tokens, -1)))


@part("class_conditioner", "none")
class NoConditioner(ClassConditioner):
    """Unconditional: labels are ignored and may be left out."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, labels: Tensor | None) -> ClassCondition:
        """Nothing."""
        return ClassCondition()

    def check_labels(self, labels: Tensor | None, batch: int) -> None:
        """Any labels will do."""


def _at_least_one(num_classes: int) -> int:
    if num_classes < 1:
        raise ValueError("needs backbone.num_classes of at least 1; for an unconditional backbone write `none`")
    return num_classes


def _normal(rows: int, columns: int, std: float) -> Tensor:
    return torch.empty(rows, columns).normal_(std=std)
