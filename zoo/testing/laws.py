"""Laws that every part keeps, whatever its options. Each takes a case and raises AssertionError where it is broken."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from importlib import import_module

import torch
from safetensors.torch import load, save
from torch import Tensor

from zoo.devices import cast_weights
from zoo.errors import PluginError, did_you_mean
from zoo.kinds import KINDS, laws_module
from zoo.parts.values import map_tensors, tensors_in
from zoo.schedule import AXES
from zoo.testing import numeric_laws, place_laws, random_laws, train_laws
from zoo.testing.asserts import (
    SINGLE,
    assert_close,
    assert_equal,
    assert_gradients,
    assert_unchanged,
    storages,
    weighed,
)
from zoo.testing.cases import BATCH, FEW, MODES, Case, samples_of
from zoo.testing.compile_laws import compiles_whole
from zoo.testing.count_laws import declares_its_cost, is_counted
from zoo.testing.ddp_laws import trains_on_two_ranks
from zoo.testing.initialise_laws import assert_initialises_whole
from zoo.testing.law import Law, NotRun, law
from zoo.testing.options_laws import every_option_changes_something
from zoo.testing.place_laws import assert_shapes
from zoo.testing.random_laws import draws_nothing

TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.05}
"""Of the largest value: sums are in another order, and a convolution may be in TF32."""

MANY = 8
"""Samples of a large batch: even, and more than the four from which on some parts take another way."""


@law(
    "Let forward() run at every batch size and grid, and return what the base class of the kind promises, of the "
    "shapes in its docstring."
)
def shape_contract(case: Case) -> None:
    """The output has the shapes that the kind promises, at every batch size."""
    if not _on_other_axes(case) and not _to_another_width(case):
        assert_shapes(case, 1, BATCH)


@law(
    "Let the class say which numbers of axes it takes, as axes = frozenset({2}) where it is for height and width "
    "alone; or take grids and patches of one, two and three numbers."
)
def runs_on_its_axes(case: Case) -> None:
    """On latents of one axis, or of three, the shapes are as promised too, unless ``axes`` leaves these out."""
    if _on_other_axes(case) and not _to_another_width(case):
        assert_shapes(case, 1, BATCH)


@law(
    "Where next_dim is not dim, there are no tokens in front (m = 0), and none to join: zoo.parts.behind joins them "
    "where there are some; or refuse another width in the constructor (ValueError)."
)
def changes_the_width(case: Case) -> None:
    """Between levels of different widths the shapes are as promised too, unless it refuses them."""
    _ = case.unmade  # a part that cannot be built keeps no law, whatever the widths are
    if _to_another_width(case):
        assert_shapes(case, 1, BATCH)


def _on_other_axes(case: Case) -> bool:
    """Whether a part that is for two axes is on others."""
    taken: Collection[int] = getattr(case.unmade, "axes", AXES)
    return "axes" in KINDS[case.entry.kind].supplied and case.site.axes != 2 and 2 in taken


def _to_another_width(case: Case) -> bool:
    return {"dim", "next_dim"} <= {*KINDS[case.entry.kind].supplied} and case.site.next_dim != case.dim


@law(
    "Make tensors in the dtype of the inputs or parameters, as torch.zeros(..., dtype=x.dtype), cast labels to that of "
    "the weights, and cast back what you compute in another.",
    examples=FEW,
)
def keeps_dtype(case: Case) -> None:
    """The output has the dtype of the parameters and inputs, masks and indices aside, also in training."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        part, inputs = case.build(dtype=dtype), case.inputs(BATCH, dtype=dtype)
        for mode in MODES:
            outputs = tensors_in(case.call(part.train(mode == "train"), inputs))
            for tensor in filter(torch.is_floating_point, outputs):
                assert tensor.dtype == dtype, f"in {mode} mode, returns {tensor.dtype} for {dtype}"


@law(
    "Make tensors on the device of the inputs, as torch.zeros(..., device=x.device), and keep tables in "
    "buffers, which move with the part.",
    examples=FEW,
)
def keeps_device(case: Case) -> None:
    """Built on a device, the part computes there, also in training: nothing is made on another."""
    part, inputs = case.build(device="meta"), case.inputs(BATCH, device="meta")
    for mode in MODES[bool(case.m) :]:  # a pass on meta is dear; what samples behind tokens in front, is_counted traces
        for tensor in tensors_in(case.call(part.train(mode == "train"), inputs)):
            found = f"returns a tensor on {tensor.device} for inputs on meta"
            assert tensor.device.type == "meta", f"in {mode} mode, {found}"


@law("Look for a mean, a norm, a reshape or a mask over dimension 0, which holds samples of other images.")
def batch_invariance(case: Case) -> None:
    """A sample's output does not depend on who else is in the batch."""
    part, inputs = case.build(), case.inputs(MANY)
    if not tensors_in(inputs):  # not batched
        return
    together = case.call(part, inputs)
    for some in (slice(0, 1), slice(1, 4), slice(4, MANY)):  # batches of one, of three and of four
        apart = case.call(part, tuple(samples_of(each, some) for each in inputs))
        own = [tensor[some] for tensor in tensors_in(together)]
        assert_close(own, apart, "a sample's output depends on the rest of its batch", SINGLE)


