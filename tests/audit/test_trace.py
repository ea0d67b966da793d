"""What cannot be counted is an error that says where, never a silent zero; and counting changes nothing."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from zoo.assembly import build, load_recipe
from zoo.audit import count_stage
from zoo.audit.trace import StageCount, example_inputs
from zoo.backbone import Backbone
from zoo.errors import AuditError
from zoo.parts.base import Block, BlockModulation, Declared, Layout
from zoo.parts.blocks import DiTBlock
from zoo.registry import Registry

DIM, DEPTH, CLASS_TOKENS, COARSE, FINE = 16, 4, 2, 4, 16
WHERE = 2
"""The block that is replaced; it runs on the fine level."""
TOKENS = CLASS_TOKENS + FINE
ONE_PRODUCT = TOKENS * DIM * DIM

RECIPE = {
    "name": "small",
    "backbone": {
        "latent": {"channels": 3, "height": 8, "width": 8},
        "num_classes": 5,
        "dim": DIM,
        "depth": DEPTH,
        "heads": 2,
        "patch_schedule": {"type": "by_depth", "levels": [{"patch": 4, "blocks": 2}, {"patch": 2, "blocks": 2}]},
        "class_conditioner": {"type": "class_tokens", "tokens": CLASS_TOKENS},
        "modulation": "shared_adaln",
    },
}


def small() -> Backbone:
    registry = Registry()
    return build(load_recipe(RECIPE, registry=registry), registry=registry, device="meta")


def forward_macs(backbone: Backbone) -> int:
    with FlopCounterMode(display=False) as counter:
        backbone.forward_stage(0, *example_inputs(backbone))
    return counter.get_total_flops() // 2


Step = Callable[[Tensor, Tensor], Tensor]


class Does(Block):
    """Runs one step on the tokens with a weight [D, D]."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step
        self.inner = nn.Linear(DIM, DIM, bias=False, device="meta")

    def forward(
        self, tokens: Float[Tensor, "B T D"], modulation: BlockModulation, layout: Layout
    ) -> Float[Tensor, "B T D"]:
        return self.step(tokens, self.inner.weight)


def with_block(block: nn.Module) -> Backbone:
    backbone = small()
    backbone.blocks[WHERE] = block
    return backbone


def counts(step: Step) -> StageCount:
    return count_stage(with_block(Does(step)), 0)


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
        r": RuntimeError: matmul\(\): functions with out=.*; given tokens \[1, 18, 16\]$",
    ),
    "division": (lambda x, w: x + 1 / 0, r": ZeroDivisionError: .*; given tokens \[1, 18, 16\]$"),
    "convolution": (
        lambda x, w: F.conv1d(x, w.unsqueeze(2)),
        r": RuntimeError: Invalid channel dimensions; given tokens \[1, 18, 16\]$",
    ),
}


@pytest.mark.parametrize("case", FAULTY)
def test_a_part_that_fails_is_not_told_to_declare(case: str) -> None:
    """It fails with values too: what counts is the error, where it is, and of which shapes."""
    step, told = FAULTY[case]
    with pytest.raises(AuditError, match=rf"^block Does \(blocks\.2\) fails in stage 0{told}"):
        counts(step)


def test_a_layer_that_fails_is_named_with_its_part() -> None:
    block = Does(lambda x, w: block.layer(x, scale=2.0))
    block.layer = Narrows()
    inside = r"inside blocks\.2\.layer\.proj \(Linear\): RuntimeError: .*; given input \[1, 18, 16\]$"
    with pytest.raises(AuditError, match=rf"^block Does \(blocks\.2\) fails in stage 0 {inside}"):
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
    from zoo.audit import operators, trace

    monkeypatch.setitem(operators.COUNTED, "aten::linear", lambda inputs, outputs: 0)
    assert trace.COUNTED is operators.COUNTED
    with pytest.raises(AuditError, match="multiply-adds ran"):
        count_stage(small(), 0)


# -- convolutions, and declared counts -------------------------------------------------------------------------------


class Mixer(nn.Module):
    """Three convolutions: depthwise, by a function, and in a module further in."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 3, padding="same", padding_mode="circular", groups=dim)
        self.kernel = nn.Parameter(torch.empty(dim, dim, 3, 3))
        self.inner = nn.Sequential(nn.ConvTranspose2d(dim, dim, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.inner(F.conv2d(self.depthwise(image), self.kernel, padding=1))


class Convolves(DiTBlock):
    """A mixer of the image tokens before a usual block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.mixer = Mixer(dim)

    def forward(
        self, tokens: Float[Tensor, "B T D"], modulation: BlockModulation, layout: Layout
    ) -> Float[Tensor, "B T D"]:
        image = tokens[:, layout.m :].transpose(1, 2).unflatten(2, layout.grid)
        image = self.mixer(image).flatten(2).transpose(1, 2)
        return super().forward(torch.cat([tokens[:, : layout.m], image], dim=1), modulation, layout)


