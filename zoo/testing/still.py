"""A part that draws in forward, held still: whether it breaks a law for that reason alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

Function = Callable[..., Tensor]


@contextmanager
def still() -> Iterator[None]:
    """Within, numbers that parts draw are what they are in the mean, and dropout drops nothing.

    What the kit itself draws, such as inputs and weights, stays as it is. PyTorch's functions are exchanged, since its
    modes are off where checkpointing computes anew.
    """
    with ExitStack() as stack:
        for holder, means in MEANS.items():
            for name, mean in means.items():
                stack.enter_context(patch.object(holder, name, _for_parts(getattr(holder, name), mean)))
        yield


def _for_parts(function: Function, mean: Function) -> Function:
    @wraps(function)
    def call(*args: Any, **options: Any) -> Tensor:
        # A compiler, which cannot look at callers, traces parts alone.
        if not torch.compiler.is_compiling():
            caller = sys._getframe(1).f_globals.get("__name__", "")
            if str(caller).startswith("zoo.testing."):
                return function(*args, **options)
        options.pop("generator", None)
        return mean(*args, **options)

    return call


def _halves(*size: Any, **options: Any) -> Tensor:
    return torch.zeros(*size, **options) + 0.5


def _halves_like(tensor: Tensor, **options: Any) -> Tensor:
    return torch.zeros_like(tensor, **options) + 0.5


def _probability(tensor: Tensor, p: float | None = None) -> Tensor:
    return tensor.clone() if p is None else torch.full_like(tensor, p)


def _fill_uniform(tensor: Tensor, low: float = 0.0, high: float = 1.0, **given: float) -> Tensor:
    return tensor.fill_((given.get("from", low) + given.get("to", high)) / 2)


def _fill_normal(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return tensor.fill_(mean)


def _fill_bernoulli(tensor: Tensor, p: float | Tensor = 0.5) -> Tensor:
    return tensor.copy_(p) if isinstance(p, Tensor) else tensor.fill_(p)


def _kept(tensor: Tensor, *_: Any, **__: Any) -> Tensor:
    return tensor


MEANS: Mapping[Any, Mapping[str, Function]] = {
    torch: {
        "rand": _halves,
        "rand_like": _halves_like,
        "randn": torch.zeros,
        "randn_like": torch.zeros_like,
        "bernoulli": _probability,
        "dropout": _kept,
    },
    Tensor: {
        "bernoulli": _probability,
        "bernoulli_": _fill_bernoulli,
        "uniform_": _fill_uniform,
        "normal_": _fill_normal,
    },
    F: dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"), _kept),
}
