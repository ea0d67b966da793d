"""``zoo diagram``: the way of the tokens of an assembly, as a drawing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.common import (
    ARecipe,
    Debug,
    PartsFiles,
    installed_registry,
    tell,
    tidy_when_stopped,
    without_garbage_collection,
)
from zoo.errors import RunError, ZooError
from zoo.recipe import read_tree


@tidy_when_stopped()
@without_garbage_collection()
def diagram(
    recipe: ARecipe,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", dir_okay=False, help="The .svg file to write.", show_default=False),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value, such as backbone.depth=24. Repeatable."),
    ] = None,
    parts: PartsFiles = None,
    debug: Debug = False,
) -> None:
    """Draw the way of the tokens: stages side by side, from the latent through the levels to the velocity.

    A level is as wide as the multiply-adds of its blocks in one pass, on one scale for all stages. The drawing is an
    SVG for papers and pages, light or dark as the reader's theme is; exact figures are in its tooltips.
    """
    if out.suffix != ".svg":
        raise ZooError(f"--out {out}: let the name end in .svg")
    # Before torch is imported, so that a file that is no recipe is refused at once.
    tree = read_tree(recipe, overrides or ())

    from zoo.assembly import check_tree
    from zoo.audit import audit
    from zoo.files import write_whole
    from zoo.report.diagram import diagram as drawn
    from zoo.weights import refuse_existing

    refuse_existing(out)
    registry = installed_registry(parts)
    loaded = check_tree(tree, registry)
    text = drawn(audit(loaded), loaded)
    write_whole(out, text, RunError)
    tell(f"wrote {out}")
