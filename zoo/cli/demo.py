"""``zoo demo``: everything once, on a small scale."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.build import build
from zoo.cli.common import Debug, installed_registry, tell, try_folder
from zoo.cli.going_on import asked_as
from zoo.cli.sample import sample
from zoo.cli.train import train
from zoo.errors import Preempted, ZooError
from zoo.recipe import holds_run, read_tree
from zoo.shell import command


def demo(
    folder: Annotated[
        Path, typer.Option("--run-dir", metavar="D", file_okay=False, help="A new folder for the run.")
    ] = Path("runs/digits_hybrid"),
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the training. Repeatable."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Audit MPDiT-B beside DiT-B, train a small hybrid on scikit-learn's digits, and draw from it: minutes on a CPU.

    Each command is told before it runs.
    """
    if folder.exists():
        again = command("zoo", "train", "--resume", "--run-dir", folder)
        draws = command("zoo", "sample", "--run", folder, "--count", "100", "--out", folder / "images")
        goes_on = f"`{again}` goes on with its run, and `{draws}` draws; " * holds_run(folder)
        raise ZooError(
            f"{folder}: is there already; {goes_on}remove it to begin anew, or give --run-dir D with another"
        )
    hybrid, dit = "digits_hybrid", "digits_dit"
    tree = read_tree(hybrid, overrides or ())

    from zoo.assembly import check_tree

    check_tree(tree, installed_registry(None))  # what is wrong is said before minutes are spent
    try_folder(folder.parent, f"--run-dir {folder}")
    for recipe, against in (("mpdit_b", "dit_b"), (hybrid, dit)):
        _say("build", "--recipe", recipe, "--flops", "--against", against)
        build(recipe, flops=True, against=against)
    sets = [word for override in overrides or () for word in ("--set", override)]
    _say("train", "--recipe", hybrid, "--run-dir", str(folder), *sets)
    images = folder / "images"
    drawing = ("sample", "--run", str(folder), "--count", "100", "--out", str(images))
    if train(hybrid, overrides, folder):
        raise Preempted(f"{folder}: is trained; `{command('zoo', *drawing)}` draws from it")
    _say(*drawing)
    with asked_as(drawing):
        sample(folder, images, count=100)
    tell(f"what the hybrid draws, a column for each digit: {images / 'grid.png'}")


def _say(*words: str) -> None:
    tell(f"$ {command('zoo', *words)}")