@law(
    "Draw nothing in forward in eval mode, change no input in place (x = x + y in place of x += y), and compute the "
    "same whether or not gradients are kept: sampling runs under torch.no_grad()."
)
def is_deterministic(case: Case) -> None:
    """Passes over the same inputs agree, with gradients and without, and inputs are left as they were."""
    part = case.build()
    inputs = case.inputs(BATCH)
    before = map_tensors(Tensor.clone, inputs)
    first = case.outputs(part, BATCH)
    assert_equal(case.outputs(part, BATCH), first, "two passes differ")
    for keeps in (True, False):
        where = "" if keeps else "under torch.no_grad() "
        with torch.set_grad_enabled(keeps):
            found = map_tensors(Tensor.clone, case.call(part, inputs))
        assert_unchanged(inputs, before, f"{where}forward changes its inputs")
        assert_close(found, first, f"{where}it computes something else")  # another kernel may round otherwise


@law(
    "Look for a detach(), a no_grad or a parameter that forward leaves out; name in without_gradient() what "
    "can have no gradient, as a softmax over one has none, or raise the bound of the option that makes it one."
)
def gradient_reaches_parameters(case: Case) -> None:
    """Every parameter that is trained gets a gradient, but those that the part says cannot (``without_gradient``)."""
    part = case.build()
    for inputs in case.occasions():
        for tensor in filter(torch.is_floating_point, tensors_in(inputs)):  # as in a backbone, behind other weights
            tensor.requires_grad_()
        loss = weighed(case.call(part, inputs), case.seed + 2)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        if all(each.grad is not None and each.grad.any() for each in part.parameters() if each.requires_grad):
            break
    assert_gradients(part)


@law(
    "Keep what forward computes with in parameters and buffers, not in plain attributes that differ from build "
    "to build.",
    examples=FEW,
)
def state_round_trip(case: Case) -> None:
    """The state dict through safetensors into another build gives the same outputs, bit by bit."""
    part = case.build()
    fresh = replace(case, seed=case.seed + 1).build()
    fresh.load_state_dict(load(save(part.state_dict())))
    same = "the state dict does not carry all of the part's state"
    assert_equal(case.outputs(fresh, BATCH), case.outputs(part, BATCH), same)


@law(
    "Make parameters and buffers in the constructor, none at the level of the module or class, and change no option.",
    examples=FEW,
)
def builds_share_nothing(case: Case) -> None:
    """Two builds share no tensor, and building changes no option."""
    before = case.options.model_dump()
    first, second = case.build(), case.build()
    assert not storages(first) & storages(second), "two builds share a tensor"
    assert case.options.model_dump() == before, "building changes the recipe's options"


@law(
    "Fill every parameter and buffer in place in reset_parameters() of the module that owns it; no tensor is "
    "made whole elsewhere."
)
def initialises_whole(case: Case) -> None:
    """Built on the meta device, the part is made whole by ``init_weights``, as one that was built on the CPU."""
    own = torch.get_default_dtype()
    assert_initialises_whole(
        lambda device, seed: replace(case, seed=seed).create(device),
        lambda part: tensors_in(case.outputs(cast_weights(part, torch.float64, own).eval(), BATCH)),
        case.seed,
    )


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


LAWS: tuple[Law[Case], ...] = (
    shape_contract,
    runs_on_its_axes,
    changes_the_width,
    initialises_whole,
    draws_nothing,
    is_deterministic,
    *random_laws.LAWS,
    *place_laws.LAWS,
    keeps_dtype,
    keeps_device,
    batch_invariance,
    gradient_reaches_parameters,
    state_round_trip,
    builds_share_nothing,
    is_counted,
    declares_its_cost,
    every_option_changes_something,
    *numeric_laws.LAWS,
    *train_laws.LAWS,
    compiles_whole,
    trains_on_two_ranks,
    runs_on_cuda,
)
"""Laws of every kind of the backbone, which have a forward pass: those first that others are broken by with them, such
as a tensor that nobody fills, and numbers that are drawn."""


OF_DRAWING = (draws_nothing, is_deterministic)
"""Laws by which a part that draws is told, the clearest first: it breaks many others for that reason alone."""


def laws_of(kind: str) -> tuple[Law[Case], ...]:
    """The laws that parts of this kind keep.

    Raises:
        PluginError: there is no such kind.
    """
    if kind not in KINDS:
        raise PluginError(f"there is no kind {kind!r}{did_you_mean(kind, KINDS)}")
    own: tuple[Law[Case], ...] = import_module(laws_module(kind)).LAWS[kind]
    return (*(LAWS if KINDS[kind].has_forward else ()), *own)
