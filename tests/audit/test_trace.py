"""What cannot be counted is an error that says where, never a silent zero; and counting changes nothing."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.audit.small import (
    DEPTH,
    DIM,
    ONE_PRODUCT,
    WHERE,
    Does,
    Step,
    counts,
    forward_macs,
    small,
    with_block,
)
from zoo.audit import count_stage
from zoo.errors import AuditError
from zoo.parts.blocks import DiTBlock
from zoo.parts.values import Layout, Vectors


class OwnProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        return x @ weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


@torch.library.custom_op("zoo_tests::product", mutates_args=())
def custom_product(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight


@custom_product.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return torch.empty_like(x)


def scripted(function: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(function)


def product(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight


def product_in_a_branch(x: Tensor, weight: Tensor) -> Tensor:
    if x.shape[0] > 0:
        x = x @ weight
    return x


UNKNOWN = {
    "cdist": (lambda x, w: torch.cdist(x, x) @ x, "aten::cdist"),
    "inner": (lambda x, w: torch.inner(x, w), "aten::inner"),
    "tensordot": (lambda x, w: torch.tensordot(x, w, dims=1), "aten::tensordot"),
    "bilinear": (lambda x, w: F.bilinear(x, x, w.expand(DIM, -1, -1)), "aten::bilinear"),
    "autograd function": (OwnProduct.apply, "prim::PythonOp.OwnProduct"),
    "reentrant checkpoint": (lambda x, w: checkpoint(product, x, w, use_reentrant=True), "CheckpointFunction"),
    "scripted function": (scripted(product), "prim::CallFunction"),
    "scripted branch": (scripted(product_in_a_branch), "prim::CallFunction"),
    "product in place": (lambda x, w: x.clone().baddbmm_(x, w.unsqueeze(0)), "aten::baddbmm_"),
    "custom operator": (custom_product, "zoo_tests::product"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_unknown_operator_is_an_error(case: str) -> None:
    """It names the operator and the module."""
    step, operator = UNKNOWN[case]
    with pytest.raises(AuditError, match=r"neither counted nor known to be negligible.*ModulePart\.declare") as caught:
        counts(step)
    assert operator in str(caught.value)
    assert f"in blocks.{WHERE}" in str(caught.value)


def test_scripted_module_is_an_error() -> None:
    block = Does(lambda x, w: block.scripted(x))
    block.scripted = scripted(nn.Linear(DIM, DIM).to("meta"))
    with pytest.raises(AuditError, match=r"blocks\.2"):
        count_stage(with_block(block), 0)


def test_unknown_operators_are_told_together() -> None:
    with pytest.raises(AuditError, match=r"aten::inner in blocks\.2, aten::tensordot in blocks\.2\."):
        counts(lambda x, w: torch.tensordot(torch.inner(x, w), w, dims=1))


def test_unknown_operator_names_the_innermost_module() -> None:
    class Inner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.inner(x, x[0, :DIM])

    block = Does(lambda x, w: block.innermost(x))
    block.innermost = Inner()
    with pytest.raises(AuditError, match=r"aten::inner in blocks\.2\.innermost\."):
        count_stage(with_block(block), 0)


UNTRACEABLE = {
    "einsum of three": lambda x, w: torch.einsum("btd,de,ef->btf", x, w, w),
    "compiled": lambda x, w: torch.compile(product, backend="eager")(x, w),
    "value": lambda x, w: x * (2 if x.sum() > 0 else 3),
    "number": lambda x, w: x * x.mean().item(),
    "array": lambda x, w: x + torch.from_numpy(x.numpy()),
}


@pytest.mark.parametrize("case", UNTRACEABLE)
def test_untraceable_part_is_an_error(case: str) -> None:
    with pytest.raises(AuditError, match=r" cannot be traced .*\(stage 0\): .*see ModulePart\.declare") as caught:
        counts(UNTRACEABLE[case])
    named = "einsum 'btd,de,ef->btf'" if case == "einsum of three" else "blocks.2 cannot be traced"
    assert named in str(caught.value)


class Narrows(nn.Module):
    """A layer for tokens of another width."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(DIM + 1, DIM, device="meta")

    def forward(self, tokens: Tensor, scale: float) -> Tensor:
        return self.proj(tokens * scale)


FAULTY: dict[str, tuple[Step, str]] = {
    "shape": (
        lambda x, w: x @ w[:3],
        r": RuntimeError: a and b must have same reduction dim, but got .*; given tokens \[1, 18, 16\]$",
    ),
    "product into a given tensor": (
        lambda x, w: torch.matmul(x, w, out=torch.empty_like(x)),
        r": RuntimeError: matmul\(\): functions with out=.* LINE; given tokens \[1, 18, 16\]$",
    ),
    "division": (lambda x, w: x + 1 / 0, r": ZeroDivisionError: .* LINE; given tokens \[1, 18, 16\]$"),
    "convolution": (
        lambda x, w: F.conv1d(x, w.unsqueeze(2)),
        r": RuntimeError: Invalid channel dimensions LINE; given tokens \[1, 18, 16\]$",
    ),
}


@pytest.mark.parametrize("case", FAULTY)
def test_a_part_that_fails_is_not_told_to_declare(case: str) -> None:
    """It fails with values too: what counts is the error, where it is, and of which shapes."""
    step, told = FAULTY[case]
    told = told.replace("LINE", r"\(small\.py:\d+\)")  # of the part that calls the step
    with pytest.raises(AuditError, match=rf"^block Does \(blocks\.2\) fails in stage 0{told}"):
        counts(step)


