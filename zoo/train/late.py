"""Numbers on their way from a device to the CPU."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor


class Late:
    """Tensors of a device, copied while it and this process go on with something else.

    They are there once what was asked of the device before them is done; what is asked of it later is not waited for.

    Args:
        tensors: all on one device, whose values are no longer changed.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._there: torch.cuda.Event | None = None
        on_cuda = [each.device for each in tensors if each.is_cuda]
        self._tensors = [each.detach() for each in tensors]
        if on_cuda:
            self._tensors = [each.to("cpu", non_blocking=True) for each in self._tensors]
            self._there = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._there.record(torch.cuda.current_stream(on_cuda[0]))

    def comes(self, patience: float) -> bool:
        """Whether they are there within so many seconds."""
        end = time.monotonic() + patience
        while self._there is not None and not self._there.query():  # type: ignore[no-untyped-call]
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def read(self) -> list[Tensor]:
        """The tensors on the CPU; waits for them."""
        if self._there is not None:
            self._there.synchronize()
        return [each.cpu() for each in self._tensors]
