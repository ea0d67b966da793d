"""A pass of a part forward and backward, as training runs it, for laws that compare two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from zoo.parts.values import tensors_in
from zoo.testing.asserts import weighed
from zoo.testing.cases import BATCH, Case


def trained(
    case: Case, part: nn.Module, run: Callable[..., Any] | None = None, dtype: torch.dtype = torch.float64
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """What comes out of a part, and the gradients of a weighted sum of it, by the names of parameters and inputs.

    Args:
        case: what goes in.
        part: it.
        run: what to call with the inputs, in place of the part.
        dtype: of the inputs.
    """
    inputs = case.inputs(BATCH, dtype=dtype)
    given = [each for each in tensors_in(inputs) if each.is_floating_point()]
    leaves: dict[str, Tensor] = {name: each for name, each in part.named_parameters() if each.requires_grad}
    leaves |= {f"input {number}": each for number, each in enumerate(given)}
    for tensor in leaves.values():
        tensor.requires_grad_()
    outputs = tensors_in(case.call(part, inputs) if run is None else run(*inputs))
    loss = weighed(outputs, case.seed + 2)
    if not (loss.requires_grad and leaves):
        return outputs, {}
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return outputs, dict(zip(leaves, found, strict=True))
