"""Every operator's handler against PyTorch's own counter, or against brute force where that counts nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fvcore.nn import FlopCountAnalysis
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._ops import OpOverloadPacket
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from zoo.audit.operators import COUNTED, NORMS, UNTAGGED, einsum_macs, is_negligible, norm_operations

Operation = Callable[..., Tensor]


class Calls(nn.Module):
    """A module that runs one operation."""

    def __init__(self, operation: Operation) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.operation(*inputs)


def meta(*shapes: Sequence[int]) -> tuple[Tensor, ...]:
    return tuple(torch.empty(tuple(shape), device="meta") for shape in shapes)


def analysed(operation: Operation, inputs: Sequence[Tensor], handles: dict[str, Any] = COUNTED) -> FlopCountAnalysis:
    analysis = FlopCountAnalysis(Calls(operation), tuple(inputs)).clear_op_handles().set_op_handle(**handles)
    return analysis.unsupported_ops_warnings(False)


def counted(operation: Operation, *shapes: Sequence[int]) -> int:
    analysis = analysed(operation, meta(*shapes))
    total = analysis.total()
    assert all(map(is_negligible, analysis.unsupported_ops()))
    return total


def witnessed(operation: Operation, *shapes: Sequence[int]) -> int:
    with FlopCounterMode(display=False) as counter:
        operation(*meta(*shapes))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("operation", "shapes"),
    [
        (torch.mm, [(3, 5), (5, 7)]),
        (torch.bmm, [(2, 3, 5), (2, 5, 7)]),
        (torch.addmm, [(3, 7), (3, 5), (5, 7)]),
        (torch.addmm, [(7,), (3, 5), (5, 7)]),
        (torch.baddbmm, [(2, 3, 7), (2, 3, 5), (2, 5, 7)]),
        (torch.baddbmm, [(1, 1, 7), (2, 3, 5), (2, 5, 7)]),
        (torch.matmul, [(3, 5), (5, 7)]),
        (torch.matmul, [(2, 3, 5), (5, 7)]),
        (torch.matmul, [(3, 5), (2, 5, 7)]),
        (torch.matmul, [(2, 1, 3, 5), (4, 5, 7)]),
        (torch.matmul, [(2, 1, 3, 5), (1, 4, 5, 7)]),
        (lambda a, b: a @ b, [(2, 3, 5), (2, 5, 1)]),
        (F.linear, [(3, 5), (7, 5)]),
        (F.linear, [(3, 5), (7, 5), (7,)]),
        (F.linear, [(2, 4, 3, 5), (7, 5), (7,)]),
        (F.linear, [(2, 4, 3, 5), (7, 5)]),
    ],
)
def test_products(operation: Operation, shapes: list[Sequence[int]]) -> None:
    assert counted(operation, *shapes) == witnessed(operation, *shapes) > 0


@pytest.mark.parametrize(
    ("operation", "shapes", "macs"),
    [
        (torch.mv, [(3, 5), (5,)], 15),
        (torch.dot, [(5,), (5,)], 5),
        (torch.matmul, [(5,), (5,)], 5),
        (torch.matmul, [(3, 5), (5,)], 15),
        (torch.matmul, [(5,), (5, 7)], 35),
        (torch.matmul, [(2, 3, 5), (5,)], 30),
        (torch.matmul, [(5,), (2, 5, 7)], 70),
        (F.linear, [(5,), (7, 5)], 35),
    ],
)
def test_products_with_vectors(operation: Operation, shapes: list[Sequence[int]], macs: int) -> None:
    """``FlopCounterMode`` counts none of some of these."""
    assert counted(operation, *shapes) == macs


ATTENTION_SHAPES = [
    [(2, 3, 4, 8), (2, 3, 4, 8), (2, 3, 4, 8)],
    [(2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 8)],
    [(2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 5)],
    [(2, 4, 8), (2, 6, 8), (2, 6, 5)],
    [(4, 8), (6, 8), (6, 5)],
    [(1, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 8)],
    [(3, 4, 8), (2, 1, 6, 8), (2, 1, 6, 8)],
]


@pytest.mark.parametrize("shapes", ATTENTION_SHAPES)
def test_attention(shapes: list[Sequence[int]]) -> None:
    attention = F.scaled_dot_product_attention
    assert counted(attention, *shapes) == witnessed(attention, *shapes) > 0


@pytest.mark.parametrize(
    ("keywords", "shapes"),
    [
        ({"is_causal": True}, [(2, 3, 4, 8), (2, 3, 4, 8), (2, 3, 4, 8)]),
        ({"enable_gqa": True}, [(2, 6, 4, 8), (2, 2, 5, 8), (2, 2, 5, 8)]),
        ({"scale": 0.5}, [(2, 3, 4, 8), (2, 3, 4, 8), (2, 3, 4, 8)]),
        ({"attn_mask": torch.empty(4, 6, device="meta")}, [(2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 8)]),
    ],
    ids=["causal", "grouped queries", "scale", "mask"],
)
def test_attention_with_options(keywords: dict[str, Any], shapes: list[Sequence[int]]) -> None:
    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, **keywords)

    assert counted(attention, *shapes) == witnessed(attention, *shapes) > 0


@st.composite
def einsums(draw: st.DrawFn) -> tuple[str, list[list[int]]]:
    """An equation of two operands, and their shapes; an index may be broadcast from 1."""
    letters = "abcdef"
    sizes = {letter: draw(st.integers(1, 5)) for letter in letters}
    terms = ["".join(draw(st.lists(st.sampled_from(letters), unique=True, max_size=4))) for _ in range(2)]
    used = sorted(set("".join(terms)))
    output = "".join(draw(st.permutations(used)))[: draw(st.integers(0, len(used)))]
    shapes = [[1 if draw(st.integers(0, 7)) == 0 else sizes[letter] for letter in term] for term in terms]
    return f"{terms[0]},{terms[1]}->{output}", shapes


@settings(max_examples=400)
@given(einsums())
def test_einsum(drawn: tuple[str, list[list[int]]]) -> None:
    equation, shapes = drawn

    def operation(a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum(equation, a, b)

    assert einsum_macs(equation, shapes) == witnessed(operation, *shapes)


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("bmi,iom->bmo", [(1, 16, 32), (32, 32, 16)], 16 * 32 * 32),
        ("ij,jk->ik", [(3, 5), (5, 7)], 105),
        ("i j , j k -> i k", [(3, 5), (5, 7)], 105),
        ("i,j->ij", [(3,), (5,)], 0),
        ("ij,k->jk", [(3, 5), (7,)], 0),
        ("ij,jk->ik", [(3, 1), (1, 7)], 0),
        ("ii,ij->j", [(3, 3), (3, 5)], 15),
        ("ij,ij->ij", [(3, 5), (3, 5)], 0),
        ("ij,ij->", [(3, 5), (3, 5)], 15),
    ],
)
def test_einsum_handler(equation: str, shapes: list[Sequence[int]], macs: int) -> None:
    assert counted(lambda a, b: torch.einsum(equation, a, b), *shapes) == macs


@pytest.mark.parametrize("equation", ["ij,jk,kl->il", "...i,ij->...j", "ij,jk", "ij->ji"])
def test_einsum_that_cannot_be_counted(equation: str) -> None:
    with pytest.raises(ValueError, match="only two operands with an explicit output"):
        einsum_macs(equation, [(2, 2)] * 3)


NORM_CALLS: dict[str, tuple[Callable[[Tensor, Tensor | None], Tensor], Sequence[int]]] = {
    "aten::layer_norm": (lambda x, w: F.layer_norm(x, x.shape[-1:], w, w), (2, 6, 8)),
    "aten::rms_norm": (lambda x, w: F.rms_norm(x, (8,), w), (2, 6, 8)),
    "aten::group_norm": (lambda x, w: F.group_norm(x, 4, w, w), (2, 8, 6)),
    "aten::instance_norm": (lambda x, w: F.instance_norm(x, weight=w, bias=w), (2, 8, 6)),
}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", NORM_CALLS)
def test_norms(name: str, affine: bool) -> None:
    """As fvcore counts them, which has no RMSNorm."""
    call, shape = NORM_CALLS[name]
    inputs = (torch.zeros(shape), torch.zeros(8)) if affine else (torch.zeros(shape),)

    def norm(x: Tensor, weight: Tensor | None = None) -> Tensor:
        return call(x, weight)

    ours = analysed(norm, inputs, {name: norm_operations(NORMS[name])}).total()
    assert ours == prod(shape) * (5 if affine else 4)
    if name != "aten::rms_norm":
        assert ours == FlopCountAnalysis(Calls(norm), inputs).unsupported_ops_warnings(False).total()


def test_every_norm_is_tested() -> None:
    assert set(NORM_CALLS) == set(NORMS)


def test_an_operator_is_in_one_table() -> None:
    assert not set(COUNTED) & set(NORMS)
    assert not [name for name in (*COUNTED, *NORMS) if is_negligible(name)]


def test_what_is_listed_exists_and_has_no_tag() -> None:
    for name in UNTAGGED:
        packet = getattr(torch.ops.aten, name)
        tags = {tag for each in packet.overloads() for tag in getattr(packet, each).tags}
        assert not tags & {torch.Tag.pointwise, torch.Tag.reduction}, name


PRODUCTS = {"mm", "mv", "addmm", "addmv", "attention", "bilinear", "bmm", "cdist", "dot", "einsum", "gru", "inner"}
PRODUCTS |= {"kron", "linear", "lstm", "matmul", "rnn", "tensordot", "vdot"}


def test_nothing_that_multiplies_matrices_is_negligible() -> None:
    """Of all operators of PyTorch: those that its own counter counts, and those that are called so."""
    packets = [name for name in dir(torch.ops.aten) if isinstance(getattr(torch.ops.aten, name), OpOverloadPacket)]
    found = [name for name in packets if is_negligible(f"aten::{name}")]
    assert len(found) > 300
    counted = {str(packet).removeprefix("aten.") for packet in flop_registry}
    assert not counted & set(found)
    assert [name for name in found if PRODUCTS & set(name.split("_")) or "conv" in name] == []


FREE: dict[str, Operation] = {
    "mish": F.mish,
    "leaky_relu": F.leaky_relu,
    "hardswish": F.hardswish,
    "glu": F.glu,
    "erfinv": torch.erfinv,
    "lt": lambda x: (x < 0).to(x),
    "all": lambda x: (x < 0).all(dim=1).to(x),
    "in place": lambda x: F.mish(x.clone(), inplace=True),
    "amin": lambda x: x.amin(dim=1),
    "logsumexp": lambda x: x.logsumexp(dim=1),
    "std": lambda x: x.std(dim=1),
    "cumsum": lambda x: x.cumsum(1),
    "topk": lambda x: x.topk(2).values,
    "gather": lambda x: x.gather(1, x.argsort(dim=1)),
    "scatter_add": lambda x: torch.zeros_like(x).scatter_add(1, x.argsort(dim=1), x),
    "tril": torch.tril,
    "pooling": lambda x: F.avg_pool2d(x, 2) + F.max_pool2d(x, 2) + F.adaptive_avg_pool2d(x, (2, 4)),
    "im2col": lambda x: F.unfold(x, 2, stride=2),
    "unfold": lambda x: x.unfold(1, 2, 2),
}


@pytest.mark.parametrize("name", FREE)
def test_elementwise_operators_reductions_and_look_ups_are_free(name: str) -> None:
    assert counted(FREE[name], (2, 4, 8)) == 0


def test_an_operator_of_another_library_is_not_believed() -> None:
    """Whatever tags it gives itself."""

    @torch.library.custom_op("zoo_tests::disguised", mutates_args=(), tags=(torch.Tag.pointwise,))
    def disguised(x: Tensor) -> Tensor:
        return x @ x

    assert torch.Tag.pointwise in torch.ops.zoo_tests.disguised.default.tags
    assert not is_negligible("zoo_tests::disguised")
