"""Laws of numbers: nothing is rounded on the way, and the gradients of inputs are slopes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.parts.values import map_tensors, tensors_in
from zoo.testing.asserts import weighed
from zoo.testing.cases import BATCH, FEW, Case, sample_of
from zoo.testing.law import law
from zoo.testing.ran import Watch

NARROW = (torch.bfloat16, torch.float16)

OF_DATA = ("patch_embedder", "time_embedder", "class_conditioner")
"""Kinds whose inputs are data, behind which nothing learns: what comes of these may be made without gradients."""

STEPS = (1e-5, 1e-4, 1e-3, 1e-6, 1e-7)
"""Of central differences: short ones where sines are of high frequency, long ones where a part computes in float32."""

APART = 2e-3
"""How far a gradient may be from the slope at the step that suits it, of how large it is on average."""


@law(
    "Leave it to train.precision and autocast which numbers are rounded: cast to the dtype of the tokens or weights"
    " (x.to(tokens.dtype)), and never to bfloat16 or float16 by name.",
    examples=FEW,
)
def rounds_nothing_on_the_way(case: Case) -> None:
    """Of inputs and parameters in float32, nothing is computed in bfloat16 or float16."""
    part, inputs = case.build(dtype=torch.float32), case.inputs(BATCH, dtype=torch.float32)
    narrow: list[str] = []

    def look(func: Any, _: Any, returned: Any) -> None:
        narrow.extend(f"{each.dtype} by {func}" for each in tensors_in(returned) if each.dtype in NARROW)

    with torch.no_grad(), Watch(look):
        case.call(part, inputs)
    assert not narrow, f"in float32, it computes {narrow[0]}"


@law(
    "Look for a detach(), a no_grad, .data or a backward() of your own between inputs and outputs: what is before the"
    " part learns by the gradients of its inputs.",
    examples=FEW,
    required=False,  # straight-through estimators are none
)
def gradients_are_slopes(case: Case) -> None:
    """The gradient of each input that something learns behind is the slope of what comes out, by finite differences."""
    if case.entry.kind in OF_DATA:
        return
    part, inputs = case.build(), case.inputs(BATCH)
    shared = {id(each) for each in tensors_in(tuple(sample_of(each, 0) for each in inputs))}  # such as angles
    generator = torch.Generator().manual_seed(case.seed + 5)
    for number, own in enumerate(tensors_in(inputs)):
        if own.is_floating_point() and id(own) not in shared:
            told = f"of input {number} {list(own.shape)}"
            _assert_slope(case, part, inputs, own, torch.randn(own.shape, generator=generator, dtype=own.dtype), told)


def _assert_slope(case: Case, part: Any, inputs: tuple[Any, ...], own: Tensor, way: Tensor, told: str) -> None:
    def run(value: Tensor) -> Tensor:
        outputs = case.call(part, map_tensors(lambda each: value if each is own else each, inputs))
        return weighed(map_tensors(Tensor.double, outputs), case.seed + 2)

    leaf = own.clone().requires_grad_()
    total = run(leaf)
    (gradient,) = torch.autograd.grad(total, leaf, materialize_grads=True) if total.requires_grad else (own * 0,)
    along, usual = float((gradient * way).sum()), float(gradient.norm())
    nearest = float("inf")
    with torch.no_grad():
        for step in STEPS:
            slope = float(run(own + step * way) - run(own - step * way)) / (2 * step)
            nearest = min(slope, nearest, key=lambda each: abs(each - along))
            if abs(nearest - along) <= APART * max(usual, abs(nearest), 1e-6):
                return
    raise AssertionError(
        f"the gradient {told} is {along:.4g} along a way on which what comes out rises by {nearest:.4g}"
    )


LAWS = (rounds_nothing_on_the_way, gradients_are_slopes)