class Declares(Convolves):
    """The same, with its count of all that it does."""

    def declare(self, tokens: Tensor, modulation: BlockModulation, layout: Layout) -> Declared:
        _, count, dim = tokens.shape
        mixer = layout.grid[0] * layout.grid[1] * (9 * dim + 10 * dim * dim)
        block = count * (4 + 8) * dim * dim + 2 * count * count * dim
        attention = 2 * count * count * dim
        return Declared(self.forward(tokens, modulation, layout), mixer + block, 2 * count * dim * 4, attention)


def convolving(cls: type[Convolves], places: tuple[int, ...] = (WHERE,)) -> Backbone:
    backbone = small()
    for place in places:
        backbone.blocks[place] = cls(DIM, 2).to("meta")
    return backbone


@pytest.mark.parametrize("cls", [Convolves, Declares])
@pytest.mark.parametrize("places", [(2,), (0,), (0, 3), (0, 1, 2, 3)])
def test_convolutions_count_where_they_are_whether_traced_or_declared(
    cls: type[Convolves], places: tuple[int, ...]
) -> None:
    backbone = convolving(cls, places)
    counted = count_stage(backbone, 0)
    assert counted.macs == forward_macs(backbone)
    plain = count_stage(small(), 0)
    assert counted.norm_ops == plain.norm_ops
    assert counted.attention_macs == plain.attention_macs
    assert [counted.attention[f"blocks.{place}"] for place in range(DEPTH)] == [
        plain.attention[f"blocks.{place}"] for place in range(DEPTH)
    ]
    for place in range(DEPTH):
        image = COARSE if place < 2 else FINE
        more = image * (9 * DIM + 10 * DIM * DIM) if place in places else 0
        assert counted.modules[f"blocks.{place}"] == plain.modules[f"blocks.{place}"] + more
    assert counted.modules["blocks"] == sum(counted.modules[f"blocks.{place}"] for place in range(DEPTH))


def test_convolutions_in_modules_of_modules_count_for_each_of_them() -> None:
    modules = count_stage(convolving(Convolves), 0).modules
    mixer = f"blocks.{WHERE}.mixer"
    assert modules[f"{mixer}.depthwise"] == FINE * 9 * DIM
    assert modules[f"{mixer}.inner"] == modules[f"{mixer}.inner.0"] == FINE * DIM * DIM
    by_function = FINE * 9 * DIM * DIM
    assert modules[mixer] == modules[f"{mixer}.depthwise"] + by_function + modules[f"{mixer}.inner"]


def test_declaring_nothing_means_to_be_traced() -> None:
    class Undecided(DiTBlock):
        def declare(self, *inputs: Any) -> None:
            return None

    backbone = small()
    backbone.blocks[WHERE] = Undecided(DIM, 2).to("meta")
    assert count_stage(backbone, 0) == count_stage(small(), 0)


def declaring(answer: Callable[[Tensor], Any]) -> Backbone:
    class Answers(DiTBlock):
        def declare(self, tokens: Tensor, *_: Any) -> Any:
            return answer(tokens)

    return with_block(Answers(DIM, 2).to("meta"))


def unchecked(tokens: Tensor, **numbers: Any) -> Declared:
    """What a part may declare where nothing checks its types, as the tests do."""
    own = Declared(tokens.clone(), 4)
    for name, number in numbers.items():
        object.__setattr__(own, name, number)
    return own


NOT_A_COUNT: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "fraction": (lambda x: unchecked(x, macs=Fraction(3)), "declare's macs must be an int, not a Fraction"),
    "half of a size": (lambda x: unchecked(x, macs=x.shape[1] / 2), "declare's macs must be an int, not a float"),
    "tensor": (lambda x: unchecked(x, macs=x.sum()), "declare's macs must be an int, not a Tensor"),
    "no number": (lambda x: unchecked(x, norm_ops=None), "declare's norm_ops must be an int, not a NoneType"),
    "negative": (lambda x: Declared(x.clone(), -4), "declare's macs must not be negative, and is -4"),
    "attention": (lambda x: Declared(x.clone(), 4, 0, 5), "declare's attention_macs (5) are a part of its macs (4)"),
    "tuple": (lambda x: (x.clone(), 4), "declare must return a zoo.parts.Declared, or None to be traced, not a tuple"),
    "error": (lambda x: x.nonsense, "declare fails: AttributeError: 'Tensor' object has no attribute 'nonsense'"),
}


