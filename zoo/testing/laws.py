"""Laws that every part keeps, whatever its options. Each takes a case and raises AssertionError where it is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from safetensors.torch import load, save
from torch import Tensor

from zoo.errors import PluginError, did_you_mean
from zoo.kinds import KINDS
from zoo.labels import map_labels
from zoo.parts.base import ClassConditioner, tensors_in
from zoo.testing import data_laws, evaluate_laws, flow_laws
from zoo.testing.asserts import assert_close, assert_gradients, storages
from zoo.testing.cases import Case, expected_shapes, sample_of
from zoo.testing.declare_laws import declares_its_cost
from zoo.testing.initialise_laws import assert_initialises_whole

Law = Callable[[Case], None]

BATCH = 3


def shape_contract(case: Case) -> None:
    """The output has the shapes that the kind promises, at every batch size."""
    part = case.build()
    for batch in (1, BATCH):
        shapes = [tuple(tensor.shape) for tensor in tensors_in(case.outputs(part, batch))]
        expected = expected_shapes(case, part, batch)
        assert shapes == expected, f"returns shapes {shapes}, and its kind promises {expected}"


def keeps_dtype(case: Case) -> None:
    """The output has the dtype of the parameters and inputs."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for tensor in tensors_in(case.outputs(case.build(dtype=dtype), BATCH, dtype=dtype)):
            assert tensor.dtype == dtype, f"returns {tensor.dtype} for {dtype}"


def keeps_device(case: Case) -> None:
    """Built on a device, the part computes there: nothing is made on another."""
    for tensor in tensors_in(case.outputs(case.build(device="meta"), BATCH, device="meta")):
        assert tensor.device.type == "meta", f"returns a tensor on {tensor.device} for inputs on meta"


def batch_invariance(case: Case) -> None:
    """A sample's output does not depend on who else is in the batch."""
    if case.entry.kind in ("position", "stage_embedder"):  # not batched
        return
    part = case.build()
    together = tensors_in(part(*case.inputs(BATCH)))
    for index in range(BATCH):
        alone = tensors_in(part(*(sample_of(each, index) for each in case.inputs(BATCH))))
        for whole, single in zip(together, alone, strict=True):
            assert_close(whole[index : index + 1], single, "a sample's output depends on the rest of its batch")


def is_deterministic(case: Case) -> None:
    """Two passes over the same inputs agree, and inputs are left as they were."""
    part = case.build()
    inputs = case.inputs(BATCH)
    before = [tensor.clone() for tensor in tensors_in(inputs)]
    first, second = tensors_in(case.outputs(part, BATCH)), tensors_in(case.outputs(part, BATCH))
    part(*inputs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True)), "two passes differ"
    assert all(torch.equal(a, b) for a, b in zip(before, tensors_in(inputs), strict=True)), "forward changes its inputs"


def gradient_reaches_parameters(case: Case) -> None:
    """Every parameter gets a gradient, but those that the part says cannot have one (``without_gradient``)."""
    part = case.build()
    weigh = torch.Generator().manual_seed(case.seed + 2)
    outputs = tensors_in(case.outputs(part, BATCH))
    loss = sum((tensor * torch.randn(tensor.shape, generator=weigh, dtype=tensor.dtype)).sum() for tensor in outputs)
    if isinstance(loss, Tensor) and loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    assert_gradients(part)


def state_round_trip(case: Case) -> None:
    """The state dict through safetensors into another build gives the same outputs, bit by bit."""
    part = case.build()
    fresh = replace(case, seed=case.seed + 1).build()
    fresh.load_state_dict(load(save(part.state_dict())))
    outputs = zip(tensors_in(case.outputs(part, BATCH)), tensors_in(case.outputs(fresh, BATCH)), strict=True)
    assert all(torch.equal(a, b) for a, b in outputs), "the state dict does not carry all of the part's state"


def builds_share_nothing(case: Case) -> None:
    """Two builds share no tensor, and building changes no option."""
    before = case.options.model_dump()
    first, second = case.build(), case.build()
    assert not storages(first) & storages(second), "two builds share a tensor"
    assert case.options.model_dump() == before, "building changes the recipe's options"


