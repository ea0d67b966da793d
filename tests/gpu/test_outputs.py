"""What a GPU computes beside the same in float64 on the CPU: predictions and gradients of every family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import distributions
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

import zoo
from zoo.backbone import Backbone
from zoo.compiling import compile_blocks
from zoo.testing.assemblies import mixed_inputs
from zoo.testing.cases import randomise

FAMILIES = ("dit_s", "sit_s", "mpdit_b", "ppflow_s_3", "hybrid_b")
PACKAGED = {
    "diffusion-zoo-conv": ("dic_s", "dico_s", "dico_hybrid_b"),
    "diffusion-zoo-lightning": ("lightning_b", "lightning_hybrid_b"),
    "diffusion-zoo-linear": ("dig_s", "dig_hybrid_b", "lit_b", "sana_hybrid_b"),
    "diffusion-zoo-uvit": ("uvit_s", "uvit_hybrid_b"),
}
INSTALLED = {each.name for each in distributions()}
RECIPES = [*FAMILIES, *(name for package, names in PACKAGED.items() if package in INSTALLED for name in names)]

IEEE, TF32, BFLOAT16 = "highest", "high", "bfloat16"
ERROR = {IEEE: 2e-5, TF32: 3e-3, BFLOAT16: 4e-2}
"""Of predictions, as a share of their norm; gradients of depth may have ten times as much."""


class Outcome(NamedTuple):
    """Predictions and the gradients of all weights, in float64 on the CPU."""

    prediction: Tensor
    gradient: Tensor


def outcome(backbone: Backbone, inputs: tuple[Tensor, ...]) -> Outcome:
    backbone.zero_grad()
    prediction = backbone(*inputs)
    prediction.float().square().mean().backward()
    gradient = torch.cat([each.grad.double().cpu().flatten() for each in backbone.parameters()])
    return Outcome(prediction.detach().double().cpu(), gradient)


def narrow(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


class Case(NamedTuple):
    backbone: Backbone
    inputs: tuple[Tensor, ...]
    expected: Outcome


@cache
def case(name: str) -> Case:
    """A backbone on the GPU, and what it is to compute."""
    backbone = zoo.build(zoo.load_recipe(name)).double()
    randomise(backbone, 0, std=0.05)  # gates and heads are no longer zero
    inputs = mixed_inputs(backbone)
    expected = outcome(backbone, inputs)
    return Case(backbone.float().cuda(), tuple(narrow(each).cuda() for each in inputs), expected)


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    torch.set_float32_matmul_precision("highest")


def assert_near(found: Outcome, expected: Outcome, error: float) -> None:
    for one, other, most in zip(found, expected, (error, 10 * error), strict=True):
        assert one.isfinite().all()
        off = float((one - other).norm() / other.norm())
        assert off < most, f"off by {off:.2g} of the norm, more than {most:g}"


def computed(name: str, precision: str, prepare: Callable[[Backbone], None] = lambda _: None) -> Outcome:
    backbone, inputs, _ = case(name)
    torch.set_float32_matmul_precision("highest" if precision == BFLOAT16 else precision)
    prepare(backbone)
    try:
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == BFLOAT16):
            return outcome(backbone, inputs)
    finally:
        for block in backbone.blocks:
            block.__dict__.pop("forward", None)


@pytest.mark.parametrize("precision", [IEEE, TF32, BFLOAT16])
@pytest.mark.parametrize("name", RECIPES)
def test_a_gpu_computes_what_a_cpu_does(name, precision):
    assert_near(computed(name, precision), case(name).expected, ERROR[precision])


@pytest.mark.usefixtures("no_checks_of_shapes")
@pytest.mark.parametrize("precision", [IEEE, BFLOAT16])
@pytest.mark.parametrize("name", ["hybrid_b", "ppflow_s_3"])
def test_compiled_blocks_compute_what_others_do(name, precision):
    found = computed(name, precision, lambda backbone: compile_blocks(backbone.blocks))
    assert_near(found, case(name).expected, ERROR[precision])


def test_a_part_that_computes_something_else_is_caught():
    found = computed("dit_s", IEEE)
    wrong = Outcome(found.prediction * (1 + 1e-3), found.gradient)
    with pytest.raises(AssertionError, match="of the norm"):
        assert_near(wrong, case("dit_s").expected, ERROR[IEEE])