@pytest.mark.parametrize("case", NOT_A_COUNT)
def test_a_declaration_that_cannot_be_names_the_part(case: str) -> None:
    answer, told = NOT_A_COUNT[case]
    with pytest.raises(AuditError, match=rf"^blocks\.2 \(Answers\): {re.escape(told)}"):
        count_stage(declaring(answer), 0)


def test_sizes_are_ints_where_a_part_declares() -> None:
    """Inside the trace they would be tensors."""
    counted = count_stage(declaring(lambda x: Declared(torch.empty(x.shape, device="meta"), x.shape[1] * 7)), 0)
    assert counted.modules["blocks.2"] == TOKENS * 7


def test_what_goes_into_a_part_that_declares_is_counted() -> None:
    """Its output is its own, but what was computed for it did not come to nothing."""
    values = {**RECIPE, "backbone": {**RECIPE["backbone"], "modulation": "adaln_zero"}}
    backbone = build(load_recipe(values, registry=Registry()), registry=Registry(), device="meta")
    plain = count_stage(backbone, 0)
    backbone.blocks[WHERE] = declaring(lambda x: Declared(torch.empty_like(x), 7)).blocks[WHERE]
    counted = count_stage(backbone, 0)
    assert counted.modules["modulation"] == plain.modules["modulation"]
    assert counted.macs == plain.macs - plain.modules["blocks.2"] + 7


# -- modules that run more than once ---------------------------------------------------------------------------------


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
        def forward(
            self, tokens: Float[Tensor, "B T D"], modulation: BlockModulation, layout: Layout
        ) -> Float[Tensor, "B T D"]:
            keep = torch.rand(tokens.shape[0], 1, 1, device=tokens.device).round() if self.training else 1
            return super().forward(tokens, modulation, layout) * keep

    backbone = small()
    backbone.blocks[WHERE] = Drops(DIM, 2).to("meta").train()
    assert count_stage(backbone, 0).macs == count_stage(small(), 0).macs
    assert backbone.training


# -- what is left behind ---------------------------------------------------------------------------------------------


def state(backbone: Backbone) -> Iterator[tuple[Any, ...]]:
    for name, module in backbone.named_modules():
        hooks = {key: dict(value) for key, value in vars(module).items() if key.endswith("_hooks") and value}
        frozen = [(key, parameter.requires_grad) for key, parameter in module.named_parameters(recurse=False)]
        yield name, type(module), "forward" in vars(module), module.training, hooks, frozen


@pytest.mark.parametrize(
    "backbone",
    [
        small(),
        convolving(Declares),
        convolving(Convolves),
        with_block(Does(UNTRACEABLE["value"])),
        with_block(Does(UNKNOWN["inner"][0])),
        with_block(Does(FAULTY["division"][0])),
    ],
    ids=["plain", "declared", "convolutions", "untraceable", "unknown operator", "error of its own"],
)
def test_backbone_is_left_as_it_was(backbone: Backbone) -> None:
    before = list(state(backbone))
    for _ in range(2):
        with contextlib.suppress(AuditError):
            count_stage(backbone, 0)
        assert list(state(backbone)) == before
    assert torch._C._get_tracing_state() is None


def test_hooks_of_the_owner_stay_and_can_be_removed() -> None:
    backbone = small()
    calls: list[nn.Module] = []
    handle = backbone.blocks[0].register_forward_hook(lambda module, inputs, output: calls.append(module))
    count_stage(backbone, 0)
    assert len(calls) == 1
    handle.remove()
    count_stage(backbone, 0)
    assert len(calls) == 1


def test_what_a_part_caches_in_a_trace_is_dropped() -> None:
    block = Does(lambda x, w: setattr(block, "cache", x) or x)
    count_stage(with_block(block), 0)
    assert not hasattr(block, "cache")


def test_counting_is_repeatable() -> None:
    backbone = small()
    assert count_stage(backbone, 0) == count_stage(backbone, 0)


def test_parts_add_up() -> None:
    counted = count_stage(small(), 0)
    assert counted.macs == sum(counts for name, counts in counted.modules.items() if "." not in name)
    assert 0 < counted.attention_macs < counted.modules["blocks"]
    assert counted.norm_ops > 0
