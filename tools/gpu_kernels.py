"""What a GPU does in a step, and where its host waits for it."""

from __future__ import annotations

import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

import zoo

KINDS = (
    ("attention", ("flash", "fmha", "attention", "sdpa", "cudnn")),
    ("products", ("gemm", "cutlass", "nvjet", "xmma", "cublas", "splitk")),
    ("optimizer", ("multi_tensor", "adam", "lerp")),
    ("copies", ("memcpy", "memset")),
)
"""Words in the names of kernels; Triton's, which name all operators that they fuse, are of no kind."""
ZOO = Path(zoo.__file__).parent
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def kind_of(kernel: str) -> str:
    """What a kernel does, by its name."""
    own = kernel.lower()
    if "triton" in own:
        return "others"
    return next((kind for kind, words in KINDS if any(word in own for word in words)), "others")


def told(events: Iterable[Any], seconds: float, steps: int) -> dict[str, Any]:
    """Kernels of a step, their milliseconds by kind, the share of the step in which none runs, and the host's waits.

    Args:
        events: of a profile.
        seconds: that a step takes without one.
        steps: that were profiled.
    """
    kinds, host, kernels = Counter[str](), Counter[str](), 0
    for event in events:
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation:
            kinds[kind_of(event.name)] += event.time_range.elapsed_us() / 1000
            kernels += 1
            host["pageable copies"] += "pageable" in event.name.lower()
        elif event.name in WAITS:
            host[event.name] += 1
    return {
        "kernels": kernels / steps,
        "kernel_ms": {kind: ms / steps for kind, ms in kinds.items()},
        "idle": 1 - sum(kinds.values()) / steps / 1000 / seconds,
        "host": {name: count / steps for name, count in host.items()},
    }


def profiled(run: Callable[[], object], seconds: float, steps: int = 2) -> dict[str, Any]:
    """What ``told`` tells of some steps, with what the profiler itself waits for at the end."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True) as found:
        for _ in range(steps):
            run()
        torch.cuda.synchronize()
    return told(found.events(), seconds, steps)


def waits(run: Callable[[], object]) -> dict[str, int]:
    """The lines of zoo at which the host waits for the device, by PyTorch's own watch, which misses pageable copies."""
    found = Counter[str]()

    def note(message: Any, category: Any, filename: str, line: int, *_: Any) -> None:
        if "synchroniz" not in str(message):
            return
        own = [each for each in traceback.extract_stack() if Path(each.filename).is_relative_to(ZOO)]
        found[f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else f"{Path(filename).name}:{line}"] += 1

    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = note
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return dict(found)
