"""``zoo import``: a published checkpoint as a weight file of zoo's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.common import Debug, PartsFiles, WhichWeights, installed_registry, tell, tidy_when_stopped
from zoo.errors import WeightsError, ZooError, printable
from zoo.recipe import read_tree, to_yaml
from zoo.shell import command


@tidy_when_stopped()
def import_checkpoint(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CKPT", help="What torch.save wrote, or safetensors.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", dir_okay=False, help="The .safetensors to write.", show_default=False),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", "-r", metavar="R", help="Of the backbone. (default: inferred, and written beside the weights)"
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value, such as backbone.heads=16. Repeatable."),
    ] = None,
    format: Annotated[  # noqa: A002
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Whose checkpoint it is: dit, sit, ppflow, mpdit, mpditv2, or a plug-in's format. (default: recognised"
            " from its keys)",
        ),
    ] = None,
    which: WhichWeights = "ema",
    parts: PartsFiles = None,
    debug: Debug = False,
) -> None:
    """Turn a published DiT, SiT, PPFlow, MPDiT or MPDiTv2 checkpoint, or one in a plug-in's format, into a weight file.

    Every key must have its place in the recipe's backbone: what is missing, unexpected or misshapen is told, all at
    once, and nothing is written. Pickles run no code. `zoo.load(FILE)` needs no recipe.
    """
    beside = out.with_suffix(".yaml")
    if out.suffix != ".safetensors":
        raise ZooError(f"--out {out}: zoo writes safetensors; let the name end in .safetensors")
    tree = None if recipe is None else read_tree(recipe, overrides or ())

    from zoo.assembly import check_tree
    from zoo.files import write_whole
    from zoo.weights import from_published, read_checkpoint, refuse_existing, write_weights

    for path in (out,) if recipe is not None else (out, beside):
        refuse_existing(path)
    registry = installed_registry(parts, debug=debug)
    if format is not None:
        registry.get_format(format)
    checked = None if tree is None else check_tree(tree, registry)
    converted = from_published(
        read_checkpoint(checkpoint, weights=which),
        checked,
        registry,
        format=format,
        name=out.stem,
        overrides=overrides or (),
    )
    weights = converted.weights
    write_weights(out, weights.tensors, weights.recipe, source=weights.source)
    if recipe is None:
        build = command("zoo", "build", "--recipe", beside.name, "--flops")
        header = f"# {printable(checkpoint.name)}, as its shapes tell.   {build}\n"
        text = header + to_yaml(weights.recipe.resolved())
        try:
            write_whole(beside, text, WeightsError)
        except WeightsError:
            out.unlink()
            raise
    for note in converted.notes:
        tell(f"note: {note}")
    count = f"{len(weights.tensors)} tensors, {out.stat().st_size / 1e6:.1f} MB"
    tell(f"wrote {out} ({converted.format}'s {weights.source['weights']} weights, {count})")
    if recipe is None:
        tell(f"wrote {beside}, the recipe")
