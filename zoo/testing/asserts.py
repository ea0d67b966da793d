"""What laws assert: tensors that are equal but for round-off, gradients, and whose memory tensors are in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from zoo.parts.initialise import all_tensors
from zoo.parts.module_part import ModulePart
from zoo.parts.values import tensors_in

TOLERANCE = 1e-9
"""In float64: round-off, and nothing more."""

SINGLE = 1e-5
"""Of parts that compute in float32, whatever comes: products of another number of rows round otherwise."""


def assert_close(got: Any, expected: Any, message: str, tolerance: float = TOLERANCE) -> None:
    """Every tensor of a value equal within ``tolerance`` of the largest number of the expected one, or of 1."""
    for one, other in _pairs(got, expected, message):
        found, wanted = one.detach().double(), other.detach().double()  # of a mask too
        assert found.shape == wanted.shape, f"{message}: shape {list(found.shape)} in place of {list(wanted.shape)}"
        scale = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
        worst = float((found - wanted).abs().max()) if wanted.numel() else 0.0
        assert worst <= tolerance * scale, f"{message}: off by {worst:.3g} (values up to {scale:.3g})"


def assert_each_alone(function: Callable[..., Tensor], *given: Tensor, what: str) -> None:
    """Elementwise: what comes of a number hangs on no other that comes with it, and not on its place."""
    whole = function(*given)
    for some in ([2], [len(whole) - 1, 1]):
        found = function(*(each[some] for each in given))
        assert_close(found, whole[some], f"{what} of one noise level hangs on the others that come with it", 1e-6)


def assert_equal(got: Any, expected: Any, message: str) -> None:
    """Every tensor of a value equal, bit by bit."""
    assert all(torch.equal(*both) for both in _pairs(got, expected, message)), message


def assert_unchanged(got: Any, before: Any, message: str) -> None:
    """The same of what a part is given, where NaN is as NaN, as in labels."""
    assert all(bytes_of(one) == bytes_of(other) for one, other in _pairs(got, before, message)), message


def _pairs(got: Any, expected: Any, message: str) -> list[tuple[Tensor, Tensor]]:
    """The tensors of both, of which there are as many."""
    found, wanted = tensors_in(got), tensors_in(expected)
    assert len(found) == len(wanted), f"{message}: {len(found)} tensors in place of {len(wanted)}"
    return list(zip(found, wanted, strict=True))


def weighed(value: Any, seed: int) -> Tensor:
    """A sum of all numbers in the tensors of a value, each by a random weight, for gradients."""
    generator, total = torch.Generator().manual_seed(seed), torch.zeros(())
    for tensor in filter(torch.is_floating_point, tensors_in(value)):
        total = total + (tensor * torch.randn(tensor.shape, generator=generator).to(tensor)).sum()
    return total


def bytes_of(tensor: Tensor) -> bytes:
    """Its numbers as they lie in memory, in order."""
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def refuses(call: Callable[..., object], *given: Any) -> bool:
    """Whether it raises a ValueError, by which parts refuse what does not suit them."""
    try:
        call(*given)
    except ValueError:
        return True
    return False


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
    return {tensor.untyped_storage().data_ptr() for tensor in all_tensors(module).values()}
