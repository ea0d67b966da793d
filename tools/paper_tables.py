"""Compare every row of the papers' cost tables with our recipes: paper, ours, difference, as Markdown.

    python tools/paper_tables.py            # print the tables
    python tools/paper_tables.py --check    # the same, and exit 1 if a row is out of tolerance

The rows, with their sources, are in ``paper_tables.yaml`` beside this file. Recipes of the packages under ``plugins/``
are among them, which need not be installed. It takes about a minute.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import yaml
from rich.console import Console
from rich.progress import track

from zoo import Registry, hookimpl, load_recipe
from zoo.audit import Audit, audit
from zoo.plugins import Plugin

HERE = Path(__file__).parent
DATA = HERE / "paper_tables.yaml"
RECIPES = HERE.parent / "recipes"
PACKAGES = HERE.parent / "plugins"

MACS_LIMIT = 0.001  # of the true count
MPDIT_LIMIT_G = 0.1
PERCENT_LIMIT = 0.1
DECIMAL_PARAMS_LIMIT_M = 0.1
WHOLE_PARAMS_LIMIT_M = 1.1

AuditOf = Callable[..., Audit]
"""Of a recipe by name, and of what is otherwise."""

ONE_PATCH = (
    "backbone.patch_schedule={type: uniform, patch: 2}",
    "backbone.stage_embedder=none",
    "sample.guidance=1.0",
)
SCHEDULES = ("one", "by_depth", "by_timestep", "both")

Convention = Literal["MPDiT", "torchprofile", "with norms", "-"]
"""By which the printed figure was counted: MPDiT's, torchprofile's, multiply-adds and the operations of norms; "-": by
none of these."""


@dataclass(frozen=True)
class Row:
    """A row of a paper's table, with our recipe for it; figures that are not printed are None."""

    table: str
    row: str
    recipe: str
    params_m: float | None = None
    params_limit_m: float | None = None
    gmacs_true: float | None = None
    gmacs_here: float | None = None
    gmacs_paper: float | None = None
    convention: Convention = "MPDiT"
    against: str | None = None
    percent_true: float | None = None
    percent_paper: float | None = None
    note: str = ""

    @property
    def parameters_limit(self) -> float:
        """How far our parameters may be from the printed ones, in millions."""
        if self.params_limit_m is not None:
            return self.params_limit_m
        return DECIMAL_PARAMS_LIMIT_M if isinstance(self.params_m, float) else WHOLE_PARAMS_LIMIT_M

    @property
    def convention_limit(self) -> float | None:
        """How far ours may be from the printed multiply-adds, in 10^9: as they are rounded, but for MPDiT's.

        None where they are counted by no convention.
        """
        if self.convention in ("-", "MPDiT"):
            return MPDIT_LIMIT_G if self.convention == "MPDiT" else None
        decimals = len(str(self.gmacs_paper).partition(".")[2])
        return 0.5 * 10**-decimals + 1e-9


@dataclass(frozen=True)
class Figure:
    """One figure of a row beside ours; ``limit`` is how far they may be apart, None where they are only shown."""

    paper: float
    ours: float
    limit: float | None

    @property
    def difference(self) -> float:
        """Ours - paper."""
        return self.ours - self.paper

    @property
    def within(self) -> bool:
        """Whether the difference is within the limit."""
        return self.limit is None or abs(self.difference) <= self.limit


def load_rows(path: Path = DATA) -> list[Row]:
    """Every row of every table."""
    tables = yaml.safe_load(path.read_text(encoding="utf-8"))["tables"]
    return [Row(table=table["title"], **row) for table in tables for row in table["rows"]]


