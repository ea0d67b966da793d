"""A sweep: every combination of a grid counted, and trained and judged if asked for; it goes on where it was."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from zoo.assembly import check_tree
from zoo.distributed.distributed import Distributed
from zoo.distributed.failures import told_plainly
from zoo.errors import Preempted, RecipeError, ZooError
from zoo.recipe import Node, Recipe, overridden, read_tree
from zoo.recipe.merge import read_override
from zoo.registry import Registry
from zoo.report.comparison import Entry, cost_of, outcome_of
from zoo.report.sweep import Variation, combinations, name_of
from zoo.runs.run_folder import RunFolder
from zoo.train.run import Watcher
from zoo.train.trial import train_and_judge


@dataclass(frozen=True)
class Swept:
    """A combination of a sweep.

    Attributes:
        name: its values.
        entry: its cost, and what training came to; None where it cannot be built or counted.
        problem: why it cannot be built, counted or trained.
    """

    name: str
    entry: Entry | None
    problem: ZooError | None = None


@dataclass(frozen=True)
class Sweep:
    """A grid of recipes.

    Attributes:
        recipe: a path or name.
        overrides: as for ``--set``, of all combinations.
        variations: what changes.
        registry: the parts to choose from.
    """

    recipe: str
    overrides: Sequence[str]
    variations: Sequence[Variation]
    registry: Registry

    def combinations(self) -> list[Mapping[str, str]]:
        """Every combination of values, by key.

        Raises:
            ZooError: a key is varied twice, or an override would go with a part in each of them.
        """
        found = list(combinations(self.variations))
        self._refuse_lost(found)
        return found

    def count(self) -> Iterator[Swept]:
        """Every combination with its cost."""
        for combination in self.combinations():
            name = name_of(combination)
            try:
                yield Swept(name, Entry(name, cost_of(self._load(combination))))
            except ZooError as error:
                yield Swept(name, None, error)

    def train(
        self, folder: Path, world: Distributed, watch: Callable[[], AbstractContextManager[Watcher]]
    ) -> Iterator[Swept]:
        """Every combination with its cost, and with what training it came to.

        Args:
            folder: of the runs; one that is done is not trained again, and one that was stopped goes on.
            world: this process, alone.
            watch: for the time of a training, gives a watcher that is told how it goes.

        Raises:
            Preempted: asked to stop, and saved.
        """
        for combination, counted in zip(self.combinations(), self.count(), strict=True):
            if counted.entry is None:
                yield counted
                continue
            try:
                with told_plainly():
                    recipe = self._load(combination)
                    place = folder / folder_name(counted.name)
                    found = train_and_judge(recipe, place, self.registry, world, watch=watch)
                outcome = outcome_of(RunFolder(place), found[recipe.train.steps])
                yield replace(counted, entry=replace(counted.entry, outcomes=(outcome,)))
            except Preempted as stop:
                words = f"stopped at {counted.name}, and saved; the same command goes on"
                raise Preempted(words) from stop
            except ZooError as error:
                yield replace(counted, problem=error)

    def _load(self, combination: Mapping[str, str]) -> Recipe:
        return check_tree(self._tree(combination), self.registry)

    def _tree(self, combination: Mapping[str, str]) -> Node:
        """With overrides as if the recipe had them: what is of a part of one type is left out with another."""
        changes = [f"{key}={value}" for key, value in combination.items()]
        return overridden(read_tree(self.recipe, self.overrides), changes, option="--vary")

    def _refuse_lost(self, found: Sequence[Mapping[str, str]]) -> None:
        try:
            trees = [self._tree(each) for each in found]
        except RecipeError:  # which is told of that combination
            return
        for override in map(read_override, self.overrides):
            for key in (each.key for each in self.variations):
                path = tuple(key.removesuffix(".type").split("."))
                if len(override.keys) <= len(path) or override.keys[: len(path)] != path:
                    continue
                if not any(override.value.origin in tree.nearest(path).origins() for tree in trees):
                    raise ZooError(
                        f"{override.source}: would be lost, since no value of --vary {key} keeps it; leave it out, or"
                        " write it into one, such as {type: NAME, option: value}"
                    )


def folder_name(name: str) -> str:
    """A combination's name as that of a folder; two names never give one."""
    safe = re.sub(r"[^\w=.,-]+", "_", name.replace(", ", ","))[:100]
    return safe if safe.replace(",", ", ") == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
