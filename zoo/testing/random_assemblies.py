"""Random assemblies that load, for the laws of all assemblies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import assume

from zoo.assembly import build, load_recipe
from zoo.errors import RecipeError
from zoo.kinds import BACKBONE_KINDS
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.testing.draw import Refused, draw
from zoo.testing.recipes import recipes
from zoo.testing.strategies import Given

PATIENCE = 20
"""Assemblies that are tried before none is found: of built-in parts, more than half go together."""

LARGEST = 2_000_000
"""Parameters of an assembly: a law takes tenths of a second with so many, and more show no more."""


@dataclass(frozen=True)
class Drawn:
    """A recipe as it was drawn, and what it loads as.

    Attributes:
        values: of the recipe.
        recipe: that they are of.
        registry: the parts that they name.
        fixed: kinds whose part is not to be another.
    """

    values: dict[str, Any]
    recipe: Recipe
    registry: Registry
    fixed: Mapping[str, str]

    @property
    def written(self) -> str:
        """The values, what is fixed first, in a line of JSON."""
        backbone = self.values["backbone"]
        return json.dumps({**{kind: backbone[kind] for kind in self.fixed}, **backbone})

    def simpler(self) -> Iterator[Drawn]:
        """Others that load, each with one thing as it is by default."""
        for backbone in _simpler(self.values["backbone"], self.fixed):
            values = {"backbone": backbone}
            try:
                yield Drawn(values, load_recipe(values, registry=self.registry), self.registry, self.fixed)
            except RecipeError:
                continue


def _simpler(backbone: dict[str, Any], fixed: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for kind in BACKBONE_KINDS:
        own = backbone.get(kind)
        if isinstance(own, list):  # runs of blocks
            yield from ({**backbone, kind: {key: run[key] for key in run if key != "blocks"}} for run in own)
        elif own is None or kind == "patch_schedule":  # none goes without
            continue
        elif kind not in fixed:
            yield {key: value for key, value in backbone.items() if key != kind}
        else:
            for option in own.keys() - {"type"}:
                yield {**backbone, kind: {key: value for key, value in own.items() if key != option}}


def random_assemblies(
    registry: Registry, examples: int, fixed: Mapping[str, str], given: Given | None = None
) -> list[Drawn]:
    """Assemblies of the registry's parts; see ``recipes``.

    Raises:
        RecipeError: a part fails, or breaks the rules of its kind.
        TypeError: every assembly is refused.
    """

    def take(values: dict[str, Any]) -> Drawn:
        try:
            recipe = load_recipe(values, registry=registry)
        except RecipeError as error:
            if error.__cause__ is None:
                raise Refused(*error.problems) from None
            raise
        params = sum(each.numel() for each in build(recipe, registry=registry, device="meta").parameters())
        if params > LARGEST:
            raise Refused(f"it has {params:,} parameters, and {LARGEST:,} are the most that are tried")
        return Drawn(values, recipe, registry, fixed)

    return draw(recipes(registry, given, **fixed), take, examples, patience=PATIENCE)


def load_or_pass(values: dict[str, Any], registry: Registry) -> Recipe:
    """The recipe of drawn values; a combination that is refused is passed over, but not what a part itself fails at.

    Args:
        values: the recipe.
        registry: the parts to choose from.

    Raises:
        RecipeError: a part fails, or breaks the rules of its kind.
    """
    try:
        return load_recipe(values, registry=registry)
    except RecipeError as error:
        if error.__cause__ is None:
            assume(False)
        raise
