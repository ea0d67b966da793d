"""The block against the same in plain PyTorch, and against zoo's own block with the same in its slots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import zoo
from zoo.parts import Layout, Rotary
from zoo_lightning.block import LightningBlock

REGISTRY = zoo.Registry().with_parts([LightningBlock])
DIM, HEADS, DEPTH, GRID = 16, 2, 2, (4, 6)
RMS = {"type": "rms", "affine": True}


def built(block: Any) -> zoo.Backbone:
    backbone = {
        "latent": {"channels": 3, "height": GRID[0], "width": GRID[1]},
        "num_classes": 4,
        "dim": DIM,
        "depth": DEPTH,
        "heads": HEADS,
        "patch_schedule": {"type": "uniform", "patch": 1},
        "position": {"type": "rope", "add": "sincos"},
        "block": block,
        "head": {"type": "linear", "norm": RMS},
    }
    torch.manual_seed(0)
    made = zoo.build({"name": "small", "backbone": backbone}, registry=REGISTRY).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def given() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(3, 3, *GRID).double(), torch.tensor([0.1, 0.5, 1.0]).double(), torch.tensor([0, 3, 4])


def angles() -> Tensor:
    """[N, head width / 2]: of the row for the first half, of the column for the second."""
    width = DIM // HEADS // 2
    omega = 10000 ** (-torch.arange(0, width, 2).double() / width)
    row, column = torch.meshgrid(*(torch.arange(side).double() for side in GRID), indexing="ij")
    return torch.cat([row.flatten()[:, None] * omega, column.flatten()[:, None] * omega], 1)


def plain(w: dict[str, Tensor], latents: Tensor, t: Tensor, labels: Tensor, *, turned: bool = True) -> Tensor:
    """LightningDiT of patch 1, from the weights by name."""
    linear = lambda x, at: F.linear(x, w[f"{at}.weight"], w[f"{at}.bias"])  # noqa: E731
    rms = lambda x, at: x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w[f"{at}.weight"]  # noqa: E731
    clock = t[:, None] * 10000 ** (-torch.arange(128).double() / 128)
    time = linear(torch.cat([clock.cos(), clock.sin()], 1), "time_embedder.layers.0")
    condition = F.silu(linear(F.silu(time), "time_embedder.layers.1") + w["class_conditioner.embedding.weight"][labels])
    x = linear(latents.flatten(2).mT, "patch_embedders.1x1.proj") + w["positions.1x1.add.table"]
    turn = torch.polar(torch.ones(()).double(), angles() if turned else 0 * angles())[:, None]
    for index in range(DEPTH):
        at = f"blocks.{index}"
        b1, s1, g1, b2, s2, g2 = linear(condition, f"modulation.blocks.{index}")[:, None].chunk(6, 2)
        qkv = linear(rms(x, f"{at}.norm1") * (1 + s1) + b1, f"{at}.attention.qkv")
        q, k, v = (each.unflatten(2, (HEADS, -1)) for each in qkv.chunk(3, 2))
        q, k = (
            torch.view_as_real(torch.view_as_complex(each.unflatten(3, (-1, 2)).contiguous()) * turn).flatten(3)
            for each in (q, k)
        )
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * (DIM // HEADS) ** -0.5
        seen = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(3), v).flatten(2)
        x = x + g1 * linear(seen, f"{at}.attention.proj")
        gate, value = linear(rms(x, f"{at}.norm2") * (1 + s2) + b2, f"{at}.mlp.gate_value").chunk(2, 2)
        x = x + g2 * linear(gate * torch.sigmoid(gate) * value, f"{at}.mlp.out")
    shift, scale = linear(condition, "modulation.head")[:, None].chunk(2, 2)
    pixels = linear(rms(x, "heads.1x1.norm") * (1 + scale) + shift, "heads.1x1.proj")
    return pixels.mT.unflatten(2, GRID)


def test_a_backbone_is_the_same_in_plain_pytorch():
    backbone = built("lightning")
    weights = {**backbone.state_dict(), **dict(backbone.named_buffers())}
    velocity = backbone(*given())
    torch.testing.assert_close(velocity, plain(weights, *given()))
    assert not torch.allclose(velocity, plain(weights, *given(), turned=False))


@pytest.mark.parametrize("qk_norm", [False, True])
def test_the_slots_of_zoos_own_block_compute_the_same(qk_norm):
    attention = {"type": "softmax", "qk_norm": RMS if qk_norm else None}
    slots = built({"type": "dit", "attention": attention, "mlp": "swiglu", "norm": RMS})
    whole = built({"type": "lightning", "qk_norm": qk_norm})
    whole.load_state_dict(slots.state_dict())
    torch.testing.assert_close(whole(*given()), slots(*given()))


def stage() -> tuple[LightningBlock, Tensor, tuple[Tensor, ...], Layout]:
    """A block with random weights, and its inputs, with two tokens in front."""
    block = built("lightning").blocks[0]
    turns = angles().repeat_interleave(2, dim=1)
    layout = Layout(2, GRID, (1, 1), Rotary(turns.cos(), turns.sin()))
    return block, torch.randn(2, 26, DIM).double(), torch.randn(6, 2, DIM).double().unbind(), layout


def test_tokens_in_front_have_no_position():
    block, tokens, vectors, layout = stage()
    swapped = [1, 0, *range(2, 26)]
    expected = block.forward_stage(tokens, vectors, layout)[:, swapped]
    torch.testing.assert_close(block.forward_stage(tokens[:, swapped], vectors, layout), expected)
    cos, sin = layout.rotary
    moved = replace(layout, rotary=Rotary(cos.roll(1, 0), sin.roll(1, 0)))
    assert not torch.allclose(block.forward_stage(tokens, vectors, moved)[:, swapped], expected)


def test_queries_and_keys_are_normalised_if_asked():
    for qk_norm in (False, True):
        backbone = built({"type": "lightning", "qk_norm": qk_norm})
        expected = backbone(*given())
        with torch.no_grad():
            for block in backbone.blocks:
                block.attention.qkv.weight[: 2 * DIM] *= 1000
                block.attention.qkv.bias[: 2 * DIM] *= 1000
        assert torch.allclose(backbone(*given()), expected, rtol=1e-4, atol=1e-3) == qk_norm


@pytest.mark.parametrize(("dim", "hidden"), [(768, 2048), (1024, 2730), (1152, 3072), (1792, 4778)])
def test_swiglu_is_two_thirds_as_wide_as_the_mlp_rounded_down(dim, hidden):
    with torch.device("meta"):
        assert LightningBlock(dim, dim // 64).mlp.out.in_features == hidden


@pytest.mark.parametrize(("dim", "heads"), [(10, 4), (15, 5)])
def test_heads_of_odd_width_are_refused(dim, heads):
    with pytest.raises(ValueError, match=f"dim {dim} is not divisible into {heads} heads of even width"):
        LightningBlock(dim, heads)


def test_no_hidden_unit_is_refused():
    with pytest.raises(ValueError, match=r"mlp_ratio 0\.1 leaves no hidden unit of dim 8"):
        LightningBlock(8, 2, mlp_ratio=0.1)
