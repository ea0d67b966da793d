"""``zoo eval``: how good the samples of a run are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.common import Debug, console, installed_registry, warn_of
from zoo.cli.run_or_file import check_overrides, read_recipe_of


def evaluate(
    run: Annotated[
        Path,
        typer.Option("--run", metavar="D", help="The folder of a run, or a weight file of zoo's.", show_default=False),
    ],
    count: Annotated[int | None, typer.Option("--count", min=2, metavar="N", help="Images. (default: 500)")] = None,
    with_controls: Annotated[
        bool, typer.Option("--controls", help="Judge noise, class means, shuffled labels and a copy as well.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Of a run, take the last weights, not the averaged ones.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Of the noise.")] = 0,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value of `sample`, `data` or `evaluate`."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", dir_okay=False, help="Write figures and record as JSON.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="Such as cpu or cuda. (default: cuda if there is one, else cpu)")
    ] = None,
    debug: Debug = False,
) -> None:
    """Draw images and compare them with the real ones: figures, beside those of real images that training has not seen.

    No single figure tells a good model: class means are read as asked, and shuffled labels are as varied as real
    images. --controls shows which figure each of such impostors fails.
    """
    check_overrides(overrides or (), ("sample", "data", "evaluate"))
    tree = read_recipe_of(run, [*(overrides or ()), *([] if count is None else [f"evaluate.count={count}"])])

    from zoo.assembly import check_tree
    from zoo.cli.tables import print_figures
    from zoo.train.distributed import join_world
    from zoo.train.evaluation import evaluate as judged
    from zoo.train.weights import open_weights
    from zoo.weights import refuse_existing, write_whole

    if out is not None:
        refuse_existing(out)
    registry = installed_registry()
    recipe = check_tree(tree, registry)
    weights = open_weights(run, registry, raw=raw, tell=warn_of)
    with join_world(device) as world:
        found = judged(weights, recipe, registry, world.device, seed=seed, with_controls=with_controls)
    print_figures(console(), recipe, found.figures, found.record)
    if out is not None:
        text = json.dumps({"figures": found.figures, **found.record}, indent=1) + "\n"
        write_whole(out, lambda path: path.write_text(text, encoding="utf-8"))
        print(f"wrote {out}", file=sys.stderr)