def compare(row: Row, audit_of: AuditOf) -> dict[str, Figure]:
    """The figures of a row beside ours: ``parameters`` in M, ``macs`` and ``convention`` in G, shares in percent."""
    ours = audit_of(row.recipe)
    figures = {}
    if row.params_m is not None:
        figures["parameters"] = Figure(row.params_m, ours.params.total / 1e6, row.parameters_limit)
    if row.gmacs_true is not None:
        limit = MACS_LIMIT * row.gmacs_true
        figures["macs"] = Figure(row.gmacs_true, ours.macs / 1e9, limit if row.gmacs_here is None else None)
    if row.gmacs_here is not None:
        figures["macs_here"] = Figure(row.gmacs_here, ours.macs / 1e9, MACS_LIMIT * row.gmacs_here)
    if row.gmacs_paper is not None and (counted := as_counted(ours, row.convention)) is not None:
        figures["convention"] = Figure(row.gmacs_paper, counted / 1e9, row.convention_limit)
    if row.against is not None:
        share = 100 * block_macs(ours) / block_macs(audit_of(row.against))
        if row.percent_true is not None:
            figures["percent"] = Figure(row.percent_true, share, PERCENT_LIMIT)
        if row.percent_paper is not None:
            figures["percent_paper"] = Figure(row.percent_paper, share, None)
    return figures


@dataclass(frozen=True)
class Block:
    """A kind of block, and its recipe in each schedule that it has one of."""

    block: str
    one: str | None = None
    by_depth: str | None = None
    by_timestep: str | None = None
    both: str | None = None


def load_blocks(path: Path = DATA) -> list[Block]:
    """Every block with its recipes."""
    return [Block(**row) for row in yaml.safe_load(path.read_text(encoding="utf-8"))["blocks"]]


def costs_of(block: Block, audit_of: AuditOf) -> dict[str, int]:
    """Multiply-adds in each schedule; those of one patch first."""
    costs = {} if block.one is not None else {"one": audit_of(block.by_timestep, *ONE_PATCH).macs}
    recipes = {name: recipe for name in SCHEDULES if (recipe := getattr(block, name)) is not None}
    return costs | {name: audit_of(recipe).macs for name, recipe in recipes.items()}


