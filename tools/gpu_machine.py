"""A GPU as it is timed, and what it does at best."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from gpu_kernels import profiled
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Figures = dict[str, Any]

WIDTH, DEPTH, HEADS = 1152, 28, 16
ROWS = (2048, 5120, 7168, 17408, 22528)
"""Tokens of all images of a pass, where recipes of this width meet 128 images."""
LENGTHS = (32, 64, 80, 128, 256, 272)
"""Tokens of an image, those in front among them, at the levels of these recipes."""
BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}


class Size(NamedTuple):
    """How much is measured."""

    batch: int = 128
    steps: int = 20
    warm: int = 5
    samples: int = 4096
    product: int = 8192
    depth: int = DEPTH
    overrides: tuple[str, ...] = ()


SMALL = Size(4, 1, 0, 64, 64, 2, ("backbone.dim=16", "backbone.heads=2"))
"""What shows in seconds, and on a CPU, that the script is sound, and nothing else."""


class Machine(NamedTuple):
    """Where, how much, and a folder for data."""

    device: torch.device
    size: Size
    folder: Path

    def wait(self) -> None:
        """Wait until all that was asked for is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], object], steps: int | None = None) -> list[float]:
        """Seconds of every call, each begun with the device at rest."""
        for _ in range(self.size.warm):
            run()
        found = []
        for _ in range(steps or self.size.steps):
            self.wait()
            start = time.perf_counter()
            run()
            self.wait()
            found.append(time.perf_counter() - start)
        return found

    def in_a_row(self, run: Callable[[], object]) -> float:
        """Seconds a call where the host need not wait for the device between them."""
        for _ in range(self.size.warm):
            run()
        self.wait()
        start = time.perf_counter()
        for _ in range(self.size.steps):
            run()
        self.wait()
        return (time.perf_counter() - start) / self.size.steps

    @contextmanager
    def watched(self, found: Figures) -> Iterator[None]:
        """Note what memory is held before, and the most that is held within."""
        if self.device.type != "cuda":
            yield
            return
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        found["held_gb"] = torch.cuda.memory_allocated() / 1e9
        yield
        found["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9

    def profiled(self, run: Callable[[], object], seconds: float) -> Figures:
        """What a GPU does meanwhile."""
        return profiled(run, seconds) if self.device.type == "cuda" else {}


def ceilings(machine: Machine) -> Figures:
    """What the device does at best: a large product in bfloat16, a copy, and the products of blocks of width 1152."""
    n, device = machine.size.product, machine.device

    def rate(m: int, k: int, n: int) -> float:
        a, b = (torch.randn(*shape, device=device).bfloat16() for shape in ((m, k), (k, n)))
        return 2 * m * k * n / machine.in_a_row(lambda: a @ b) / 1e12

    source = torch.randn(n * n * 8, device=device)
    target = torch.empty_like(source)
    copy = 2 * source.nbytes / machine.in_a_row(lambda: target.copy_(source)) / 1e12
    shapes = {"qkv": (WIDTH, 3 * WIDTH), "proj": (WIDTH, WIDTH), "fc1": (WIDTH, 4 * WIDTH), "fc2": (4 * WIDTH, WIDTH)}
    products = {f"{name} {m}": rate(m, *shape) for name, shape in shapes.items() for m in ROWS if n >= Size().product}
    return {"tflops": rate(n, n, n), "terabytes_s": copy, **products}


def attention(machine: Machine) -> Figures:
    """Microseconds of forward and backward pass of attention by every backend, and whether gradients are finite."""
    found: Figures = {}
    for tokens in LENGTHS:
        shape = (machine.size.batch, tokens, 3, HEADS, WIDTH // HEADS)
        qkv = torch.randn(shape, device=machine.device, dtype=torch.bfloat16, requires_grad=True)

        def run(qkv: Tensor = qkv) -> None:
            qkv.grad = None
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            F.scaled_dot_product_attention(q, k, v).sum().backward()

        for name, backend in BACKENDS.items():
            try:
                with sdpa_kernel(backend):
                    found[f"{name} {tokens}"] = 1e6 * machine.in_a_row(run)
                if qkv.grad is None or not qkv.grad.isfinite().all():
                    found[f"{name} {tokens}"] = "not finite"
            except RuntimeError as error:
                found[f"{name} {tokens}"] = str(error).splitlines()[0][:80]
    return found
