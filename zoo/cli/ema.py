"""``zoo ema``: an average of a run's weights that it has not kept, of those that it has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.common import Debug, PartsFiles, installed_registry, tell, tidy_when_stopped, warn_of
from zoo.errors import ZooError
from zoo.recipe.averages import LEAST, MOST, Profile


@tidy_when_stopped()
def ema(
    run: Annotated[Path, typer.Option("--run", metavar="D", help="The folder of a run.", show_default=False)],
    std: Annotated[
        float,
        typer.Option("--std", min=LEAST, max=MOST, metavar="S", help="Of the profile.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", dir_okay=False, help="The .safetensors to write.", show_default=False),
    ],
    step: Annotated[
        int | None, typer.Option("--step", min=1, metavar="N", help="Of a snapshot. (default: the newest)")
    ] = None,
    parts: PartsFiles = None,
    debug: Debug = False,
) -> None:
    """Average the weights of a run by another of EDM2's profiles than those that it was trained with.

    Runs with such as `train.ema: [{std: 0.05}, {std: 0.1}]` keep snapshots of these averages; of them comes that of any
    std between, and somewhat beyond. It is written as a weight file, for `zoo sample`, `zoo eval` and `zoo.load`.
    """
    if out.suffix != ".safetensors":
        raise ZooError(f"--out {out}: zoo writes safetensors; let the name end in .safetensors")

    from zoo.runs.posthoc import combined
    from zoo.weights import refuse_existing, write_weights

    refuse_existing(out)
    given, distance = combined(run, Profile(std=std), installed_registry(parts), step, warn_of)
    write_weights(out, given.tensors, given.recipe, source=given.source, classes=given.classes, versions=given.versions)
    steps = given.source["snapshots"]
    tell(f"made of the snapshots of {len(steps)} step{'s' * (len(steps) != 1)} up to {steps[-1]}")
    tell(f"its profile differs by {distance:.2%} from that of std {std}")
    tell(f"wrote {out}")
