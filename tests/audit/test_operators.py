"""Every operator's handler against PyTorch's own counter, or against brute force where that counts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fvcore.nn import FlopCountAnalysis
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._ops import OpOverloadPacket
from torch.utils.flop_counter import flop_registry

from tests.audit.operations import Calls, Operation, analysed, counted, witnessed
from zoo.audit.operators import (
    COUNTED,
    MULTIPLICATIONS,
    NORM_OPS,
    NORMS,
    PRODUCTS,
    UNTAGGED,
    einsum_macs,
    is_negligible,
)


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


ACROSS = [(2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 8)]
"""Queries to keys and values of another length."""


@pytest.mark.parametrize(
    ("keywords", "shapes"),
    [
        ({"is_causal": True}, [(2, 3, 4, 8), (2, 3, 4, 8), (2, 3, 4, 8)]),
        ({"enable_gqa": True}, [(2, 6, 4, 8), (2, 2, 5, 8), (2, 2, 5, 8)]),
        ({"scale": 0.5}, [(2, 3, 4, 8), (2, 3, 4, 8), (2, 3, 4, 8)]),
        ({"attn_mask": torch.empty(4, 6, device="meta")}, ACROSS),
        ({"attn_mask": torch.empty(4, 6, dtype=torch.bool, device="meta")}, ACROSS),
        ({"attn_mask": torch.empty(2, 1, 1, 6, dtype=torch.bool, device="meta")}, ACROSS),
    ],
    ids=["causal", "grouped queries", "scale", "mask", "boolean mask", "boolean mask of keys"],
)
def test_attention_with_options(keywords: dict[str, Any], shapes: list[Sequence[int]]) -> None:
    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, **keywords)

    assert counted(attention, *shapes) == witnessed(attention, *shapes) > 0


def attention_of_einsums(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.einsum("bhqd,bhkd->bhqk", q, k).softmax(dim=-1)
    return torch.einsum("bhqk,bhkd->bqhd", weights, v)


def test_attention_by_other_means_counts_as_much() -> None:
    fused = counted(F.scaled_dot_product_attention, *ACROSS)
    assert fused == counted(attention_of_einsums, *ACROSS) == counted(lambda q, k, v: (q @ k.mT) @ v, *ACROSS)
    assert fused == 2 * (2 * 3) * 4 * 6 * 8


@st.composite
def einsums(draw: st.DrawFn) -> tuple[str, list[list[int]]]:
    """An equation of one or two operands, and their shapes; an index may be broadcast from 1."""
    letters, axes = "abcDef", [draw(st.integers(1, 4)) for _ in range(2)]
    sizes = {letter: draw(st.integers(1, 5)) for letter in letters}
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 2))):
        term = "".join(draw(st.lists(st.sampled_from(letters), unique=True, max_size=4)))
        before, after = term[: draw(st.integers(0, 4))], axes[draw(st.integers(0, 2)) :]
        hidden = "..." if after or draw(st.booleans()) else ""
        whole = [*map(sizes.get, before), *after, *map(sizes.get, term[len(before) :])]
        terms.append(before + hidden + term[len(before) :])
        shapes.append([1 if draw(st.integers(0, 7)) == 0 else size for size in whole])
    equation = ",".join(terms)
    if draw(st.booleans()):
        used = sorted({*equation} & {*letters}) + ["..."] * ("..." in equation)
        output = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
        equation += "->" + "".join(output)
    return equation, shapes


@settings(max_examples=400)
@given(einsums())
def test_einsum(drawn: tuple[str, list[list[int]]]) -> None:
    equation, shapes = drawn

    def operation(*operands: Tensor) -> Tensor:
        return torch.einsum(equation, *operands)

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
        ("ij->ji", [(3, 5)], 0),
        ("ij,jk", [(3, 5), (5, 7)], 105),
        ("...i,ij->...j", [(2, 3, 5), (5, 7)], 2 * 105),
        ("...i,...j->...ij", [(2, 5), (2, 7)], 0),
        ("b...i,ij...", [(2, 4, 3, 5), (5, 7, 3)], 2 * 4 * 105),
    ],
)
def test_einsum_handler(equation: str, shapes: list[Sequence[int]], macs: int) -> None:
    assert counted(lambda *operands: torch.einsum(equation, *operands), *shapes) == macs


def test_einsum_of_three_operands_cannot_be_counted() -> None:
    with pytest.raises(ValueError, match="einsum 'ij,jk,kl->il': of more than two operands, the order"):
        einsum_macs("ij,jk,kl->il", [(2, 2)] * 3)


NORM_CALLS: dict[str, Operation] = {
    "aten::batch_norm": lambda x, w=None: F.batch_norm(x, x[0, :, 0], x[0, :, 0], w, w),
    "aten::group_norm": lambda x, w=None: F.group_norm(x, 4, w, w),
    "aten::instance_norm": lambda x, w=None: F.instance_norm(x, weight=w, bias=w),
    "aten::layer_norm": lambda x, w=None: F.layer_norm(x, x.shape[-1:], w, w),
    "aten::rms_norm": lambda x, w=None: F.rms_norm(x, x.shape[-1:], w),
}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", NORM_CALLS)
def test_norms(name: str, affine: bool) -> None:
    """As fvcore counts them, which has no RMSNorm."""
    inputs = (torch.zeros(2, 8, 8), torch.zeros(8))[: 1 + affine]
    counts = analysed(NORM_CALLS[name], inputs, {name: NORMS[name]}).by_operator()
    ours = counts[NORM_OPS]
    assert counts[PRODUCTS] == affine * 2 * 8 * 8
    each = 1 if name == "aten::batch_norm" else 4  # whose mean and variance are given
    assert ours == 2 * 8 * 8 * (each + affine)
    if name != "aten::rms_norm":
        assert ours == FlopCountAnalysis(Calls(NORM_CALLS[name]), inputs).unsupported_ops_warnings(False).total()


@pytest.mark.parametrize(
    ("operation", "products"),
    [
        (lambda x, y: x * y, 24),
        (lambda x, y: x[:1] * y[:, :1], 24),
        (lambda x, y: x * 2.0 + 1.0, 24),
        (lambda x, y: x.clone().mul_(y), 24),
        (lambda x, y: torch.addcmul(x, x, y), 24),
        (lambda x, y: x.reshape(x.shape[0] * x.shape[1]) + 1.0, 0),  # of sizes
        (lambda x, y: x + y - x / y, 0),
    ],
)
def test_elementwise_products_are_one_an_element(operation: Operation, products: int) -> None:
    counts = analysed(operation, [torch.zeros(4, 6), torch.zeros(4, 6)], MULTIPLICATIONS).by_operator()
    assert counts[PRODUCTS] == products


def test_batch_norm_of_a_batchs_own_mean_and_variance_is_like_other_norms() -> None:
    handles = {"aten::batch_norm": NORMS["aten::batch_norm"]}
    x = torch.zeros(2, 8, 8)
    counts = analysed(lambda x: F.batch_norm(x, None, None, training=True), [x], handles).by_operator()
    assert counts[NORM_OPS] == 4 * x.numel()


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


OF_MATRICES = {"mm", "mv", "addmm", "addmv", "attention", "bilinear", "bmm", "cdist", "dot", "einsum", "gru", "inner"}
OF_MATRICES |= {"kron", "linear", "lstm", "matmul", "rnn", "tensordot", "vdot"}


def test_nothing_that_multiplies_matrices_is_negligible() -> None:
    """Of all operators of PyTorch: those that its own counter counts, and those that are called so."""
    packets = [name for name in dir(torch.ops.aten) if isinstance(getattr(torch.ops.aten, name), OpOverloadPacket)]
    found = [name for name in packets if is_negligible(f"aten::{name}")]
    assert len(found) > 300
    counted = {str(packet).removeprefix("aten.") for packet in flop_registry}
    assert not counted & set(found)
    assert [name for name in found if OF_MATRICES & set(name.split("_")) or "conv" in name] == []


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
    "sort": lambda x: x.sort(dim=1, descending=True).values,
    "msort": torch.msort,
    "topk": lambda x: x.topk(2).values + x.topk(2).indices,
    "kthvalue": lambda x: x.kthvalue(2).values,
    "gather": lambda x: x.gather(1, x.argsort(dim=1)),
    "take_along_dim": lambda x: x.take_along_dim(x.argsort(dim=1), 1),
    "index": lambda x: x[:, x[0, :, 0].argsort()] + x.index_select(1, x[0, :, 0].argsort()),
    "mask": lambda x: x.masked_fill(x > 0, 1) + x.masked_scatter(x > 0, x) + x.where(x > 0, 2),
    "index_put": lambda x: x.clone().index_put_((x[:, 0, 0].argsort(),), x),
    "index_add": lambda x: x.index_add(1, x[0, :, 0].argsort(), x) + x.index_copy(1, x[0, :, 0].argsort(), x),
    "scatter": lambda x: torch.zeros_like(x).scatter(1, x.argsort(dim=1), x),
    "scatter_add": lambda x: torch.zeros_like(x).scatter_add(1, x.argsort(dim=1), x),
    "scatter_reduce": lambda x: torch.zeros_like(x).scatter_reduce(1, x.argsort(dim=1), x, "mean"),
    "bucketize": lambda x: torch.bucketize(x, x[0, 0]).to(x),
    "tril": torch.tril,
    "im2col": lambda x: F.unfold(x, 2, stride=2),
    "col2im": lambda x: F.fold(F.unfold(x, 3, padding=1), x.shape[-2:], 3, padding=1),
    "unfold": lambda x: x.unfold(1, 2, 2),
    "pixel_shuffle": lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x.unsqueeze(0), 2),
    "roll": lambda x: x.roll(1, 1) + x.flip(1) + x.rot90(2, (1, 2)),
    "weight_norm": lambda x: torch._weight_norm(x, x[:, :1, :1]),
    "grid_sample": lambda x: F.grid_sample(x.unsqueeze(0), x.view(1, 4, 8, 2), align_corners=False),
}


@pytest.mark.parametrize("name", FREE)
def test_elementwise_operators_reductions_and_look_ups_are_free(name: str) -> None:
    assert counted(FREE[name], (2, 4, 8)) == 0


POOLS = {"avg_pool": "kernel_size", "max_pool": "kernel_size", "adaptive_avg_pool": "output_size"}
POOLS |= {"adaptive_max_pool": "output_size"}
PADS = ["constant", "circular", "reflect", "replicate"]
MODES = {
    1: ["nearest", "nearest-exact", "linear", "area"],
    2: ["nearest", "nearest-exact", "bilinear", "bicubic", "area"],
    3: ["nearest", "nearest-exact", "trilinear", "area"],
}


@pytest.mark.parametrize("axes", MODES)
def test_pooling_padding_and_resampling_are_free(axes: int) -> None:
    """Also where it is a weighted mean: the weights are no matrix, and PyTorch's counter sees no product either."""
    operations = [partial(getattr(F, f"{pool}{axes}d"), **{option: 2}) for pool, option in POOLS.items()]
    operations += [partial(F.pad, pad=(1, 1) * axes, mode=mode) for mode in PADS]
    for mode in MODES[axes]:
        operations += [
            partial(F.interpolate, scale_factor=2, mode=mode),
            partial(F.interpolate, size=(3,) * axes, mode=mode),
        ]
    if axes == 2:
        operations += [partial(F.interpolate, size=3, mode=mode, antialias=True) for mode in ("bilinear", "bicubic")]
    for operation in operations:
        assert counted(operation, (2, 3, *(6, 4, 8)[:axes])) == 0
        assert witnessed(operation, (2, 3, *(6, 4, 8)[:axes]), device="cpu") == 0


def test_an_operator_of_another_library_is_not_believed() -> None:
    """Whatever tags it gives itself."""

    @torch.library.custom_op("zoo_tests::disguised", mutates_args=(), tags=(torch.Tag.pointwise,))
    def disguised(x: Tensor) -> Tensor:
        return x @ x

    assert torch.Tag.pointwise in torch.ops.zoo_tests.disguised.default.tags
    assert not is_negligible("zoo_tests::disguised")
