"""``zoo build``: what an assembly is, what it costs, and its initialised weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.common import (
    ARecipe,
    Debug,
    PartsFiles,
    console,
    installed_registry,
    tell,
    tidy_when_stopped,
    without_garbage_collection,
)
from zoo.recipe import Recipe, read_tree


@tidy_when_stopped()
@without_garbage_collection()
def build(
    recipe: ARecipe,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a value, such as backbone.depth=24 or backbone.patch_schedule.levels.0.patch=8. Repeatable.",
        ),
    ] = None,
    flops: Annotated[bool, typer.Option("--flops", help="Count multiply-adds, per part and per stage.")] = False,
    against: Annotated[
        str | None, typer.Option("--against", metavar="R2", help="Tell the cost relative to another recipe's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the audit as one JSON object.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", dir_okay=False, help="Write initialised weights as safetensors, with the recipe."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of the initialised weights.")] = 0,
    parts: PartsFiles = None,
    debug: Debug = False,
) -> None:
    """Compose a backbone from a recipe, and tell what it is and what it costs.

    Counting allocates nothing. Costs are multiply-adds (MACs) of one forward pass at batch 1, which most papers print
    as "FLOPs"; means are over uniformly drawn noise levels.
    """
    # Before torch is imported, so that a file that is no recipe is refused at once.
    tree = read_tree(recipe, overrides or ())
    rival = read_tree(against) if against is not None else None

    from zoo.assembly import check_tree

    if out is not None:
        from zoo.weights import refuse_existing, write_initialised

        refuse_existing(out)
    registry = installed_registry(parts)
    loaded = check_tree(tree, registry)
    other = check_tree(rival, registry) if rival is not None else None
    _print(loaded, other, flops=flops, as_json=as_json)
    if out is not None:
        write_initialised(loaded, out, seed)
        tell(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB, seed {seed})")


def _print(recipe: Recipe, other: Recipe | None, *, flops: bool, as_json: bool) -> None:
    if not (flops or as_json or other):
        from zoo.assembly import build as build_backbone
        from zoo.report.printing import print_assembly

        print_assembly(console(), recipe, build_backbone(recipe, device="meta"))
        return
    from zoo.audit import audit

    own = audit(recipe)
    rival = audit(other) if other else None
    if as_json:
        report = own.to_dict()
        if rival:
            report["against"] = {"recipe": rival.recipe, "params": rival.params.total, "macs": rival.macs}
            report["against"]["ratio"] = own.macs / rival.macs
        print(json.dumps(report))
        return
    from zoo.report.printing import print_audit

    print_audit(console(), recipe, own, rival)
