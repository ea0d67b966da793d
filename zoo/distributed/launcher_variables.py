"""Which process of which job this is, as torchrun's environment variables say it. Does not import torch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from zoo.errors import LauncherError

RUN_ID = "TORCHELASTIC_RUN_ID"
"""Is set by torchrun and by ``--procs``."""

OF_OTHERS = {"OMPI_COMM_WORLD_SIZE": "mpirun", "PMI_SIZE": "mpiexec", "SLURM_STEP_NUM_TASKS": "srun"}
"""Variables that count a job's processes, by launchers that do not say what torchrun does."""

START = "start several processes by --procs N, or by torchrun --nproc-per-node N -m zoo ..."


@dataclass(frozen=True)
class Place:
    """A process among those of its job.

    Attributes:
        rank: its number in the job.
        size: number of processes of the job.
        local: its number on its machine.
        address: the host and port at which the processes of a job meet; None for a process alone.
        is_launched: whether a launcher has started it.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    address: tuple[str, int] | None = None
    is_launched: bool = False


def read_place(environment: Mapping[str, str] = os.environ) -> Place:
    """The place of this process.

    Raises:
        LauncherError: the variables do not say it.
    """
    given = [name for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", RUN_ID) if name in environment]
    if not given:
        _refuse_other_launchers(environment)
        return Place()
    for name in ("RANK", "WORLD_SIZE"):
        if name not in environment:
            raise LauncherError(
                f"{given[0]} is set and {name} is not: to run one process, unset {' '.join(given)}; {START}"
            )
    rank, size, local = (_number(environment, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if rank >= size:
        raise LauncherError(f"RANK={rank} must be less than WORLD_SIZE={size}: ranks count from 0")
    return Place(rank, size, local, _address(environment) if size > 1 else None, is_launched=True)


def _refuse_other_launchers(environment: Mapping[str, str]) -> None:
    for name, launcher in OF_OTHERS.items():
        size = environment.get(name, "1")
        if size != "1":
            raise LauncherError(
                f"{name}={size}: {launcher} does not tell a process its RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and"
                f" MASTER_PORT; set them for each, or let {launcher} start one torchrun on every machine"
            )


def _address(environment: Mapping[str, str]) -> tuple[str, int]:
    """Where processes meet: the host and port of the process of rank 0, or of torchrun."""
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if not environment.get(name):
            raise LauncherError(
                f"WORLD_SIZE={environment['WORLD_SIZE']} processes meet at MASTER_ADDR:MASTER_PORT, and {name} is not"
                f" set: set it on all of them to the same; {START}"
            )
    port = _number(environment, "MASTER_PORT")
    if not 0 < port < 1 << 16:
        raise LauncherError(f"MASTER_PORT={port} is no port: it must be from 1 to 65535")
    return environment["MASTER_ADDR"], port


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "0")
    if not re.fullmatch("[0-9]{1,9}", text):
        raise LauncherError(f"{name}={text!a} is no whole number from 0 on; {START}")
    return int(text)
