"""A sweep: every combination of a grid counted, and trained and judged if asked for; it goes on where it was."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError

from zoo.assembly import check_tree
from zoo.errors import Preempted, RecipeError, ZooError
from zoo.plugins import zoo_version
from zoo.recipe import Recipe, read_tree
from zoo.registry import Registry
from zoo.report.comparison import Cost, Entry, cost_of, outcome_of
from zoo.report.sweep import Variation, combinations, name_of
from zoo.train.distributed import World
from zoo.train.session import Watcher
from zoo.train.trial import train_and_judge

COSTS = "costs.jsonl"


@dataclass(frozen=True)
class Swept:
    """A combination of a sweep.

    Attributes:
        name: its values.
        entry: its cost, and what training came to; None where there is a problem.
        problem: why it cannot be built, counted or trained.
    """

    name: str
    entry: Entry | None
    problem: str | None = None


@dataclass(frozen=True)
class Sweep:
    """A grid of recipes.

    Attributes:
        recipe: a path or name.
        overrides: as for ``--set``, of all combinations.
        variations: what changes.
        registry: the parts to choose from.
        folder: keeps what was counted, and the runs; None keeps nothing.
    """

    recipe: str
    overrides: Sequence[str]
    variations: Sequence[Variation]
    registry: Registry
    folder: Path | None

    def combinations(self) -> list[Mapping[str, str]]:
        """Every combination of values, by key."""
        return list(combinations(self.variations))

    def run(self, world: World, *, train: bool, watcher: Watcher | None = None) -> Iterator[Swept]:
        """Count every combination, and train and judge it if asked to; what has been done is not done again.

        Args:
            world: this process, alone.
            train: train each in its own folder, or go on with it.
            watcher: is told how training goes.

        Raises:
            Preempted: asked to stop, and saved.
        """
        known = self._known()
        for combination in self.combinations():
            name = name_of(combination)
            try:
                recipe = self._load(combination)
                cost = known.get(_identity(recipe)) or self._count(recipe)
                entry = Entry(name, cost)
                if train:
                    assert self.folder is not None, "runs need a folder"
                    run = train_and_judge(
                        recipe, self.folder / folder_name(name), self.registry, world, watcher=watcher
                    )
                    entry = replace(entry, outcomes=(outcome_of(run, self.registry, world),))
                yield Swept(name, entry)
            except Preempted:
                raise
            except ZooError as error:
                yield Swept(name, None, "; ".join(str(error).splitlines()))

    def _load(self, combination: Mapping[str, str]) -> Recipe:
        changes = [f"{key}={value}" for key, value in combination.items()]
        try:
            return check_tree(read_tree(self.recipe, [*self.overrides, *changes]), self.registry)
        except RecipeError as error:
            raise RecipeError([problem.replace("--set ", "", 1) for problem in error.problems]) from error

    def _known(self) -> dict[str, Cost]:
        if self.folder is None or not (self.folder / COSTS).exists():
            return {}
        adapter, found = TypeAdapter(Cost), {}
        for line in (self.folder / COSTS).read_text(encoding="utf-8").splitlines():
            try:
                values = json.loads(line)
                found[str(values["identity"])] = adapter.validate_python(values["cost"])
            except (ValueError, KeyError, TypeError, ValidationError):  # a line that was cut off is counted again
                continue
        return found

    def _count(self, recipe: Recipe) -> Cost:
        cost = cost_of(recipe, self.registry)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / COSTS).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"identity": _identity(recipe), "cost": asdict(cost)}) + "\n")
        return cost


def folder_name(name: str) -> str:
    """A combination's name as that of a folder; two names never give one."""
    safe = re.sub(r"[^\w=.,-]+", "_", name.replace(", ", ","))[:100]
    return safe if safe.replace(",", ", ") == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _identity(recipe: Recipe) -> str:
    """A hash of what decides the count."""
    what = [recipe.resolved(), zoo_version(), torch.__version__]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