def markdown_of_blocks(blocks: list[Block], costs: list[dict[str, int]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield "| block, at B size | one patch (G) | MPDiT's levels (G) | PPFlow's stages (G) | both (G) |"
    yield "| --- |" + " ---: |" * 4
    first, *others = SCHEDULES
    for block, found in zip(blocks, costs, strict=True):
        shared = (
            f"{found[name] / 1e9:.3f} ({found[name] / found[first]:.1%})" if name in found else "-" for name in others
        )
        yield f"| {' | '.join([block.block, f'{found[first] / 1e9:.3f}', *shared])} |"


def as_counted(report: Audit, convention: Convention) -> int | None:
    """What an assembly costs by a convention; its multiply-adds where there is none."""
    counted = {
        "MPDiT": report.paper_convention.macs,
        "torchprofile": report.torchprofile_convention.macs,
        "with norms": report.macs + report.norm_ops,
    }
    return counted.get(convention, report.macs)


def block_macs(report: Audit) -> float:
    """Multiply-adds of the blocks, averaged over uniform noise levels."""
    return sum(stage.share * level.macs for stage in report.stages for level in stage.levels)


def with_packages() -> Registry:
    """The built-in parts, and those of the packages beside, whether these are installed or not."""
    registry = Registry()
    for path in sorted(PACKAGES.glob("*/pyproject.toml")):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        sys.path.append(str(path.parent))
        named = [value.partition(":") for value in project["entry-points"].get("zoo.parts", {}).values()]
        classes = [getattr(import_module(module), name) for module, _, name in named]
        hooks = SimpleNamespace(zoo_parts=hookimpl(lambda classes=classes: classes))
        registry.register(hooks, Plugin(project["name"], project["version"]))
    return registry


def recipes() -> dict[str, Path]:
    """Every recipe by its name, those of the packages among them."""
    return {path.stem: path for path in (*RECIPES.rglob("*.yaml"), *PACKAGES.glob("*/*/recipes/*.yaml"))}


def auditor() -> AuditOf:
    """Audits of all recipes by name, each counted once."""
    registry, paths = with_packages(), recipes()
    return cache(lambda name, *otherwise: audit(load_recipe(paths[name], otherwise, registry)))


def notes_of(rows: list[Row]) -> list[str]:
    """What is said below the tables, once each."""
    return list(dict.fromkeys(row.note for row in rows if row.note))


def line_of(row: Row, found: dict[str, Figure], notes: list[str]) -> str:
    """A row of one of the two tables: of shares, where it is told against another recipe, or of costs."""
    mark = f" [{notes.index(row.note) + 1}]" if row.note else ""
    if row.against is None:
        params, macs, convention = (found.get(name) for name in ("parameters", "macs", "convention"))
        printed = 1 if isinstance(row.params_m, float) else 0
        paper, *so_counted = _cells(convention, 2, 2).split(" | ")
        counted = [paper, row.convention if convention else "-", *so_counted]
        groups = [_cells(params, printed, 2), _cells(macs, 3, 3, percent=True), *counted]
    else:
        printed_share = f"{row.percent_paper:.1f}" if row.percent_paper is not None else "-"
        groups = [_cells(found["percent"], 1, 2), printed_share]
    return "| " + " | ".join([row.table, row.row + mark, f"`{row.recipe}`", *groups]) + " |"


def markdown(rows: list[Row], figures: list[dict[str, Figure]]) -> Iterator[str]:
    """The lines of two Markdown tables, costs and shares, and their notes."""
    notes = notes_of(rows)
    lines = [(row.against is None, line_of(row, found, notes)) for row, found in zip(rows, figures, strict=True)]
    columns = ("parameters (M): paper", "multiply-adds (G): true")
    heads = " | ".join(f"{column} | ours | difference" for column in columns)
    yield f"| table | row | recipe | {heads} | printed (G) | counted as | ours, so counted | difference |"
    yield "| --- | --- | --- |" + " ---: |" * 7 + " --- |" + " ---: |" * 2
    yield from (line for is_cost, line in lines if is_cost)
    yield ""
    yield "| table | row | recipe | share of the blocks' cost (%): true | ours | difference | paper |"
    yield "| --- | --- | --- |" + " ---: |" * 4
    yield from (line for is_cost, line in lines if not is_cost)
    yield ""
    yield from (f"{index}. {note[:1].upper()}{note[1:]}." for index, note in enumerate(notes, start=1))


def _cells(figure: Figure | None, printed: int, digits: int, *, percent: bool = False) -> str:
    if figure is None:
        return "- | - | -"
    difference = f"{figure.difference / figure.paper:+.3%}" if percent else f"{figure.difference:+.{digits}f}"
    if figure.limit is None:
        difference = f"({difference})"
    elif not figure.within:
        difference = f"**{difference}**"
    return f"{figure.paper:.{printed}f} | {figure.ours:.{digits}f} | {difference}"


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; the exit code is 1 if ``--check`` finds a row out of tolerance."""
    parser = argparse.ArgumentParser(description="The papers' cost tables beside ours, as Markdown.")
    parser.add_argument("--check", action="store_true", help="exit 1 if a row is out of tolerance")
    check = parser.parse_args(arguments).check
    rows, audit_of = load_rows(), auditor()
    console = Console(stderr=True)
    steps = track(rows, "counting", console=console, disable=not console.is_terminal, transient=True)
    figures = [compare(row, audit_of) for row in steps]
    print("\n".join(markdown(rows, figures)))
    blocks = load_blocks()
    print("", *markdown_of_blocks(blocks, [costs_of(each, audit_of) for each in blocks]), sep="\n")
    wrong = [
        f"{row.table}: {row.row}: {name} {figure.ours:.4f}, not {figure.paper} within {figure.limit:.4g}"
        for row, found in zip(rows, figures, strict=True)
        for name, figure in found.items()
        if not figure.within
    ]
    if wrong:
        print("out of tolerance:", *wrong, sep="\n  ", file=sys.stderr)
    return 1 if check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
