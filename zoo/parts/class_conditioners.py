"""Built-in class conditioners: what the labels say to the blocks."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Collection
from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from zoo.errors import did_you_mean, listed
from zoo.labels import Labels, form_of
from zoo.parts.base import ClassConditioner
from zoo.parts.layers import Embedding, Linear
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


@part("class_conditioner", "attributes")
class AttributesConditioner(ClassConditioner):
    """Several numbers a sample, such as properties of a picture, any of which may be left unsaid; zoo's own.

    Labels are floats ``[B, A]``, in which NaN says nothing. A Linear takes the numbers, 0 for those, beside a mask of
    them: each unsaid entry has a vector of its own, learned. Training leaves entries unsaid one by one (``drop``), and
    all of a sample together (``objective.label_dropout``), as InstructPix2Pix does with its two conditions (Brooks et
    al., 2023, arXiv 2211.09800, section 3.2.1).

    Options:
        attributes: number of entries A; null for as many as ``names``, or one.
        names: what they are called, for ``zoo sample --labels smiling=1,hat=0``.
        drop: probability of an entry to be left unsaid in training.
    """

    gives = frozenset({"label"})

    def __init__(
        self,
        dim: int,
        *,
        attributes: Annotated[int, Field(ge=1, le=4096)] | None = None,
        names: tuple[str, ...] = (),
        drop: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1,
    ) -> None:
        super().__init__()
        if attributes is not None and names and attributes != len(names):
            raise ValueError(f"attributes is {attributes}, and there are {len(names)} names; leave one of them out")
        for name in names:
            if name != name.strip() or not name or set(name) & set(",=") or names.count(name) > 1:
                raise ValueError(f"names: {name!r} is none, or twice there; let each be another, without , and =")
        self.attributes, self.names, self.drop = attributes or len(names) or 1, names, drop
        self.drops = self.attributes if drop else 0
        self.proj = Linear(2 * self.attributes, dim)

    def forward(self, labels: Float[Tensor, "B A"]) -> ClassCondition:
        """A vector ``[B, D]``."""
        unsaid = labels.isnan()
        known = torch.cat([labels.masked_fill(unsaid, 0.0), unsaid.to(labels.dtype)], dim=1)
        return ClassCondition(vector=self.proj(known.to(self.proj.weight.dtype)))

    def null(self, labels: Tensor) -> Tensor:
        """NaN for all."""
        return torch.full_like(labels, math.nan)

    def drop_some(self, labels: Tensor, scores: Float[Tensor, "B A"]) -> Tensor:
        """NaN for entries whose score is below ``drop``."""
        return labels.masked_fill(scores < self.drop, math.nan)

    def example_labels(self, batch: int, device: torch.device | str | None = None) -> Float[Tensor, "B A"]:
        """1 and -1 in turn."""
        place = torch.arange(batch, device=device).unsqueeze(1) + torch.arange(self.attributes, device=device)
        return 1.0 - 2.0 * (place % 2)

    def check_labels(self, labels: Labels | None, batch: int) -> None:
        """Refuse labels that ``forward`` cannot take. Waits for the device.

        Raises:
            ValueError: not floats ``[batch, A]``, or infinite ones.
        """
        wanted = f"floats [{batch}, {self.attributes}], one of each sample for every attribute, NaN for what is unsaid"
        if not isinstance(labels, Tensor) or labels.shape != (batch, self.attributes):
            raise ValueError(f"labels: must be {wanted}; got {'nothing' if labels is None else form_of(labels)}")
        if not labels.is_floating_point():
            raise ValueError(f"labels: must be {wanted}; got {labels.dtype}: store them as float32")
        if labels.isinf().any():
            raise ValueError(f"labels: must be {wanted}; row {int(labels.isinf().any(dim=1).nonzero()[0])} is infinite")

    def parse(self, text: str) -> Float[Tensor, "1 A"]:
        """``smiling=1,hat=0``, which leaves all others unsaid; or all in their order: ``1,0,nan``."""
        parts = [each.strip() for each in text.split(",")]
        if "=" in text:
            said: dict[str, float] = {}
            for each in parts:
                name, equals, number = (word.strip() for word in each.partition("="))
                if not equals or name in said:
                    raise ValueError(f"{each!r} has no =, or says a name twice; write such as smiling=1,hat=0")
                said[name] = _number(number)
            self._refuse_others(said)
            return torch.tensor([[said.get(name, math.nan) for name in self.names]])
        if len(parts) != self.attributes:
            called = f" ({listed(self.names)})" if self.names else ""
            by_name = f", or write such as {self.names[0]}=1" if self.names else ""
            raise ValueError(
                f"a label has {self.attributes} numbers{called}, and here are {len(parts)}; let unsaid ones be"
                f" nan{by_name}"
            )
        return torch.tensor([list(map(_number, parts))])

    def _refuse_others(self, said: Collection[str]) -> None:
        for name in said:
            if not self.names:
                raise ValueError(f"attributes have no names here; write {self.attributes} numbers, nan for unsaid ones")
            if name not in self.names:
                mend = did_you_mean(name, self.names) or f"; there are: {listed(self.names)}"
                raise ValueError(f"no attribute is called {name!r}{mend}")


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.inf
    if math.isinf(found):
        raise ValueError(f"{text.strip()!r} is no number; write such as 1, 0.5, or nan for what is unsaid")
    return found


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
