from dataclasses import replace

import pytest
import torch

from zoo.parts import Group, Layout, Rotary
from zoo.parts.rope import AxialRotary
from zoo_lightning.block import LightningBlock, SwiGLU, swiglu_width

DIM, HEADS, GRID = 16, 2, (2, 3)


def case(m: int = 2, dtype: torch.dtype = torch.float64):
    """A block with random weights, and its inputs at batch 2."""
    torch.manual_seed(0)
    block = LightningBlock(DIM, HEADS).to(dtype)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    rotary = AxialRotary(DIM, HEADS, GRID, (1.0, 1.0)).to(dtype)().rotary
    vectors = torch.randn(6, 2, DIM, dtype=dtype).unbind()
    tokens = torch.randn(2, m + 6, DIM, dtype=dtype)
    return block, tokens, vectors, Layout(m, GRID, (2, 2), rotary)


def shifted(layout: Layout) -> Layout:
    """The same grid, somewhere else in the image: every angle is half a radian more."""
    cos, sin = layout.rotary
    by = torch.tensor(0.5, dtype=cos.dtype)
    return replace(layout, rotary=Rotary(cos * by.cos() - sin * by.sin(), sin * by.cos() + cos * by.sin()))


def test_image_tokens_attend_by_relative_position():
    block, tokens, vectors, layout = case(m=0)
    here, there = block.forward_stage(tokens, vectors, layout), block.forward_stage(tokens, vectors, shifted(layout))
    torch.testing.assert_close(here, there)
    mirrored = replace(layout, rotary=Rotary(layout.rotary.cos, layout.rotary.sin.flip(0)))
    assert not torch.allclose(here, block.forward_stage(tokens, vectors, mirrored))


def test_class_tokens_have_no_position():
    block, tokens, vectors, layout = case(m=2)
    swapped = tokens[:, [1, 0, *range(2, 8)]]
    expected = block.forward_stage(tokens, vectors, layout)[:, [1, 0, *range(2, 8)]]
    torch.testing.assert_close(block.forward_stage(swapped, vectors, layout), expected)
    moved = block.forward_stage(tokens, vectors, shifted(layout))
    assert not torch.allclose(moved, block.forward_stage(tokens, vectors, layout))  # they stay when the image is moved


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_output_has_the_dtype_of_the_tokens(dtype):
    block, *inputs = case(dtype=dtype)
    output = block.forward_stage(*inputs)
    assert output.dtype == dtype
    assert output.isfinite().all()


def test_runs_under_autocast():
    block, *inputs = case(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = block.forward_stage(*inputs)
    assert mixed.dtype == torch.float32
    exact = block.forward_stage(*inputs)
    assert (mixed - exact).norm() < 0.05 * exact.norm()


def test_queries_and_keys_are_normalised():
    block, *inputs = case()
    expected = block.forward_stage(*inputs)
    with torch.no_grad():
        block.attention.qkv.weight[: 2 * DIM] *= 1000
        block.attention.qkv.bias[: 2 * DIM] *= 1000
    torch.testing.assert_close(block.forward_stage(*inputs), expected, rtol=1e-4, atol=1e-3)


def test_compiles_without_a_break():
    block, *inputs = case()
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    group = Group(*inputs)
    torch.testing.assert_close(compiled([group]), block([group]))


@pytest.mark.parametrize(
    ("dim", "ratio", "multiple", "width"),
    [(768, 4.0, 8, 2048), (1152, 4.0, 8, 3072), (1024, 4.0, 8, 2728), (1024, 4.0, 256, 2816), (8, 0.1, 8, 8)],
)
def test_swiglu_is_two_thirds_as_wide_as_the_mlp(dim, ratio, multiple, width):
    assert swiglu_width(dim, ratio, multiple) == width
    assert width % multiple == 0


def test_swiglu_costs_what_the_mlp_costs():
    matrices = [parameter for parameter in SwiGLU(768, swiglu_width(768, 4.0, 8)).parameters() if parameter.ndim == 2]
    assert sum(matrix.numel() for matrix in matrices) == 2 * 768 * 4 * 768


@pytest.mark.parametrize(("dim", "heads"), [(10, 4), (15, 5)])
def test_heads_of_odd_width_are_refused(dim, heads):
    with pytest.raises(ValueError, match=f"dim {dim} does not divide into {heads} heads of even width"):
        LightningBlock(dim, heads)
