"""That a run goes on with the data that it began with, and that all of its processes read the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from zoo.data.fingerprint import Fingerprint
from zoo.data.left_out import way_without
from zoo.distributed.distributed import Distributed
from zoo.errors import DataError, listed
from zoo.recipe import Recipe
from zoo.runs import checkpoint as checkpoints
from zoo.runs.made import data_in
from zoo.runs.run_folder import RunFolder
from zoo.signature import places_of
from zoo.train.job import Job


def agreed(job: Job, world: Distributed) -> Job:
    """The job with the fingerprint of its data that the main process has taken; every process takes part.

    Raises:
        DataError: another process reads other data.
    """
    own = torch.frombuffer(bytearray(bytes.fromhex(job.data.order())), dtype=torch.uint8)
    main, *others = world.gather(own)
    ranks = [str(rank) for rank, digest in enumerate(others, 1) if not torch.equal(digest, main)]
    if ranks:
        raise DataError(
            f"dataset {job.recipe.data.dataset.type}: process {', '.join(ranks)} reads other data than process 0: other"
            " names, labels or order; copy it anew to that machine, or read it from one place"
        )
    return replace(job, data=world.first(lambda: job.data))


def where_it_moved(recipe: Recipe, command: str) -> str:
    """How to go on where data is no longer in its place, as the end of a message; empty where it is."""
    options = recipe.data.dataset.options
    for name, place in places_of(type(options)).items():
        folder = getattr(options, name)
        if isinstance(folder, str) and not place.or_name and not Path(folder).expanduser().exists():
            return f"; if it was moved: {command} --set data.dataset.{name}=FOLDER"
    return ""


def changes_since_newest(run: RunFolder, now: Fingerprint, left_out: Sequence[str]) -> Iterator[str]:
    """What a run would say of its data if it went on from its newest checkpoint; nothing where it has none.

    Raises:
        DataError: it would not go on with it.
        RunError: what the checkpoint says of the data cannot be used.
    """
    newest, _ = checkpoints.latest(run.checkpoints, ())
    if newest is not None:
        yield from refuse_changed(data_in(newest.state(), newest.path), now, newest.path, left_out)


def refuse_changed(before: Fingerprint, now: Fingerprint, where: Path, left_out: Sequence[str]) -> Iterator[str]:
    """Refuse to go on from a checkpoint with other data than it was trained on.

    Args:
        before: of that.
        now: of the data that is here.
        where: the checkpoint is, in the folder of its run.
        left_out: ids of samples that are left out already.

    Returns:
        What to warn of, since it may be harmless.

    Raises:
        DataError: samples, labels or their order are others; the message says what moved.
    """
    found = now.changes_since(before)
    if found.moved:
        back = "put it back as it was"
        if now.samples < before.samples and now.of == "class":
            way = way_without(left_out, ["CLASS/FILE"], RunFolder(where.parent.parent).commands)
            back += f"; or make an empty file in place of each that is gone, and go on by: {way}"
        raise DataError(
            f"{where}: the data is not what was trained on: {listed(found.moved)}; {back}, or begin another run with"
            f" train.init={where.parent.parent}"
        )
    if found.replaced:  # such as by somebody who has mended pictures that could not be read
        yield (
            f"{listed(found.replaced)}: files of other sizes under the same names since {where}; training goes on with"
            " those that are there now"
        )
    if found.touched:
        yield (
            f"{listed(found.touched)}: files have been copied or changed since {where}, to the same names and sizes;"
            " `zoo data check` looks into them"
        )
