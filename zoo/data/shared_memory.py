"""The memory by which data workers hand over what they read, and what too little of it and too few cores come to."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has it

FULL = (
    f"{SHARED_MEMORY}, by which workers hand over samples, is full: set data.workers lower, or make it larger (docker"
    " run --shm-size)"
)


def concerns(workers: int, processes: int, batch_bytes: int) -> list[str]:
    """What may go wrong with so many workers on this machine, a line each.

    Args:
        workers: of each process.
        processes: of the job on this machine.
        batch_bytes: of what a worker reads at once.
    """
    found = []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers * processes > cores:
        all_of_them = f"{workers * processes} data workers (data.workers: {workers}, processes: {processes})"
        found.append(f"warning: {all_of_them} on {cores} processor cores slow each other down; set data.workers lower")
    with suppress(OSError, AttributeError):  # not on all systems
        disk = os.statvfs(SHARED_MEMORY)
        free = disk.f_bavail * disk.f_frsize
        # Each worker has PyTorch's two batches ahead, and each process one at hand.
        need = processes * (2 * workers + 1) * batch_bytes if workers else 0
        if need > free:
            found.append(
                f"warning: {SHARED_MEMORY} has {free / 1e6:.1f} MB free, and data workers may fill {need / 1e6:.1f} MB"
                f" (batches of {batch_bytes / 1e6:.1f} MB, data.workers: {workers}, processes: {processes}): training"
                " will stop when it is full; set data.workers lower, or make it larger (docker run --shm-size)"
            )
    return found
