"""``zoo export``: weights in the layout of published code, of diffusers, or as a file of zoo's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.common import AtStep, Debug, PartsFiles, WhichWeights, installed_registry, tell, tidy_when_stopped, warn_of
from zoo.cli.run_or_file import step_of
from zoo.errors import ZooError
from zoo.format_entries import RESERVED

PICKLES = (".pt", ".pth", ".bin")


@tidy_when_stopped()
def export(
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS", help="A weight file of zoo's, or a run's folder.", show_default=False)
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="NAME",
            help="Whose layout: dit, sit, ppflow, mpdit, mpditv2, diffusers, zoo, or a plug-in's format.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE", help="A .pt or .safetensors file; of diffusers a new folder.", show_default=False
        ),
    ],
    which: WhichWeights = "ema",
    at_step: AtStep = None,
    parts: PartsFiles = None,
    debug: Debug = False,
) -> None:
    """Write weights so that published code, or diffusers, can use them.

    Published layouts, and those of plug-ins, are a plain state dict; importing it gives the same bits back. diffusers
    is a folder for DiTTransformer2DModel, of an isotropic backbone with adaptive norms, which is then fed noise levels
    from 0 to 1. zoo is a weight file for `zoo.load`, such as of a run.
    """
    wanted = {"zoo": (".safetensors",), "diffusers": None}.get(to, (*PICKLES, ".safetensors"))
    if wanted is not None and out.suffix not in wanted:
        raise ZooError(f"--out {out}: let the name end in {' or '.join(wanted)}")

    from zoo.runs.weights import open_weights
    from zoo.weights import refuse_existing, to_published, with_clock_of, write_published, write_weights

    refuse_existing(out)
    registry = installed_registry(parts, debug=debug)
    if to not in RESERVED:
        registry.get_format(to, RESERVED)
    given = open_weights(weights, registry, weights=which, step=step_of(weights, at_step), tell=warn_of)
    if to == "zoo":
        write_weights(
            out,
            given.tensors,
            given.recipe,
            source=given.source,
            classes=given.classes,
            versions=given.versions,
        )
    elif to == "diffusers":
        from zoo.weights.diffusers_folder import write_diffusers

        write_diffusers(out, given, registry)
    else:
        turned = with_clock_of(given, to, registry)
        tensors = to_published(turned, to, registry)
        write_published(out, tensors, pickle=out.suffix in PICKLES)
        if turned is not given:
            clock = turned.recipe.backbone.time_embedder.resolved()["clock"]
            tell(f"note: time_embedder is turned to {to}'s clock, {clock}: equal up to rounding")
    tell(f"wrote {out}")
