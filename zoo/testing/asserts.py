"""What laws assert: tensors that are equal but for round-off, gradients, and whose memory tensors are in."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.parts.module_part import ModulePart

TOLERANCE = 1e-9
"""In float64: round-off, and nothing more."""

SINGLE = 1e-5
"""Of parts that compute in float32, whatever comes: products of another number of rows round otherwise."""


def assert_close(got: Tensor, expected: Tensor, message: str, tolerance: float = TOLERANCE) -> None:
    """Equal within ``tolerance`` of the largest value, or of 1."""
    got, expected = got.detach().double(), expected.detach().double()  # of a mask too
    assert got.shape == expected.shape, f"{message}: shape {list(got.shape)} in place of {list(expected.shape)}"
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    worst = float((got - expected).abs().max()) if expected.numel() else 0.0
    assert worst <= tolerance * scale, f"{message}: off by {worst:.3g} (values up to {scale:.3g})"


def assert_each_alone(function: Callable[..., Tensor], *given: Tensor, what: str) -> None:
    """Elementwise: what comes of a number hangs on no other that comes with it, and not on its place."""
    whole = function(*given)
    for some in ([2], [len(whole) - 1, 1]):
        found = function(*(each[some] for each in given))
        assert_close(found, whole[some], f"{what} of one noise level hangs on the others that come with it", 1e-6)


def assert_equal(got: Tensor, expected: Tensor, message: str) -> None:
    """Equal bit by bit."""
    assert torch.equal(got.detach(), expected.detach()), message


def assert_gradients(module: nn.Module) -> None:
    """Every parameter that is trained has a gradient that is not all zero, but those that parts say to have none."""
    excused = {
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        if isinstance(part, ModulePart)
        for name in part.without_gradient()
    }
    names = dict(module.named_parameters())
    assert excused <= set(names), f"without_gradient names what is no parameter: {sorted(excused - set(names))}"
    sizes = {
        name: 0.0 if parameter.grad is None else float(parameter.grad.abs().max()) for name, parameter in names.items()
    }
    noise = 1e-13 * max(sizes.values(), default=0.0)  # what round-off leaves of a zero in float64
    trained = {name for name, parameter in names.items() if parameter.requires_grad}
    silent = [name for name, size in sizes.items() if size <= noise and name in trained - excused]
    assert not silent, f"no gradient reaches {', '.join(silent)}"
    heard = [name for name in sorted(excused) if sizes[name] > 1e4 * noise]
    assert not heard, f"without_gradient excuses what has a gradient: {', '.join(heard)}"


def storages(module: nn.Module) -> set[int]:
    """Addresses of the module's tensors."""
    return {tensor.untyped_storage().data_ptr() for tensor in [*module.parameters(), *module.buffers()]}
