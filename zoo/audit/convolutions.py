"""Convolutions in a trace on the meta device.

PyTorch's tracer does not record ``aten::convolution``, but ``aten::_convolution``, which that runs on real devices. On
the meta device it runs a shape rule in Python instead, which fails in a trace, where sizes are tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

CONVOLUTION = torch.ops.aten.convolution.default
RECORDED = torch.ops.aten._convolution.default
TRACER = torch._C._dispatch_key_parse("Tracer")


class RecordedConvolutions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is active, a trace on the meta device records convolutions as one on a real device does."""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator; a convolution by the name that the tracer records."""
        if func is not CONVOLUTION:
            return func(*args, **(kwargs or {}))
        with torch._C._SetExcludeDispatchKeyGuard(TRACER, False):  # it is left out below a mode such as this one
            return RECORDED(*args, benchmark=False, deterministic=False, cudnn_enabled=True, allow_tf32=True)
