"""Failures of PyTorch that are no fault of zoo's, in words that help."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from zoo.errors import ProcessError, RunError, as_failure, text_of
from zoo.signals import ENDS

LOST = "another process of the job has ended: killed, if it left no message"
"""What a process tells that has lost another one, whose own words say why."""

_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused")
_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def lacks_memory(error: Exception) -> bool:
    """Whether PyTorch or Python has failed since there was not enough memory, of a GPU or of the machine."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(each in text_of(error) for each in _MEMORY)


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn a lack of memory, and the loss of another process, into errors of ours.

    Raises:
        ProcessError: there is not enough memory.
        RunError: another process has ended.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if lacks_memory(error):
            raise ProcessError(
                f"process {os.environ.get('RANK', '0')}: out of memory: set train.accumulate higher, train.batch,"
                " sample.batch or evaluate.count lower, or train.checkpoint_activations to true"
            ) from error
        if isinstance(error, dist.DistBackendError) or any(each in text_of(error) for each in _LOST):
            raise RunError(LOST) from error
        raise


@contextmanager
def ending_nothing() -> Iterator[None]:
    """Have a part that is to end the process, as by ``sys.exit``, fail as any other does."""
    try:
        yield
    except (Exception, *ENDS):
        raise
    except BaseException as end:
        raise as_failure(end) from end
