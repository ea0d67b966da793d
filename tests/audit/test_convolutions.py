"""Convolutions of all kinds, traced on the meta device, count what PyTorch's own counter sees on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.audit.operations import Operation, analysed, counted, witnessed, zeros
from zoo.audit.convolutions import RecordedConvolutions

PLAIN = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Layer:
    """A convolution and the shape of its input."""

    cls: type[nn.Module]
    channels: tuple[int, int]
    options: dict[str, Any]
    shape: tuple[int, ...]

    def made(self, device: str) -> nn.Module:
        return self.cls(*self.channels, **self.options, device="meta").to_empty(device=device)


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    axes = draw(st.integers(1, 3))
    transposed = draw(st.booleans())

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    stride = each(1, 3)
    options = {"kernel_size": each(1, 3), "stride": stride, "dilation": each(1, 2), "groups": groups}
    options["bias"] = draw(st.booleans())
    if transposed:
        options |= {"padding": each(0, 1), "output_padding": tuple(draw(st.integers(0, step - 1)) for step in stride)}
        options["dilation"] = tuple(map(max, options["dilation"], stride))
    else:
        options["padding"] = draw(st.sampled_from([each(0, 2), "valid", "same"]))
        options["padding_mode"] = draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"]))
        if options["padding"] == "same":
            options["stride"] = 1
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    return Layer((TRANSPOSED if transposed else PLAIN)[axes - 1], channels, options, (*batch, channels[0], *each(5, 7)))


@given(layers())
def test_a_layer(layer: Layer) -> None:
    macs = witnessed(layer.made("cpu"), layer.shape, device="cpu")
    assert counted(layer.made("meta"), layer.shape) == witnessed(layer.made("meta"), layer.shape) == macs > 0


X, D = (2, 4, 6, 5), {"dilation": 2, "padding": 2}
TABLE: dict[str, tuple[Operation, Sequence[tuple[int, ...]], int]] = {
    "one axis": (F.conv1d, [(2, 4, 6), (3, 4, 3)], 2 * 3 * 4 * 4 * 3),
    "one number for all axes": (lambda x, w: F.conv2d(x, w, None, 2, 1), [X, (3, 4, 3, 3)], 2 * 3 * (3 * 3) * 4 * 9),
    "three axes": (F.conv3d, [(1, 2, 4, 4, 4), (3, 2, 3, 3, 3)], 3 * 8 * 2 * 27),
    "bias": (F.conv2d, [X, (3, 4, 3, 3), (3,)], 2 * 3 * (4 * 3) * 4 * 9),
    "depthwise": (lambda x, w: F.conv2d(x, w, padding=1, groups=4), [X, (4, 1, 3, 3)], 2 * 4 * (6 * 5) * 9),
    "dilated": (lambda x, w: F.conv2d(x, w, **D), [X, (3, 4, 3, 3)], 2 * 3 * (6 * 5) * 4 * 9),
    "same": (lambda x, w: F.conv2d(x, w, padding="same"), [X, (3, 4, 3, 3)], 2 * 3 * (6 * 5) * 4 * 9),
    "same, in groups": (lambda x, w: F.conv2d(x, w, padding="same", groups=2), [X, (6, 2, 3, 3)], 2 * 6 * 30 * 2 * 9),
    "patches": (lambda x, w: F.conv2d(x, w, stride=(3, 5)), [X, (7, 4, 3, 5)], 2 * 7 * (2 * 1) * 4 * 15),
    "no batch": (F.conv2d, [X[1:], (3, 4, 3, 3)], 3 * (4 * 3) * 4 * 9),
    "by name": (lambda x, w: F.conv2d(weight=w, input=x), [X, (3, 4, 3, 3)], 2 * 3 * (4 * 3) * 4 * 9),
    "transposed": (lambda x, w: F.conv_transpose2d(x, w, stride=2), [X, (4, 3, 2, 2)], 2 * 4 * (6 * 5) * 3 * 4),
    "transposed, in groups": (
        lambda x, w: F.conv_transpose1d(x, w, groups=2, output_padding=1, stride=2),
        [(2, 4, 6), (4, 3, 5)],
        2 * 4 * 6 * 3 * 5,
    ),
    "transposed, three axes": (F.conv_transpose3d, [(1, 2, 3, 3, 3), (2, 5, 2, 2, 2)], 2 * 27 * 5 * 8),
    "operator": (
        lambda x, w: torch.convolution(x, w, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1),
        [X, (3, 4, 3, 3)],
        2 * 3 * (4 * 3) * 4 * 9,
    ),
    "vmap": (
        lambda x, w: torch.vmap(lambda kernel: F.conv2d(x, kernel))(w),
        [X, (5, 3, 4, 3, 3)],
        5 * 2 * 3 * (4 * 3) * 4 * 9,
    ),
}
"""Multiply-adds: batch x output channels x output elements x input channels of a group x kernel."""


@pytest.mark.parametrize("case", TABLE)
def test_a_function(case: str) -> None:
    operation, shapes, macs = TABLE[case]
    assert counted(operation, *shapes) == witnessed(operation, *shapes, device="cpu") == macs


def test_shapes_and_dtypes_in_a_trace_are_those_of_a_cpu() -> None:
    seen: list[tuple[tuple[int, ...], torch.dtype]] = []

    def look(x: Tensor, w: Tensor) -> Tensor:
        y = F.conv2d(x, w, stride=2, padding=1)
        seen.append((tuple(map(int, y.shape)), y.dtype))
        return y

    for device in ("cpu", "meta"):
        analysed(look, [each.half() for each in zeros(device, X, (3, 4, 3, 3))])
    assert seen == [((2, 3, 3, 3), torch.float16)] * 2


def test_a_pass_without_a_trace_is_what_it_was() -> None:
    x, w = torch.randn(X), torch.randn(3, 4, 3, 3, requires_grad=True)
    plain = F.conv2d(x, w)
    with RecordedConvolutions():
        recorded = F.conv2d(x, w)
    assert torch.equal(recorded, plain)
    assert torch.equal(*(torch.autograd.grad(each.square().sum(), w)[0] for each in (recorded, plain)))
