"""``zoo plugins``: which packages plug in, what they bring, and what is wrong with them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from zoo.claims import is_named
from zoo.cli.common import Debug, console, print_traceback, tell, warn_of
from zoo.cli.plugin_commands import PluginCommands
from zoo.plugins import (
    COMMANDS,
    DISTRIBUTION,
    PARTS,
    RECIPES,
    Package,
    PluginProblem,
    plugin_packages,
    unknown_plugins,
)
from zoo.recipe import list_recipes
from zoo.registry import Registry


@dataclass
class Brought:
    """What packages bring, by what it is and by their names; and what is wrong."""

    names: defaultdict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    problems: list[PluginProblem] = field(default_factory=list)


def plugins(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    no_load: Annotated[
        bool, typer.Option("--no-load", help="Import none of them: list what their metadata tells.")
    ] = False,
    debug: Debug = False,
) -> None:
    """List the packages that plug in: version, the diffusion-zoo they ask for, what they bring, and their state.

    The state is ok, failed, or disabled by ZOO_PLUGINS; what is wrong is told in a line each. The exit code is 2 if
    anything of a package is missing, else 0.
    """
    packages = plugin_packages()
    brought = _named(packages) if no_load else _loaded(packages, context.obj)
    rows = [_row(package, brought, is_loaded=not no_load) for package in packages]
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows:
        _print_table(rows)
    else:
        print("no package plugs in")
    for line in unknown_plugins(packages):
        warn_of(line)
    if not as_json:
        for line in dict.fromkeys(problem.line for problem in brought.problems):
            warn_of(line)
        for line in _namesakes(packages):
            tell(line)
    if debug:
        for problem in brought.problems:
            print_traceback(problem)
    if any(row["state"] == "failed" for row in rows):
        raise typer.Exit(2)


def _named(packages: Sequence[Package]) -> Brought:
    """What the metadata of packages tells."""
    brought = Brought(problems=[package.problem for package in packages if package.problem is not None])
    for package in packages:
        for entry_point in package.of(PARTS):
            brought.names["parts", package.plugin.name].append(_words(entry_point))
        for entry_point in package.of(RECIPES):
            brought.names["recipes", package.plugin.name].append(f"all of {entry_point.value}")
    return brought


def _words(entry_point: Any) -> str:
    return entry_point.name if is_named(entry_point) else f"all of {entry_point.value}"


def _loaded(packages: list[Package], commands: PluginCommands | None) -> Brought:
    """What packages bring, all of it loaded."""
    registry, brought = Registry.installed(), Brought()
    if commands is not None:
        commands.tell = lambda problem: None
        commands.names()
        brought.problems += commands.problems
    for entry in registry.entries():
        brought.names["parts", entry.plugin.name].append(f"{entry.kind}/{entry.name}")
    for each in registry.formats.values():
        brought.names["formats", each.plugin.name].append(each.name)
    recipes, of_recipes = list_recipes(packages)
    for recipe in recipes:
        if recipe.plugin is not None:
            brought.names["recipes", recipe.plugin.name].append(recipe.name)
    brought.problems += [*registry.problems, *of_recipes]
    brought.names |= _named([package for package in packages if package.is_disabled]).names
    return brought


def _row(package: Package, brought: Brought, *, is_loaded: bool) -> dict[str, Any]:
    own = [each for each in brought.problems if package.plugin in each.plugins]
    if package.is_disabled:
        state = "disabled"
    elif any(each.missing for each in own):
        state = "failed"
    else:
        state = "ok" if is_loaded else "not loaded"
    return {
        "distribution": package.plugin.name,
        "version": package.plugin.version,
        "requires": None if package.requires is None else f"{DISTRIBUTION}{package.requires}",
        **{what: brought.names[what, package.plugin.name] for what in ("parts", "formats", "recipes")},
        "commands": [entry_point.name for entry_point in package.of(COMMANDS)],
        "state": state,
        "problems": list(dict.fromkeys(each.reason for each in own)),
    }


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    columns = ("distribution", "version", "requires", "parts", "formats", "recipes", "commands", "state")
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        cells = (row[each] for each in columns)
        table.add_row(*(escape("\n".join(cell) if isinstance(cell, list) else cell or "") or "-" for cell in cells))
    console().print(table)


def _namesakes(packages: Sequence[Package]) -> list[str]:
    """Entry points of one name in two packages, which does no harm where the name says nothing."""
    owners: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for package in packages:
        for group in (PARTS, RECIPES):
            for entry_point in package.of(group):
                if not is_named(entry_point) and not package.is_idle:
                    owners[group, entry_point.name].append(str(package.plugin))
    return [
        f"{' and '.join(who)} have an entry point {name!r} in {group} each; all are loaded"
        for (group, name), who in owners.items()
        if len(who) > 1
    ]
