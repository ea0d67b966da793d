"""``zoo inflate``: a backbone with several patches starts from the weights of one with a single patch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from zoo.cli.common import Debug, PartsFiles, WhichWeights, installed_registry, tell, tidy_when_stopped, warn_of
from zoo.errors import WeightsError, ZooError
from zoo.recipe import read_tree


@tidy_when_stopped()
def inflate(
    donor: Annotated[
        Path, typer.Argument(metavar="DONOR", help="A weight file of zoo's, or a run's folder.", show_default=False)
    ],
    recipe: Annotated[
        str,
        typer.Option("--recipe", "-r", metavar="R", help="Of the backbone to start.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", dir_okay=False, help="The .safetensors to write.", show_default=False),
    ],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a value. Repeatable.")
    ] = None,
    allow_new: Annotated[
        bool,
        typer.Option("--allow-new", help="Initialise what the donor cannot fill, and leave what the target lacks."),
    ] = False,
    average: Annotated[
        Literal["pixels", "patches"],
        typer.Option(
            "--average", help="What a coarse patch averages: pixels that lie together, or whole fine patches."
        ),
    ] = "pixels",
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Of what is newly initialised.")] = 0,
    weights: WhichWeights = "ema",
    parts: PartsFiles = None,
    debug: Debug = False,
) -> None:
    """Start a backbone with patches by noise level, by depth or by both from an isotropic one's weights.

    Blocks are copied, coarse patch embedders average, heads repeat, stage embeddings start at zero: the finest stage,
    if it has one level, computes what the donor did. With `upsampler: linear`, finer tokens start as repeats of the
    coarse ones, to which the skip adds what the donor's patch embedder sees.
    """
    if out.suffix != ".safetensors":
        raise ZooError(f"--out {out}: zoo writes safetensors; let the name end in .safetensors")
    tree = read_tree(recipe, overrides or ())

    from zoo import weights as files
    from zoo.assembly import check_tree
    from zoo.runs.weights import open_weights

    files.refuse_existing(out)
    registry = installed_registry(parts)
    target = check_tree(tree, registry)
    given = open_weights(donor, registry, weights=weights, other_parts="told", tell=warn_of)
    surgery = files.inflate(given, target, registry, average=average)
    lines = list(surgery.lines())
    if lines and not allow_new:
        raise WeightsError(f"{donor}: does not fill all of {target.name}; --allow-new starts it all the same", lines)
    tensors = surgery.tensors
    if surgery.new:
        tensors = files.initialise_rest(surgery, files.initialised(target, out, seed))
    source = {**given.source, "recipe": given.recipe.name, "average": average, "new": surgery.new}
    fresh = seed if surgery.new else None
    files.write_weights(out, tensors, target, source=source, seed=fresh, classes=given.classes)
    for line in [*surgery.notes, *lines]:
        tell(f"note: {line}")
    tell(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")
