"""Pages that hold all they show: one HTML file, without scripts, that asks no network for anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from zoo.assembly import check_recorded
from zoo.errors import printable_lines
from zoo.recipe import to_yaml
from zoo.registry import Registry
from zoo.report.comparison import Entry
from zoo.report.page.grids import read_grids
from zoo.report.page.inline import inline
from zoo.report.page.quality import quality_of
from zoo.report.page.run_summary import (
    assembly_of,
    headlines,
    size_words,
    starts_of,
    training_facts,
    training_of,
)
from zoo.report.tables import cost_table, quality_table
from zoo.runs.run_folder import RunFolder
from zoo.shell import command


def run_page(run: RunFolder, registry: Registry) -> str:
    """A page about a run: what was trained, how it went, what it draws, and how good that is.

    Equal folders give equal pages. What a run does not have yet, the page says in its place.

    Args:
        run: finished or not.
        registry: the parts to choose from.

    Raises:
        PluginError: it has a part of a plug-in that is not installed.
        RecipeError: its recipe cannot be built here.
    """
    recorded = run.read_recipe()
    recipe = check_recorded(recorded, registry, ("backbone", "objective", "sample"), other_parts="told")
    assembly, training, quality = assembly_of(recipe), training_of(run, recipe), quality_of(run)
    return _render(
        "run.html",
        title=recipe.name,
        what=size_words(recipe),
        recipe=recipe,
        judge=command("zoo", "eval", "--run", run.path, *run.parts_options),
        headlines=headlines(recipe, assembly, training, quality),
        assembly=assembly,
        training=training,
        training_facts=training_facts(assembly, training),
        quality=quality,
        record="" if quality is None else to_yaml(quality.record),
        grids=read_grids(run.samples),
        starts=starts_of(run),
        recipe_text=to_yaml(recorded.tree.plain()),
    )


def comparison_page(entries: Sequence[Entry], plot_svg: str) -> str:
    """A page that compares assemblies.

    Args:
        entries: at least one; costs are told beside the first's.
        plot_svg: a drawing of matplotlib's.
    """
    return _render(
        "comparison.html",
        title="Assemblies compared",
        plot=inline(plot_svg, "plot", "Assemblies by what they cost and what they come to"),
        tables=[table for table in (cost_table(entries), quality_table(entries)) if table is not None],
    )


def _render(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("zoo.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(values)


def _shown(value: Any) -> Any:
    """What a template puts into a page; names of strangers may hold what no page may."""
    return printable_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value
