"""Which of a donor's classes those of another backbone start as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.errors import WeightsError
from zoo.recipe import Recipe
from zoo.weights.state import Weights, is_same_backbone

BY_NUMBER = "of the same number"


class ClassRows(NamedTuple):
    """What the classes of a backbone start as.

    Attributes:
        sources: the donor's class of each one; None for one that starts anew.
        how: they were found, for messages.
        before: how many classes the donor has.
    """

    sources: tuple[int | None, ...]
    how: str
    before: int

    @property
    def are_the_same(self) -> bool:
        """Whether all are the donor's, in its order."""
        return self.sources == tuple(range(self.before))

    @property
    def are_by_number(self) -> bool:
        """Whether neither names nor the recipe say which is which."""
        return self.how == BY_NUMBER

    def of(self, table: Tensor, fresh: Tensor) -> Tensor:
        """A table with a row for each class, and the last for none: the donor's rows, and fresh ones."""
        rows = [fresh[at] if source is None else table[source] for at, source in enumerate(self.sources)]
        return torch.stack([*rows, table[-1]])

    def words(self) -> str:
        """What was done, as a line tells it."""
        taken = {source for source in self.sources if source is not None}
        anew, left = self.sources.count(None), self.before - len(taken)
        told = f"{len(self.sources)} classes ({self.before} in the donor): {len(self.sources) - anew} are the donor's"
        rest = f", {anew} start anew" * (anew > 0) + f"; {left} of the donor's are left behind" * (left > 0)
        return f"{told} {self.how}{rest}"


def class_rows(donor: Weights, target: Recipe, names: Sequence[str] = ()) -> ClassRows:
    """What the classes of a backbone start as: what its recipe says in ``train.init``, or else classes of the same
    name where any is called alike, or else of the same number.

    Args:
        donor: weights of another backbone, or of the same.
        target: the recipe of the backbone to start.
        names: of its classes, by label, as far as they are known.

    Raises:
        WeightsError: the recipe names a class that the donor has not, or not one for each.
    """
    before, after = donor.recipe.backbone.num_classes, target.backbone.num_classes
    start = target.train.start
    if start is not None and start.classes:
        _refuse_others(start.classes, before, after)
        return ClassRows(start.classes, "that train.init names", before)
    by_number = tuple(each if each < before else None for each in range(after))
    known = {name: label for label, name in enumerate(donor.classes.names[:before])}
    by_name = tuple(known.get(name) for name in names[:after])
    if all(each is None for each in by_name):
        return ClassRows(by_number, BY_NUMBER, before)
    nameless = (source if source is None or source >= len(known) else None for source in by_number[len(by_name) :])
    return ClassRows((*by_name, *nameless), "of the same name", before)


def are_the_donors(donor: Weights, target: Recipe, names: Sequence[str] = ()) -> bool:
    """Whether the weights can be taken as they are: of the same backbone, whose classes are the same."""
    return is_same_backbone(donor.recipe, target) and class_rows(donor, target, names).are_the_same


def _refuse_others(classes: Sequence[int | None], before: int, after: int) -> None:
    if len(classes) != after:
        raise WeightsError(
            f"train.init.classes: names {len(classes)} classes, and backbone.num_classes is {after}; name the donor's"
            " of each one, or null"
        )
    other = next((each for each in classes if each is not None and each >= before), None)
    if other is not None:
        raise WeightsError(f"train.init.classes: the donor has no class {other}; it has {before}, from 0")
