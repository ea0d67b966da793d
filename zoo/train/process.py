"""What is the process's own, and no matter of a plug-in that is called in it: put back where one changes it.

Not the umask, which can only be read by setting it: another thread may make a file meanwhile.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import torch

from zoo.signals import NAMES

UNKNOWN = object()
"""What cannot be told, such as the working folder where it has been removed."""


class Setting(NamedTuple):
    """One of the process's settings.

    Attributes:
        words: what it is called.
        read: tells its value.
        put: takes a value.
    """

    words: str
    read: Callable[[], Any]
    put: Callable[[Any], object]

    def value(self) -> Any:
        """Its value, or UNKNOWN."""
        try:
            return self.read()
        except (OSError, RuntimeError):  # the latter of PyTorch's precision, where both of its ways to set it were used
            return UNKNOWN


def _signals() -> Iterator[Setting]:
    for name in NAMES:
        if name in signal.Signals.__members__:
            number = signal.Signals[name]
            yield Setting(f"what {name} does", partial(signal.getsignal, number), partial(signal.signal, number))


def _put_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)  # which costs nothing where it is as ever


SETTINGS = (
    *_signals(),
    Setting("the working folder", os.getcwd, os.chdir),
    Setting("sys.stdout", lambda: sys.stdout, partial(setattr, sys, "stdout")),
    Setting("sys.stderr", lambda: sys.stderr, partial(setattr, sys, "stderr")),
    Setting("whether gradients are computed", torch.is_grad_enabled, torch.set_grad_enabled),
    Setting("whether anomalies are detected", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    Setting("the precision of matrix products", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    Setting(
        "whether algorithms are to be deterministic",
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    Setting("PyTorch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting("PyTorch's default device", torch.get_default_device, _put_device),
    Setting("the number of PyTorch's threads", torch.get_num_threads, torch.set_num_threads),
)


@contextmanager
def put_back() -> Iterator[list[str]]:
    """Put back afterwards what is changed within; gives what that was, in words, once it is done."""
    changed: list[str] = []
    before = [each.value() for each in SETTINGS]
    try:
        yield changed
    finally:
        for setting, value in zip(SETTINGS, before, strict=True):
            if value is not UNKNOWN and not _same(setting.value(), value):
                with suppress(Exception):  # the folder is gone, a signal's handler is not Python's: the others go on
                    setting.put(value)
                    changed.append(setting.words)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are alike; those of a plug-in's own type are not asked, which may say or raise anything."""
    return one is other or (type(one) is type(other) and bool(one == other))


def change_of(callback: str, hook: str, what: str) -> str:
    """The line for the user of what a method of a callback has changed."""
    return f"warning: {hook}() of callback {callback} changes {what}, which is put back"
