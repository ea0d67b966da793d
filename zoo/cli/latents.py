"""``zoo latents``: pictures encoded by a VAE, to train on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from zoo.cli.common import Debug, Device, PartsFiles, installed_registry, tell, tidy_when_stopped
from zoo.cli.going_on import told_how_to_go_on
from zoo.cli.processes import start_if_several
from zoo.errors import ZooError
from zoo.pace import Pace

if TYPE_CHECKING:
    from zoo.distributed.distributed import Distributed
    from zoo.recipe import PartSpec
    from zoo.registry import Registry


@tidy_when_stopped()
def latents(
    vae: Annotated[
        str,
        typer.Option(
            "--vae",
            metavar="V",
            help="A folder or hub id of diffusers' AutoencoderKL or AutoencoderDC.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", file_okay=False, help="A new folder for the latents.", show_default=False),
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Where the pictures are: the dataset's folder.", show_default=False),
    ] = None,
    size: Annotated[
        str, typer.Option("--size", metavar="PIXELS", help="Side of the pictures, or HEIGHTxWIDTH; cropped to it.")
    ] = "256",
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            metavar="D",
            help="One of `zoo parts --kind dataset`, with options as recipes write them: '{type: webdataset,"
            " held_out: 0.05}'.",
        ),
    ] = "images",
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="An option of the dataset, such as data.dataset.label=cls. Repeatable."
        ),
    ] = None,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Encode the mirrored pictures too.")] = True,
    labels: Annotated[bool, typer.Option("--labels/--no-labels", help="Store labels, which are class indices.")] = True,
    dtype: Annotated[Literal["float16", "float32"], typer.Option("--dtype", help="Of what is stored.")] = "float16",
    batch: Annotated[
        int, typer.Option("--batch", min=1, metavar="N", help="Pictures of a pass; twice as many with mirrored ones.")
    ] = 32,
    shard: Annotated[int, typer.Option("--shard", min=1, metavar="N", help="Samples of a file.")] = 4096,
    workers: Annotated[
        int, typer.Option("--workers", min=0, metavar="N", help="Processes of each process that read ahead.")
    ] = 4,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the files that are complete.")] = False,
    procs: Annotated[
        int, typer.Option("--procs", min=1, metavar="N", help="Processes on this machine; torchrun does as well.")
    ] = 1,
    device: Device = None,
    parts: PartsFiles = None,
    debug: Debug = False,
) -> None:
    """Encode pictures by a VAE into latents, which the dataset `latents` trains on.

    Takes a folder of pictures with a sub-folder for each class; by --dataset tar files (webdataset), tables
    (huggingface) or any other pictures. What the dataset holds out goes into a folder of its own. Files are the same
    for any number of processes, and after a stop and --resume.
    """
    height_width = _size(size)
    start_if_several(procs)

    from zoo.assembly import dataset_of
    from zoo.data.extraction import Extraction, extract
    from zoo.distributed.distributed import join_processes
    from zoo.distributed.failures import told_plainly
    from zoo.sampling.beside_data import refuse_inside

    spec = _spec(folder, dataset, overrides or (), installed_registry(parts))
    asked = Extraction(out, vae, height_width, batch, shard, dtype, flip, labels, workers, resume)
    refuse_inside(out, spec.options, lambda: dataset_of(spec, 3, height_width, 0), "choose another --out")
    with (
        join_processes(device) as world,
        told_plainly(),
        _Shown(world) as shown,
        told_how_to_go_on(world, lambda: asked.are_some_kept),
    ):
        splits = extract(asked, lambda *supplied: dataset_of(spec, *supplied), world, shown)
    for split in splits if world.is_main else ():
        print(f"{split.out}: {len(split.source)} latents of {split.num_classes or 'no'} classes")


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text, re.ASCII)
    height, width = (0, 0) if found is None else (int(found[1]), int(found[2] or found[1]))
    if not height * width:
        raise ZooError(f"--size {text}: write the side of pictures in pixels, or HEIGHTxWIDTH, such as 256 or 256x384")
    return height, width


def _spec(folder: Path | None, dataset: str, overrides: Sequence[str], registry: Registry) -> PartSpec:
    """The dataset with its options."""
    from zoo.recipe import overridden, part_given
    from zoo.recipe.source import Node, Origin

    for each in overrides:
        if not each.startswith("data.dataset."):
            raise ZooError(f"--set {each}: only options of the dataset can be set here, such as data.dataset.label=cls")
    tree = overridden(Node({}, Origin("--dataset")), [f"data.dataset={dataset}"], option="--dataset")
    given = overridden(tree, overrides).plain()["data"]["dataset"]
    if isinstance(given, dict) and folder is not None:
        if "folder" in given:
            raise ZooError(f"zoo latents: {folder} and data.dataset.folder both say where the pictures are; give one")
        given = {**given, "folder": str(folder)}
    try:
        return part_given("dataset", given, registry)
    except ZooError:
        raise
    except ValueError as error:
        raise ZooError(f"zoo latents: {error}") from error


class _Shown:
    """How it goes: a bar on a terminal, and lines in a log; nothing but on the main process."""

    def __init__(self, world: Distributed) -> None:
        from rich.progress import TextColumn, TimeRemainingColumn

        from zoo.cli.bars import bar

        self._is_main = world.is_main
        self._bar = bar(TimeRemainingColumn(), TextColumn("encoding"))
        self._task = self._bar.add_task("encoding", total=None)
        self._pace: Pace | None = None

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """A line about the data."""
        tell(f"note: {text}")

    def progress(self, done: int, total: int) -> None:
        """So many of so many pictures are done."""
        if not self._is_main:
            return
        if self._pace is None:
            self._pace = Pace(total, done)
            self._bar.start()
        self._bar.update(self._task, total=total, completed=done)
        if self._bar.disable and self._pace.is_due():
            tell(self._pace.line("encoding", done))
