"""Built-in class conditioners: what the labels say to the blocks."""

from __future__ import annotations

from abc import ABC
from typing import Annotated

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from zoo.labels import Labels, form_of
from zoo.parts.base import ClassConditioner
from zoo.parts.layers import Embedding
from zoo.parts.values import ClassCondition
from zoo.registry import part


class IndexConditioner(ClassConditioner, ABC):
    """A class conditioner whose labels are class indices ``[B]`` in ``[0, num_classes]``, the last of which is null."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError("needs backbone.num_classes of at least 1; for an unconditional backbone write `none`")
        self.num_classes = num_classes

    def null(self, labels: Tensor) -> Tensor:
        """``num_classes`` for every sample."""
        return torch.full_like(labels, self.num_classes)

    def classes_in_turn(self, batch: int, device: torch.device | str | None = None) -> Int[Tensor, " B"]:
        """Classes 0, 1, 2, ... and again."""
        return torch.arange(batch, device=device) % self.num_classes

    def example_labels(self, batch: int, device: torch.device | str | None = None) -> Tensor:
        """Classes in turn."""
        return self.classes_in_turn(batch, device)

    def check_labels(self, labels: Labels | None, batch: int) -> None:
        """Refuse labels that ``forward`` cannot take. Waits for the device.

        Raises:
            ValueError: not int32 or int64 ``[batch]``, or outside ``[0, num_classes]``.
        """
        if labels is None:
            raise ValueError(
                f"labels: needed by this class conditioner; give class indices [{batch}] in"
                f" 0..{self.num_classes - 1}, or {self.num_classes} for no condition"
            )
        if not isinstance(labels, Tensor):
            raise ValueError(f"labels: must be class indices [{batch}] in one tensor, got {form_of(labels)}")
        if labels.dtype not in (torch.int32, torch.int64):
            raise ValueError(f"labels: must be integer class indices (int64 or int32), got {labels.dtype}")
        if tuple(labels.shape) != (batch,):
            raise ValueError(f"labels: must have shape [{batch}] as the latents, got {list(labels.shape)}")
        low, high = torch.stack(labels.aminmax()).tolist()
        if low < 0 or high > self.num_classes:
            raise ValueError(
                f"labels: {low if low < 0 else high} is out of range; class indices go from 0 to"
                f" {self.num_classes - 1}, and {self.num_classes} stands for no condition"
            )


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
