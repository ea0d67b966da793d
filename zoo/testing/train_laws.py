"""Laws of training: with autocast and activation checkpointing, beside a sample that is NaN, and in losses of jvp."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from zoo.parts.values import map_tensors, tensors_in
from zoo.testing.asserts import assert_close, weighed
from zoo.testing.cases import BATCH, FEW, Case, sample_of
from zoo.testing.law import law

ROUNDED = 0.3
"""How far apart, of the largest value, bfloat16's products may be from float32's."""

KINKED = 0.25
"""How far apart, of the whole tensor's size, gradients may be: rounding moves what is near the kink of a ReLU past it,
and with it whole entries."""

SMALL = 0.03
"""Of the largest gradient of a part: smaller ones are what is left of larger terms, and as far off as these."""

STEP = 1e-5
"""Of finite differences in float64."""


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


@law(
    "Bring what meets in one operator to one dtype, since under autocast products return bfloat16 beside parameters in"
    " float32, and compute what needs precision under torch.autocast(device, enabled=False).",
    examples=FEW,
)
def runs_under_autocast(case: Case) -> None:
    """Under autocast to bfloat16 a part of float32 gives nearly the outputs and gradients that it gives without."""
    part = case.build(dtype=torch.float32)

    def run(*inputs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return case.call(part, inputs)

    with _without_onednn():
        plain, exact = trained(case, part, dtype=torch.float32)
        rounded, gradients = trained(case, part, run, dtype=torch.float32)
    for each in filter(torch.is_floating_point, rounded):
        assert each.dtype in (torch.float32, torch.bfloat16), f"under autocast returns {each.dtype}"
    assert_close(rounded, plain, "under autocast it computes something else", ROUNDED)
    sizes = {name: float(gradient.norm()) for name, gradient in exact.items()}
    for name, gradient in gradients.items():
        far, size = float((gradient - exact[name]).norm()), max(SMALL * max(sizes.values()), sizes[name])
        told = f"under autocast the gradient of {name} is another"
        assert far <= KINKED * size, f"{told}: off by {far:.3g} (norm {size:.3g})"


@law(
    "Add to the tokens in their own dtype, as tokens + update.to(tokens.dtype), and bring a Linear of the tokens"
    " themselves back to it: in bfloat16 the sum of many blocks loses what each adds.",
    examples=FEW,
)
def adds_to_wide_tokens(case: Case) -> None:
    """Under autocast a block gives float32 for float32 tokens and vectors in bfloat16, such as Linears return."""
    part, (groups,) = case.build(dtype=torch.float32), case.inputs(BATCH, dtype=torch.float32)
    rounded = [group._replace(vectors=tuple(each.bfloat16() for each in group.vectors)) for group in groups]
    with torch.autocast("cpu", torch.bfloat16):
        outputs = part(rounded)
    for tensor in outputs:
        assert tensor.dtype == torch.float32, f"under autocast returns {tensor.dtype} for tokens of torch.float32"


@law(
    "Let forward depend on its inputs and parameters alone: under checkpointing it runs twice a step, and what it"
    " counts, pops or keeps is another the second time.",
    examples=FEW,
)
def can_be_checkpointed(case: Case) -> None:
    """Under ``torch.utils.checkpoint`` outputs and gradients are those without, twice the same."""
    part = case.build()

    def run(*inputs: Any) -> Any:
        return checkpoint(lambda *own: case.call(part, own), *inputs, use_reentrant=False)

    outputs, gradients = trained(case, part)
    for _ in range(2):
        again, others = trained(case, part, run)
        assert_close(again, outputs, "under activation checkpointing it computes something else")
        for name, gradient in others.items():
            assert_close(gradient, gradients[name], f"under activation checkpointing the gradient of {name} is another")


@law(
    "Let nothing of one sample be multiplied into another, not even by zero: NaN times zero is NaN. Where several share"
    " an operator, let each have its own row of the batch, in place of a mask.",
    examples=FEW,
)
def keeps_nan_apart(case: Case) -> None:
    """A sample that is NaN reaches no other sample's output."""
    part, inputs = case.build(), case.inputs(BATCH)
    before = case.call(part, inputs)
    shared = {id(each) for each in tensors_in(inputs)}  # such as tables of angles, which all samples have
    for view in tensors_in(tuple(sample_of(each, 0) for each in inputs)):
        if view.is_floating_point() and id(view) not in shared:
            view.fill_(float("nan"))
    broken, whole = (map_tensors(lambda each: each[1:], each) for each in (case.call(part, inputs), before))
    assert_close(broken, whole, "a sample that is NaN reaches others")


@law(
    "Write what forward computes in operators that have a forward derivative (an autograd.Function of your own needs"
    " jvp()): losses such as MeanFlow's take one through the whole backbone.",
    examples=FEW,
    required=False,
)
def has_forward_derivatives(case: Case) -> None:
    """``torch.func.jvp`` of a part's inputs is what finite differences give."""
    part = case.build()
    # In double precision, labels too, which come as they are.
    inputs = map_tensors(lambda each: each.double() if each.is_floating_point() else each, case.inputs(BATCH))
    generator = torch.Generator().manual_seed(case.seed + 3)
    flat = [each for each in tensors_in(inputs) if each.is_floating_point()]
    tangents = [torch.randn(each.shape, generator=generator, dtype=each.dtype) for each in flat]

    def along(*own: Tensor) -> list[Tensor]:
        left = iter(own)
        given = map_tensors(lambda each: next(left) if each.is_floating_point() else each, inputs)
        return [each for each in tensors_in(case.call(part, given)) if each.is_floating_point()]

    if not flat or not along(*flat):
        return
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has none on a CPU
        derivatives = torch.func.jvp(along, tuple(flat), tuple(tangents))[1]
    with torch.no_grad():
        slopes = zip(_slopes(along, flat, tangents, STEP), _slopes(along, flat, tangents, STEP / 2), strict=True)
    for one, (rough, fine) in zip(derivatives, slopes, strict=True):
        slope = fine + (fine - rough) / 3  # Richardson's: sines of high frequency bend within a step
        assert_close(one, slope, "the forward derivative is not that of finite differences", 1e-6)


def _slopes(
    run: Callable[..., list[Tensor]], inputs: list[Tensor], ways: list[Tensor], step: float
) -> Iterator[Tensor]:
    """Central differences of what is computed, along a way of each input."""
    ahead = run(*(each + step * way for each, way in zip(inputs, ways, strict=True)))
    behind = run(*(each - step * way for each, way in zip(inputs, ways, strict=True)))
    return ((after - before) / (2 * step) for after, before in zip(ahead, behind, strict=True))


LAWS = (runs_under_autocast, can_be_checkpointed, keeps_nan_apart, has_forward_derivatives)


@contextmanager
def _without_onednn() -> Iterator[None]:
    """With PyTorch's own kernels: in bfloat16 oneDNN's gradients of three-dimensional convolutions are garbage on some
    processors."""
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before