def initialises_whole(case: Case) -> None:
    """Built on the meta device, the part is made whole by ``init_weights``, as one that was built on the CPU."""
    assert_initialises_whole(
        lambda device, seed: replace(case, seed=seed).create(device),
        lambda part: tensors_in(case.outputs(part.double().eval(), BATCH)),
        case.seed,
    )


def null_is_a_label(case: Case) -> None:
    """``null`` keeps names, shape and dtype, and forward takes it; ``uses_labels`` says whether labels matter."""
    part = case.build()
    assert isinstance(part, ClassConditioner)
    labels = part.example_labels(BATCH)
    null = part.null(labels)
    map_labels(_is_alike, labels, null)
    part.check_labels(null, BATCH)
    own, nulls = part(labels), part(null)
    says = own.vector is not None or own.tokens is not None
    assert says == part.uses_labels, f"uses_labels is {part.uses_labels}, and a label gives {own}"
    for given, absent in ((own.vector, nulls.vector), (own.tokens, nulls.tokens)):
        assert (given is None) == (absent is None), "null gives another kind of condition"
        if given is not None:
            assert not torch.equal(given, absent), "null cannot be told from a label"


def _is_alike(labels: Tensor, null: Tensor) -> Tensor:
    assert null.shape == labels.shape, "null has another shape than the labels"
    assert null.dtype == labels.dtype, "null has another dtype than the labels"
    return null


def rotary_comes_in_pairs(case: Case) -> None:
    """Both components of a pair, 2i and 2i + 1, are turned by the same angle, which is where blocks look for it."""
    rotary = case.outputs(case.build(), BATCH).rotary
    for tensor in tensors_in(rotary):
        assert torch.equal(tensor[:, 0::2], tensor[:, 1::2]), "components 2i and 2i + 1 are turned by different angles"
    if rotary is not None:
        unit = rotary.cos**2 + rotary.sin**2
        assert_close(unit, torch.ones_like(unit), "cosines and sines are not of one angle", 1e-6)


def returns_its_grid(case: Case) -> None:
    """An upsampler says which grid its tokens are on."""
    coarse, fine = case.supplied["coarse_patch"], case.supplied["fine_patch"]
    expected = tuple(side * c // f for side, c, f in zip(case.grid, coarse, fine, strict=True))
    _, grid = case.outputs(case.build(), BATCH)
    assert tuple(grid) == expected, f"returns the grid {tuple(grid)} in place of {expected}"


def compiles_whole(case: Case) -> None:
    """``torch.compile(fullgraph=True)`` traces the part without a break, and computes the same.

    Cannot run under jaxtyping's import hook, which torch.compile cannot trace through.
    """
    part = case.build()
    inputs = case.inputs(BATCH)
    torch.compiler.reset()
    compiled = torch.compile(part, fullgraph=True, backend="aot_eager")
    for whole, single in zip(tensors_in(part(*inputs)), tensors_in(compiled(*inputs)), strict=True):
        assert_close(single, whole, "the compiled part computes something else")


LAWS: tuple[Law, ...] = (
    shape_contract,
    keeps_dtype,
    keeps_device,
    batch_invariance,
    is_deterministic,
    gradient_reaches_parameters,
    state_round_trip,
    builds_share_nothing,
    initialises_whole,
    declares_its_cost,
)
"""Laws of every kind of the backbone and inside its parts, which have a forward pass."""


OWN_LAWS: dict[str, tuple[Law, ...]] = {
    "class_conditioner": (null_is_a_label,),
    "position": (rotary_comes_in_pairs,),
    "upsampler": (returns_its_grid,),
    **flow_laws.LAWS,
    **data_laws.LAWS,
    **evaluate_laws.LAWS,
}
"""Laws of single kinds."""


def laws_of(kind: str) -> tuple[Law, ...]:
    """The laws that parts of this kind keep, ``compiles_whole`` aside, which needs a process without shape checks.

    Raises:
        PluginError: there is no such kind.
    """
    if kind not in KINDS:
        raise PluginError(f"there is no kind {kind!r}{did_you_mean(kind, KINDS)}")
    return (*(LAWS if KINDS[kind].section in ("backbone", None) else ()), *OWN_LAWS.get(kind, ()))
