"""What a checkpoint layout is, for those who write one: names, axes, and which backbones it can hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from zoo.backbone import Backbone
from zoo.errors import WeightsError
from zoo.paths import Prediction
from zoo.recipe import Recipe
from zoo.weights.published.layout import Entry

Clock = Literal["noise", "data"]
"""What a sinusoidal time embedder is fed: t, or 1 - t."""


class WeightFormat(ABC):
    """A checkpoint layout, for ``zoo import --format NAME`` and ``zoo export --to NAME``. Constructor: ``()``.

    ``entries`` is all that it must have. What a checkpoint lacks, has besides, or has in another shape, follows from
    them, and so does the way back. A plug-in gives its formats by the hook ``zoo_weight_formats``.

    Attributes:
        name: as the commands take it, a lower-case identifier.
        prediction: what its weights predict; whatever the recipe says if None.
        path: on which path from data to noise they do, by the name of its part; likewise.
        clock: what a sinusoidal time embedder is fed, ``noise`` (t) or ``data`` (1 - t): export turns that of a
            backbone to it. As it is if None.
    """

    name: ClassVar[str]
    prediction: ClassVar[Prediction | None] = None
    path: ClassVar[str | None] = None
    clock: ClassVar[Clock | None] = None

    @abstractmethod
    def entries(self, recipe: Recipe, backbone: Backbone) -> Iterator[Entry]:
        """Every tensor of the checkpoint, by its name there and by that of the backbone's tensor.

        Args:
            recipe: one without ``misfits``.
            backbone: of that recipe, on the meta device: ``state_dict()`` tells names and shapes, ``stages`` the
                patches. Each of its tensors must come from one entry, or from all shares of one.
        """

    def recognises(self, keys: Collection[str]) -> bool:
        """Whether these are the keys of such a checkpoint; never if left out, so that ``--format`` has to tell."""
        return False

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        """The ``backbone`` section that the shapes tell, but for ``heads`` where they are not known.

        Left out, an import needs ``--recipe``.

        Args:
            tensors: of the checkpoint, in its own shapes, by name.

        Raises:
            WeightsError: the shapes do not go together; made by ``tensors.problem(text)``.
        """
        raise tensors.problem(f"{self.name} tells none")

    def family(self, backbone: Mapping[str, Any]) -> str | None:
        """The shipped recipe whose settings beside the backbone an inferred recipe of four channels takes, if any."""
        return None

    def settled(self, recipe: Recipe) -> dict[str, Any]:
        """What the layout fixes and the recipe has otherwise, by key below ``backbone``: an import sets it so."""
        fixed = self.prediction is not None and recipe.backbone.prediction != self.prediction
        return {"prediction": self.prediction} if fixed else {}

    def misfits(self, recipe: Recipe, backbone: Backbone) -> Iterator[str]:
        """Why no such checkpoint can be of this backbone: a line for every reason, that begins with the recipe's key.

        Override it where there is more, and ``yield from super().misfits(recipe, backbone)``.

        Args:
            recipe: of the backbone.
            backbone: on the meta device.
        """
        path = recipe.objective.path.type
        if self.path not in (None, path):
            yield f"objective.path: {self.name} has {self.path}, the recipe {path}"
        yield from self.otherwise(recipe, self.settled(recipe))

    def otherwise(self, recipe: Recipe, wanted: Mapping[str, Any]) -> Iterator[str]:
        """A line for each key below ``backbone``, or below a part of it, of which the recipe has another value."""
        for key, want in wanted.items():
            part, *option = key.split(".")
            found = getattr(recipe.backbone, part)
            found = found.resolved()[option[0]] if option else found
            yield f"backbone.{key}: {self.name} has {want}, the recipe {found}"


class Tensors(Mapping[str, Tensor]):
    """The tensors of a checkpoint, of which a missing one is an error that says so.

    Args:
        tensors: by published name.
        where: the file, for messages.
    """

    def __init__(self, tensors: Mapping[str, Tensor], where: str) -> None:
        self._tensors, self._where = tensors, where

    def __getitem__(self, key: str) -> Tensor:
        if key not in self._tensors:
            raise self.problem(f"{key} is missing")
        return self._tensors[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __contains__(self, key: object) -> bool:
        return key in self._tensors

    def problem(self, text: str) -> WeightsError:
        """An error that says that no recipe can be inferred."""
        return WeightsError(f"{self._where}: no recipe can be told from its shapes: {text}; give --recipe R")

    def of(self, key: str, axes: int) -> tuple[int, ...]:
        """The shape of a tensor with so many axes, none of them empty."""
        shape = tuple(self[key].shape)
        if len(shape) != axes or 0 in shape:
            raise self.problem(f"{key} has shape {list(shape)}, which should have {axes} axes, none of them empty")
        return shape

    def count(self, prefix: str) -> int:
        """How many there are of ``prefix.0``, ``prefix.1`` and so on."""
        places = {key.split(".")[prefix.count(".") + 1] for key in self if key.startswith(f"{prefix}.")}
        numbers = sorted(int(place) for place in places if place.isdecimal())
        if numbers != list(range(len(numbers))):
            gap = next(index for index, number in enumerate(numbers) if index != number)
            raise self.problem(f"{prefix}.{gap} is missing")
        return len(numbers)
