"""How the processes of a job find each other."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from threading import Thread
from typing import Any

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from zoo.distributed.launcher_variables import Place
from zoo.errors import LauncherError, first_line

SAID_AFTER = 10.0  # seconds of waiting
PATIENCE = timedelta(minutes=30)  # machines of a cluster may start at different times


def meet(place: Place) -> Any:
    """The store through which the processes of a job find each other; waits for all of them.

    On one machine it is named by the attempt: after torchrun's restart, processes would otherwise read the addresses of
    those that have died.

    Raises:
        LauncherError: the others have not come, or the place where they meet is another program's.
    """
    if place.address is None:
        return dist.HashStore()  # type: ignore[attr-defined]
    store = _waited_for(place, "{}:{}".format(*place.address))
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return dist.PrefixStore(f"attempt {attempt}", store)  # type: ignore[attr-defined]
    return store


def _waited_for(place: Place, address: str) -> Any:
    """PyTorch waits in C++, deaf to Ctrl-C: in a thread, which may be left behind."""
    came: list[Any] = []

    def wait() -> None:
        try:
            came.append(next(rendezvous("env://", timeout=PATIENCE))[0])
        except Exception as error:
            came.append(error)

    thread = Thread(target=wait, daemon=True)
    thread.start()
    thread.join(SAID_AFTER)
    if thread.is_alive() and place.local == 0:
        print(f"waiting for {place.size} processes at {address}", file=sys.stderr, flush=True)
    thread.join()
    (store,) = came
    if isinstance(store, Exception):
        reason = "another program uses this port; set another" if "EADDRINUSE" in str(store) else first_line(store)
        raise LauncherError(
            f"process {place.rank} of {place.size} meets no others at MASTER_ADDR:MASTER_PORT {address}: {reason}"
        ) from store
    return store
