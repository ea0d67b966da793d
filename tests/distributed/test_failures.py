"""PyTorch's failures in words that help."""

import pytest
import torch

from zoo.distributed.failures import told_plainly
from zoo.errors import RunError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "process 0: out of memory: set train",
        ),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory: set"),
        (MemoryError(), "out of memory: set"),
        (
            RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:1"),
            "another process",
        ),
    ],
)
def test_is_told_plainly(error, told):
    with pytest.raises(RunError, match=told) as caught, told_plainly():
        raise error
    assert caught.value.__cause__ is error


def test_what_is_a_fault_of_ours_stays_one():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), told_plainly():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
