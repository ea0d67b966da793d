"""What an assembly costs, assemblies side by side, and the way of the tokens: from Python, shown in a notebook."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from rich.console import Console
from torch import nn

from zoo.assembly import RecipeLike, as_recipe
from zoo.audit import Audit, audit
from zoo.errors import RunError, ZooError, with_article
from zoo.files import write_whole
from zoo.loose_parts import PartsLike
from zoo.recipe import Overrides, Recipe, holds_run
from zoo.registry import Registry
from zoo.report import diagram as drawings
from zoo.report.printing import print_audit, print_comparison
from zoo.report.shown import Shown

if TYPE_CHECKING:
    from zoo.report.comparison import Entry


@dataclass(frozen=True, repr=False)
class AssemblyCost(Shown, Audit):
    """An audit that shows its tables."""

    assembly: Recipe = field(compare=False)

    def print_to(self, console: Console) -> None:
        """Print the tables of ``zoo build --flops``."""
        print_audit(console, self.assembly, self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``zoo build --json`` prints them."""
        return {key: value for key, value in super().to_dict().items() if key != "assembly"}


@dataclass(frozen=True, repr=False)
class AssemblyComparison(Shown, Sequence["Entry"]):
    """Assemblies side by side, each with its cost and with what its runs came to."""

    entries: tuple[Entry, ...]

    def print_to(self, console: Console) -> None:
        """Print the tables of ``zoo compare``."""
        print_comparison(console, self.entries)

    @overload
    def __getitem__(self, place: int) -> Entry: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Entry, ...]: ...
    def __getitem__(self, place: int | slice) -> Entry | tuple[Entry, ...]:
        return self.entries[place]

    def __len__(self) -> int:
        return len(self.entries)


@dataclass(frozen=True, repr=False)
class Diagram:
    """A drawing, which a notebook shows.

    Attributes:
        name: of the recipe.
        svg: the document.
    """

    name: str
    svg: str

    def save(self, path: str | Path) -> None:
        """Write it; a file of that name is replaced, whole or not at all.

        Raises:
            ZooError: the name does not end in ``.svg``, or the file cannot be written.
        """
        if Path(path).suffix != ".svg":
            raise ZooError(f"{path}: let the name end in .svg")
        write_whole(Path(path), self.svg, RunError)

    def __repr__(self) -> str:
        return f"<diagram of {self.name}: a notebook shows it, .save('{self.name}.svg') writes it>"

    def _repr_svg_(self) -> str:
        return self.svg


def cost(
    assembly: RecipeLike,
    overrides: Overrides = (),
    *,
    registry: Registry | None = None,
    parts: PartsLike = (),
) -> AssemblyCost:
    """Count parameters, multiply-adds and tokens, per part and per stage, without allocating anything.

    Args:
        assembly: a backbone (its recipe is counted), a validated recipe, or the path, name or plain values of one.
        overrides: as ``zoo.build`` takes them.
        registry: the parts to choose from; all installed ones if left out.
        parts: more of them, in no package: classes marked by ``@zoo.part``, or paths of Python files with such.

    Raises:
        AuditError: the assembly cannot be counted exactly.
        RecipeError: the recipe cannot be read or built.
        ValueError: overrides or parts beside what is validated, or a backbone without a recipe.
    """
    recipe = as_recipe(assembly, overrides, registry, parts)
    return AssemblyCost(**vars(audit(recipe)), assembly=recipe)


def diagram(
    assembly: RecipeLike,
    overrides: Overrides = (),
    *,
    registry: Registry | None = None,
    parts: PartsLike = (),
) -> Diagram:
    """Draw the way of the tokens; levels are as wide as what they cost.

    Args:
        assembly: as ``zoo.cost`` takes it.
        overrides: as ``zoo.build`` takes them.
        registry: the parts to choose from; all installed ones if left out.
        parts: more of them, in no package: classes marked by ``@zoo.part``, or paths of Python files with such.

    Raises:
        AuditError: the assembly cannot be counted exactly.
        RecipeError: the recipe cannot be read or built.
        ValueError: overrides or parts beside what is validated, or a backbone without a recipe.
    """
    recipe = as_recipe(assembly, overrides, registry, parts)
    return Diagram(recipe.name, drawings.diagram(audit(recipe), recipe))


def compare(
    assemblies: Iterable[RecipeLike],
    *,
    registry: Registry | None = None,
    parts: PartsLike = (),
    device: str | None = None,
) -> AssemblyComparison:
    """Costs side by side, and what runs came to.

    Args:
        assemblies: each as ``zoo.cost`` takes it, or the folder of a run. Runs of one recipe that differ in their seeds
            alone make one entry; one that has not been judged is judged now; of one that cannot be there is a warning.
        registry: the parts to choose from; all installed ones if left out.
        parts: more of them, in no package: classes marked by ``@zoo.part``, or paths of Python files with such.
        device: where runs are judged; a GPU if there is one.

    Raises:
        AuditError: an assembly cannot be counted exactly.
        RecipeError: a recipe cannot be read or built.
    """
    # What trains takes a while to import, and costs need none of it.
    from zoo.distributed.distributed import join_processes, refuse_several
    from zoo.report.comparison import Comparison
    from zoo.runs.run_folder import load_run

    given: Any = assemblies
    if isinstance(given, str | Path | Recipe | nn.Module | Mapping) or not isinstance(given, Iterable):
        alone = repr(given) if isinstance(given, str | Path) else with_article(type(given).__name__)
        raise ValueError(f"give a list of assemblies, such as ['dit_b', 'mpdit_b'], not {alone} alone")
    registry = (registry or Registry.installed()).with_parts(parts)
    given = list(given)
    if not given:
        raise ValueError("give assemblies to compare, such as ['dit_b', 'mpdit_b']")
    runs = [each for each in given if isinstance(each, str | Path) and holds_run(Path(each))]
    recipes = [as_recipe(each, (), registry) for each in given if not any(each is run for run in runs)]
    with join_processes(device) as world:
        refuse_several(world, "compare")
        comparison = Comparison(recipes, [load_run(Path(run)) for run in runs], (), registry, world)
        entries = tuple(comparison.entries())
    for problem in comparison.problems:
        warnings.warn(problem.words, stacklevel=2)
    return AssemblyComparison(entries)
