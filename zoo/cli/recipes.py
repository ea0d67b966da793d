"""``zoo recipes``: the recipes that have a name."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from zoo.cli.common import Debug, console, warn
from zoo.recipe import list_recipes


def recipes(
    paths: Annotated[bool, typer.Option("--paths", help="Print the files, one a line.")] = False,
    debug: Debug = False,
) -> None:
    """List recipes: those in ./recipes, of zoo itself and of plug-ins."""
    found, problems = list_recipes()
    if paths:
        print("\n".join(str(recipe.path) for recipe in found))
    else:
        table = Table("recipe", "what it is", "from", box=None, pad_edge=False)
        for recipe in found:
            plugin = recipe.plugin
            table.add_row(
                f"[bold]{escape(recipe.name)}[/]",
                escape(recipe.title),
                f"{plugin.name} {plugin.version}" if plugin else "./recipes",
            )
        console().print(table)
    warn(problems, debug=debug)
