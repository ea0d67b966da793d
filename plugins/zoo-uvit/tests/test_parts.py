"""The block and the head against the same in plain PyTorch, and which block takes whose output."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import zoo
from zoo.errors import RecipeError
from zoo_uvit.block import UViTBlock
from zoo_uvit.head import UViTHead

REGISTRY = zoo.Registry().with_parts([UViTBlock, UViTHead])
HEADS, DEPTH, DIM = 2, 7, 8


def built(schedule: Any, **more: Any) -> zoo.Backbone:
    backbone = {
        "latent": {"channels": 3, "height": 8, "width": 12},
        "num_classes": 4,
        "dim": DIM,
        "depth": DEPTH,
        "heads": HEADS,
        "patch_schedule": schedule,
        "position": {"type": "learned", "prefix": True},
        "time_embedder": {"type": "fourier", "scale": 1000},
        "modulation": "in_context",
        "block": "uvit",
        "head": "uvit",
        **more,
    }
    return zoo.build({"name": "small", "backbone": backbone}, registry=REGISTRY)


def by_depth(*blocks: int, patches: tuple[int, ...] = (4, 2, 1)) -> dict[str, Any]:
    pairs = zip(patches, blocks, strict=False)
    return {"type": "by_depth", "levels": [{"patch": patch, "blocks": each} for patch, each in pairs]}


def plain(w: dict[str, Tensor], latents: Tensor, t: Tensor, labels: Tensor, last_out: int = -1) -> Tensor:
    """U-ViT of patch 2, from the weights by name; ``last_out`` is which of the outputs that are kept is taken next."""
    norm = lambda x, at: F.layer_norm(x, (DIM,), w[f"{at}.weight"], w[f"{at}.bias"])  # noqa: E731
    linear = lambda x, at: F.linear(x, w[f"{at}.weight"], w.get(f"{at}.bias"))  # noqa: E731
    angles = 1000 * t[:, None] * 10000 ** (-torch.arange(DIM // 2, dtype=t.dtype) / (DIM // 2))
    time, label = torch.cat([angles.cos(), angles.sin()], 1), w["class_conditioner.embedding.weight"][labels]
    image = linear(F.unfold(latents, 2, stride=2).mT, "patch_embedders.2x2.proj")
    table = torch.cat([w["positions.2x2.prefix"], w["positions.2x2.table"]])
    x, kept = torch.cat([label[:, None], time[:, None], image], 1) + table, []
    for index in range(DEPTH):
        at = f"blocks.{index}"
        if index > DEPTH // 2:
            x = linear(torch.cat([x, kept.pop(last_out)], 2), f"{at}.skip")
        q, k, v = (y.unflatten(2, (HEADS, -1)) for y in linear(norm(x, f"{at}.norm1"), f"{at}.qkv").chunk(3, 2))
        weights = (torch.einsum("bqhd,bkhd->bhqk", q, k) * (DIM // HEADS) ** -0.5).softmax(3)
        x = x + linear(torch.einsum("bhqk,bkhd->bqhd", weights, v).flatten(2), f"{at}.proj")
        hidden = linear(norm(x, f"{at}.norm2"), f"{at}.fc1")
        x = x + linear(hidden * (1 + torch.erf(hidden / 2**0.5)) / 2, f"{at}.fc2")
        if index < DEPTH // 2:
            kept.append(x)
    pixels = linear(norm(x[:, 2:], "heads.2x2.norm"), "heads.2x2.proj").unflatten(2, (4, 3)).permute(0, 3, 2, 1)
    drawn = F.fold(pixels.flatten(1, 2), latents.shape[2:], 2, stride=2)
    return F.conv2d(drawn, w["heads.2x2.conv.weight"], w["heads.2x2.conv.bias"], padding=1)


def test_a_backbone_is_the_same_in_plain_pytorch():
    torch.manual_seed(0)
    backbone = built({"type": "uniform", "patch": 2}).double()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    given = torch.randn(3, 3, 8, 12).double(), torch.tensor([0.1, 0.5, 1.0]).double(), torch.tensor([0, 3, 4])
    weights = backbone.state_dict()
    velocity = backbone(*given)
    torch.testing.assert_close(velocity, plain(weights, *given))
    assert not torch.allclose(velocity, plain(weights, *given, last_out=0))  # first in, first out


@pytest.mark.parametrize(
    ("schedule", "options", "taken"),
    [
        ({"type": "uniform", "patch": 2}, {}, {4: 2, 5: 1, 6: 0}),
        (by_depth(4, 3), {}, {3: 0, 6: 4}),
        (by_depth(1, 6), {}, {5: 2, 6: 1}),
        (by_depth(3, 1, 3, patches=(2, 4, 2)), {}, {2: 0, 6: 4}),
        (by_depth(3, 1, 3, patches=(2, 4, 2)), {"skips": "depth"}, {4: 2, 5: 1, 6: 0}),
    ],
)
def test_the_second_half_takes_of_the_first_the_last_first(schedule, options, taken):
    blocks = built(schedule, block={"type": "uvit", **options}).blocks
    assert {index: block.takes[0] for index, block in enumerate(blocks) if block.takes} == taken
    assert [block.skip is not None for block in blocks] == [index in taken for index in range(DEPTH)]


def stages(*counts: tuple[int, int]) -> dict[str, Any]:
    levels = [by_depth(*blocks)["levels"] for blocks in counts]
    above = (0.5, 0.0)
    own = [{"noise_above": noise, "levels": each} for noise, each in zip(above, levels, strict=True)]
    return {"type": "by_depth_and_timestep", "stages": own}


REFUSED = {
    "other blocks in one stage than in another": (
        {"schedule": stages((3, 4), (4, 3))},
        "long skips stay inside a level, and block 2 would take block 0's output and none, in one stage and in another;"
        " give all stages levels of as many blocks",
    ),
    "skips between patches": (
        {"schedule": by_depth(3, 4), "block": {"type": "uvit", "skips": "depth"}},
        "block 4 takes the output of block 2, which in stage 0 is at patch 4 and width 8, and its own are 2 and 8",
    ),
    "rotary positions": (
        {"schedule": by_depth(3, 4), "position": "rope", "heads": 2},
        "position 'rope' gives rotary angles, and no part takes that",
    ),
    "vectors": (
        {"schedule": by_depth(3, 4), "modulation": "adaln_zero"},
        "modulation 'adaln_zero' gives vectors of the modulation, and no part takes that",
    ),
    "heads": ({"schedule": by_depth(3, 4), "heads": 3}, "dim 8 is not divisible by heads 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_a_line(case):
    given, message = REFUSED[case]
    with pytest.raises(RecipeError) as refused:
        built(**given)
    assert sum(message in line for line in str(refused.value).splitlines()) == 1, str(refused.value)
