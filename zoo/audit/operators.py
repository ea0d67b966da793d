"""Multiply-adds of single operators, for fvcore.

fvcore has no handler for fused attention, approximates einsum and counts resampling as multiply-adds. This table
replaces its own: an operator is counted here, is a norm (counted apart), is negligible, or is an error.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch

Handle = Callable[[Sequence[Any], Sequence[Any]], int | Counter[str]]
"""Multiply-adds of one node of a traced graph, from its inputs and outputs (``torch._C.Value``); or counts by name."""

ATTENTION = "scaled_dot_product_attention"
PRODUCTS = "elementwise products"
"""What some counters charge besides multiply-adds: one for each element."""


def shape_of(value: Any) -> list[int]:
    """The traced shape of a tensor value."""
    sizes = value.type().sizes()
    assert sizes is not None, "a traced tensor has a shape"
    return list(sizes)


def _contracted(a: int) -> Handle:
    """Products whose contracted axis is the last one of input ``a``: every output element takes that many."""

    def count(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
        return prod(shape_of(outputs[0])) * shape_of(inputs[a])[-1]

    return count


def _convolution(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """A kernel over the channels of a group for every output element, or for every input element if transposed."""
    transposed = inputs[6].toIValue() is True  # where `padding="same"`, which cannot be transposed, has its groups
    return prod(shape_of(inputs[0] if transposed else outputs[0])) * prod(shape_of(inputs[1])[1:])


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """softmax(q k') v: queries x keys x (width of q + width of v), for every head; q is scaled, elementwise."""
    *queries, value_width = shape_of(outputs[0])
    keys, width = shape_of(inputs[1])[-2:]
    macs = prod(queries) * keys * (width + value_width)
    return Counter({ATTENTION: macs, PRODUCTS: prod(queries) * width})


def _product(_: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """One an element; none for a product of sizes, which a trace has among the tensors."""
    shape = outputs[0].type().sizes() if outputs[0].type().kind() == "TensorType" else None
    return Counter({PRODUCTS: prod(shape)} if shape else {})


def _einsum(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    operands = [shape_of(value) for value in inputs[1].node().inputs()]
    return einsum_macs(inputs[0].toIValue(), operands)


def einsum_macs(equation: str, shapes: Sequence[Sequence[int]]) -> int:
    """Multiply-adds of an einsum of one or two operands, as PyTorch runs it: one batched matrix product.

    Only an index of size above 1 in both operands is contracted. One that a single operand has is summed before, and a
    product without contraction is elementwise, which has no multiply-adds.

    Raises:
        ValueError: more operands, which PyTorch multiplies in an order that does not depend on the shapes alone.
    """
    terms, output = _einsum_terms(equation, shapes)
    if len(terms) == 1:
        return 0
    if len(terms) > 2:
        raise ValueError(
            f"einsum {equation!r}: of more than two operands, the order of the products is not known; write it as"
            " products of two"
        )
    left, right = (dict(zip(term, shape, strict=True)) for term, shape in zip(terms, shapes, strict=True))
    contracted = {index for index in left.keys() & right.keys() - set(output) if left[index] > 1 < right[index]}
    if not contracted:
        return 0
    return prod(max(left.get(index, 1), right.get(index, 1)) for index in {*output, *contracted})


def _einsum_terms(equation: str, shapes: Sequence[Sequence[int]]) -> tuple[list[str], str]:
    """Indices of each operand and of the output, with digits for the axes of an ellipsis, the last of which is 0."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not arrow:
        output = "..." + "".join(index for index in sorted({*inputs} - {*",."}) if inputs.count(index) == 1)
    hidden = [len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True)]
    digits = [string.digits[:count][::-1] for count in (*hidden, max(hidden))]
    *terms, output = (term.replace("...", axes) for term, axes in zip((*terms, output), digits, strict=True))
    return terms, output


COUNTED: dict[str, Handle] = {
    "aten::linear": _contracted(0),
    "aten::matmul": _contracted(0),
    "aten::mm": _contracted(0),
    "aten::bmm": _contracted(0),
    "aten::mv": _contracted(0),
    "aten::dot": _contracted(0),
    "aten::addmm": _contracted(1),
    "aten::baddbmm": _contracted(1),
    "aten::_convolution": _convolution,
    "aten::_convolution_mode": _convolution,
    "aten::einsum": _einsum,
    "aten::scaled_dot_product_attention": _attention,
}
"""Operators with multiply-adds."""

NORM_OPS = "norms"


def _norm(weight: int, *, training: int | None = None) -> Handle:
    """fvcore's estimate: 4 operations an element, 5 with a weight, which is an elementwise product.

    Args:
        weight: at which place of the inputs it stands.
        training: at which place they say whether mean and variance have yet to be found: 3 an element less, if not.
    """

    def count(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
        elements = prod(shape_of(inputs[0]))
        has_weight = inputs[weight].type().kind() == "TensorType"
        has_statistics = training is not None and not inputs[training].toIValue()
        each = 4 + has_weight - 3 * has_statistics
        return Counter({NORM_OPS: each * elements, PRODUCTS: has_weight * elements})

    return count


NORMS: dict[str, Handle] = {
    "aten::batch_norm": _norm(1, training=5),
    "aten::group_norm": _norm(2),
    "aten::instance_norm": _norm(1),
    "aten::layer_norm": _norm(2),
    "aten::rms_norm": _norm(2),
}
"""Norms, whose operations are no multiply-adds."""

MULTIPLICATIONS: dict[str, Handle] = {
    f"aten::{name}{in_place}": _product for name in ("mul", "multiply", "addcmul") for in_place in ("", "_")
}
"""Elementwise products, which have no multiply-adds either."""

UNTAGGED: frozenset[str] = frozenset(
    (
        # elementwise operators and reductions, by their other names too
        *("absolute", "complex", "divide", "floor_divide", "glu", "greater", "hardswish", "less", "log_sigmoid"),
        *("log_softmax", "multiply", "negative", "prelu", "softmax", "special_expit", "subtract", "_weight_norm"),
        # scans, sorting, look-ups and picking
        *("argsort", "cumprod", "cumsum", "kthvalue", "logcumsumexp", "msort", "sort", "topk"),
        *("bucketize", "embedding", "gather", "index_add", "index_copy", "index_fill", "index_put", "index_select"),
        *("masked_scatter", "masked_select", "one_hot", "scatter", "scatter_add", "scatter_reduce", "searchsorted"),
        *("grid_sampler", "take", "take_along_dim"),
        # patches
        *("channel_shuffle", "col2im", "im2col", "pixel_shuffle", "pixel_unshuffle", "unfold"),
        # constants
        *("empty_like", "eye", "lift_fresh", "linspace", "new_ones", "ones_like", "scalar_tensor"),
        # shapes
        *("alias", "broadcast_tensors", "broadcast_to", "cartesian_prod", "combinations", "diag_embed", "diagonal"),
        *("dropout", "expand_as"),
        *("feature_dropout", "flip", "imag", "meshgrid", "movedim", "mT", "numel", "numpy_T", "pad", "promote_types"),
        *("real", "repeat", "repeat_interleave", "reshape_as", "result_type", "rot90", "swapaxes", "tensor_split"),
        *("tile", "tril", "triu", "unflatten", "view_as", "view_as_complex", "view_as_real"),
    )
)
UNTAGGED_FAMILIES = ("adaptive_avg_pool", "adaptive_max_pool", "avg_pool", "fft_", "max_pool", "upsample", "_upsample")
"""Operators without multiply-adds that PyTorch does not tag as such and fvcore does not ignore, and what the names of
others begin with. FFTs have none by definition: all counters leave them out. Resampling (``F.interpolate``) has none as
pooling has none: its weights are constants, which no counter takes for a product of matrices."""

FREE_TAGS = frozenset({torch.Tag.pointwise, torch.Tag.reduction})


def is_negligible(operator: str) -> bool:
    """Whether an operator (``aten::mish``), which is neither counted nor a norm, has no multiply-adds.

    Those that PyTorch tags as pointwise or as a reduction have none, nor have those that do the same in place. An
    operator of another library is not believed, whatever its tags.
    """
    library, _, name = operator.partition("::")
    if library != "aten":
        return False
    name = name.removesuffix("_")
    if name in UNTAGGED or name.startswith(UNTAGGED_FAMILIES):
        return True
    packet = getattr(torch.ops.aten, name, None)
    return packet is not None and any(FREE_TAGS & set(getattr(packet, each).tags) for each in packet.overloads())