def test_a_layer_that_fails_is_named_with_its_part() -> None:
    block = Does(lambda x, w: block.layer(x, scale=2.0))
    block.layer = Narrows()
    inside = r"inside blocks\.2\.layer\.proj \(Linear\): RuntimeError: .*; given input \[1, 18, 16\]$"
    with pytest.raises(AuditError, match=rf"^block Does \(blocks\.2\) fails in stage 0 {inside}"):
        count_stage(with_block(block), 0)


@pytest.mark.parametrize("wrong", [lambda x: torch.cat([x, x], dim=1), lambda x: (x,), lambda x: None])
def test_a_head_that_returns_no_latents_is_named(wrong: Any) -> None:
    """Nothing in a trace comes after it that would fail."""
    backbone = with_block(Does(lambda x, w: x))
    (head,) = backbone.heads.values()
    forward = head.forward
    head.forward = lambda *inputs: wrong(forward(*inputs))
    with pytest.raises(AuditError, match=r"^stage 0 fails: PluginError: head 2x2 .* returned .* in place of a tensor"):
        count_stage(backbone, 0)


def test_a_layer_that_takes_other_arguments_is_named() -> None:
    block = Does(lambda x, w: block.layer(x, w, x))
    block.layer = Narrows()
    with pytest.raises(AuditError, match=r"inside blocks\.2\.layer \(Narrows\): TypeError: .* positional arguments"):
        count_stage(with_block(block), 0)


COUNTED = {
    "product": (product, 1),
    "the same product twice": (lambda x, w: x @ w + x @ w, 2),
    "product without gradient": (lambda x, w: torch.no_grad()(product)(x, w), 1),
    "product of detached tensors": (lambda x, w: x.detach() @ w.detach(), 1),
    "product of .data": (lambda x, w: x.data @ w.data, 1),
    "checkpoint": (lambda x, w: checkpoint(product, x, w, use_reentrant=False), 1),
    "vmap": (lambda x, w: torch.vmap(lambda one: one @ w)(x), 1),
    "convolution": (lambda x, w: F.conv1d(x.mT, w.unsqueeze(2)).mT, 1),
    "convolution of transposed": (lambda x, w: F.conv_transpose1d(x.mT, w.unsqueeze(2)).mT, 1),
    "convolution of .data": (lambda x, w: F.conv1d(x.data.mT, w.data.unsqueeze(2)).mT, 1),
    "convolution in a checkpoint": (
        lambda x, w: checkpoint(F.conv1d, x.mT, w.unsqueeze(2), padding="same", use_reentrant=False).mT,
        1,
    ),
    "row by row": (lambda x, w: torch.stack([torch.mv(w, row) for row in x[0]]).unsqueeze(0), 1),
    "nothing": (lambda x, w: x, 0),
}


@pytest.mark.parametrize("case", COUNTED)
def test_product_is_counted(case: str) -> None:
    step, products = COUNTED[case]
    idle = counts(COUNTED["nothing"][0])
    counted = counts(step)
    assert counted.macs - idle.macs == products * ONE_PRODUCT
    assert counted.modules[f"blocks.{WHERE}"] == products * ONE_PRODUCT
    assert idle.modules[f"blocks.{WHERE}"] == 0


def test_a_result_that_nothing_uses_is_no_silent_zero() -> None:
    """It runs, but a trace leaves it out."""
    with pytest.raises(AuditError, match=r"stage 0: \d+ multiply-adds ran, but \d+ of them are in the trace"):
        counts(lambda x, w: (x @ w, x)[1])


def test_hidden_multiply_adds_are_caught_by_the_second_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that returns too little does not go unnoticed."""
    from zoo.audit import counting, operators

    monkeypatch.setitem(operators.COUNTED, "aten::linear", lambda inputs, outputs: 0)
    assert counting.COUNTED is operators.COUNTED
    with pytest.raises(AuditError, match="multiply-adds ran"):
        count_stage(small(), 0)


def test_sub_module_that_runs_twice_counts_twice() -> None:
    block = Does(lambda x, w: block.inner(block.inner(x)))
    counted = count_stage(with_block(block), 0)
    assert counted.modules[f"blocks.{WHERE}"] == counted.modules[f"blocks.{WHERE}.inner"] == 2 * ONE_PRODUCT


def test_shared_module_counts_for_each_part_that_runs_it() -> None:
    """Coarse and fine blocks share one MLP: each has the cost of its own tokens."""
    apart, together = small(), small()
    for block in together.blocks[1:]:
        block.mlp = together.blocks[0].mlp
    counted = count_stage(together, 0)
    assert counted.macs == forward_macs(together) == count_stage(apart, 0).macs
    blocks = [counted.modules[f"blocks.{place}"] for place in range(DEPTH)]
    assert blocks == [count_stage(apart, 0).modules[f"blocks.{place}"] for place in range(DEPTH)]
    assert counted.modules["blocks"] == sum(blocks)


def test_drop_path_in_training_mode_is_counted_in_evaluation_mode() -> None:
    class Drops(DiTBlock):
        def forward_stage(
            self, tokens: Float[Tensor, "b T D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b T D"]
        ) -> Float[Tensor, "b T D"]:
            keep = torch.rand(tokens.shape[0], 1, 1, device=tokens.device).round() if self.training else 1
            return super().forward_stage(tokens, vectors, layout) * keep

    backbone = small()
    backbone.blocks[WHERE] = Drops(DIM, 2).to("meta").train()
    assert count_stage(backbone, 0).macs == count_stage(small(), 0).macs
    assert backbone.training
