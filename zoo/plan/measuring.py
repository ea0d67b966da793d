"""Figures of the device that is here."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F

from zoo.devices import products_in_float32
from zoo.errors import ZooError
from zoo.plan.devices import Device
from zoo.plan.operations import Recorder

ROUNDS = 5
WIDTH, HEADS, TOKENS = 1152, 16, 256
"""Of SiT-XL/2."""
LEAST_ROWS = 32
CPU_TILE = 16
LONG = 0.5
"""Seconds after which nothing larger is timed."""


def measure(device: torch.device, told: Callable[[str], None] = lambda what: None) -> Device:
    """Time products, attention, copies, elementwise operators and small ones, for half a minute.

    Args:
        device: which.
        told: hears what is being timed.

    Raises:
        ZooError: it is neither a CUDA device nor the CPUs.
    """
    if device.type not in ("cpu", "cuda"):
        raise ZooError(f"zoo plan --measure: times cpu and cuda, not {device.type}; choose by --device")
    gpu = device.type == "cuda"
    rows = 16_384 if gpu else 2_048
    told("products")
    bfloat16, float32 = (_products(rows, dtype, device) for dtype in (torch.bfloat16, torch.float32))
    with products_in_float32("tf32", device):
        tf32 = _products(rows, torch.float32, device) if gpu else None
    told("copies")
    source = torch.randn(2**28 if gpu else 2**24, device=device)
    target = torch.empty_like(source)
    bandwidth = 2 * source.nbytes / _seconds(lambda: target.copy_(source), device) / 1e12
    told("elementwise operators")
    elementwise = _elementwise(rows, device)
    with Recorder() as found:
        elementwise()
    moved = sum(each.bytes for each in found.operations if each.kind == "other")
    eager = min(1.0, moved / _seconds(elementwise, device) / (bandwidth * 1e12))
    told("attention")
    dtype = torch.bfloat16 if gpu else torch.float32
    attention = _attention(rows // TOKENS, dtype, device) / (bfloat16 if gpu else float32)
    told("small operators")
    elementwise = _elementwise(1, device)
    with Recorder() as found:
        elementwise()
    host = _seconds(lambda: [elementwise() for _ in range(100)], device) / (100 * len(found.operations))
    if gpu:
        facts = torch.cuda.get_device_properties(device)
        name, memory = facts.name, facts.total_memory
    else:
        name, memory = platform.machine(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Device(
        name=name if gpu else f"{name}, {torch.get_num_threads()} threads",
        source=f"measured here, PyTorch {torch.__version__}",
        memory=memory / 1e9,
        bfloat16=bfloat16,
        float32=float32,
        tf32=tf32,
        attention=min(1.0, attention),
        tile=Device.model_fields["tile"].default if gpu else CPU_TILE,
        bandwidth=bandwidth,
        eager=eager,
        joined=Device.model_fields["joined"].default if gpu else eager,
        product_us=Device.model_fields["product_us"].default if gpu else 0.0,
        kernel_us=Device.model_fields["kernel_us"].default if gpu else 0.0,
        host_us=1e6 * host,
        beside=gpu,
    )


def _products(most: int, dtype: torch.dtype, device: torch.device) -> float:
    """TFLOP/s of a product of as many rows as take a while: some CPUs do bfloat16 a hundred times slower."""
    weight, rows = torch.randn(WIDTH, 4 * WIDTH, device=device).to(dtype), LEAST_ROWS
    while True:
        x = torch.randn(rows, WIDTH, device=device).to(dtype)
        seconds = _seconds(partial(torch.matmul, x, weight), device)
        if rows >= most or seconds > LONG:
            return 2 * rows * weight.numel() / seconds / 1e12
        rows *= 2


def _elementwise(rows: int, device: torch.device) -> Callable[[], object]:
    """Norm, modulation, GELU, gate and residual stream of a block, forward and backward."""
    x = torch.randn(rows, WIDTH, device=device, requires_grad=True)
    h = torch.randn(rows, 4 * WIDTH, device=device, requires_grad=True)
    scale, gate = (torch.randn(1, WIDTH, device=device, requires_grad=True) for _ in range(2))

    def run() -> None:
        modulated = F.layer_norm(x, (WIDTH,)) * (1 + scale) + gate
        torch.autograd.backward((x + gate * modulated).sum())
        torch.autograd.backward(F.gelu(h, approximate="tanh").sum())

    return run


def _attention(batch: int, dtype: torch.dtype, device: torch.device) -> float:
    """TFLOP/s of forward and backward pass, as the recorder counts them."""
    shape = (batch, HEADS, TOKENS, WIDTH // HEADS)
    q, k, v = (torch.randn(shape, device=device, dtype=dtype, requires_grad=True) for _ in range(3))

    def run() -> None:
        torch.autograd.backward(F.scaled_dot_product_attention(q, k, v).sum())

    with Recorder() as found:
        run()
    flops = sum(each.flops for each in found.operations if each.kind == "attention")
    return flops / _seconds(run, device) / 1e12


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    """The median of some calls, after one that counts for nothing."""
    run()
    found = []
    for _ in range(ROUNDS):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        found.append(time.perf_counter() - start)
        if sum(found) > ROUNDS * LONG:
            break
    return median(found)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
