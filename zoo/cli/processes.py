"""``--procs N``: a command in several processes."""

from __future__ import annotations

import os
import sys

import typer

from zoo.distributed.launcher_variables import RUN_ID, read_place
from zoo.errors import LauncherError


def start_if_several(procs: int) -> None:
    """Run this command in so many processes, and end with their exit code; go on if it is one of them.

    Raises:
        LauncherError: a launcher's variables say that this is one of several already, or what cannot be.
    """
    place = read_place()
    if procs > 1 and RUN_ID not in os.environ:
        if place.is_launched:
            raise LauncherError("--procs starts processes itself, and RANK and WORLD_SIZE are set: unset them")
        from zoo.distributed.launch import launch

        raise typer.Exit(launch(sys.argv[1:], procs))
