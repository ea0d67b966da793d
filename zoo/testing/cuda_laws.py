"""The law of parts on a CUDA device, where there is one."""

from __future__ import annotations

import torch

from zoo.parts.values import tensors_in
from zoo.testing.asserts import assert_close
from zoo.testing.cases import BATCH, Case
from zoo.testing.law import NotRun, law

TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.05}
"""Of the largest value: sums are in another order, and a convolution may be in TF32."""


@law(
    "Make tensors on the device of what comes in (tokens.new_zeros, device=tokens.device), and keep tables in buffers,"
    " which move with the part.",
    examples=3,
)
def runs_on_cuda(case: Case) -> None:
    """On a CUDA device the part gives what it gives on a CPU, in float32 and in bfloat16, and all of it there."""
    device = cuda_device()
    for dtype, tolerance in TOLERANCES.items():
        here = case.outputs(case.build(dtype=dtype), BATCH, dtype=dtype)
        there = tensors_in(case.outputs(case.build(dtype=dtype).to(device), BATCH, dtype=dtype, device=device))
        for tensor in there:
            assert tensor.device.type == device, f"returns a tensor on {tensor.device} for inputs on {device}"
        message = f"on {device} in {dtype} it gives something else than on a CPU"
        assert_close([each.cpu() for each in there], here, message, tolerance)


def cuda_device() -> str:
    """The device to try.

    Raises:
        NotRun: there is none.
    """
    if not torch.cuda.is_available():
        raise NotRun("no CUDA device")
    return "cuda"
