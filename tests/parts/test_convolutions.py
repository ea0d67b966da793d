"""Built-in convolution parts, held against the Linear ones where windows see one token alone."""

from __future__ import annotations

import pytest
import torch

from zoo.assembly import build
from zoo.audit import count_stage
from zoo.parts.heads import ConvHead, LinearHead
from zoo.parts.patch_embedders import ConvPatchEmbedder, LinearPatchEmbedder

PATCHES = pytest.mark.parametrize("patch", [(2,), (2, 3), (1, 2, 2)], ids=str)


@PATCHES
def test_without_overlap_an_embedder_is_the_linear_one(patch):
    linear, conv = LinearPatchEmbedder(8, 3, patch).double(), ConvPatchEmbedder(8, 3, patch, overlap=0).double()
    with torch.no_grad():
        conv.proj.weight.copy_(linear.proj.weight.reshape(conv.proj.weight.shape))
    latents = torch.randn(2, 3, *(2 * side for side in patch), dtype=torch.float64)
    torch.testing.assert_close(conv(latents), linear(latents))


@PATCHES
def test_with_overlap_a_token_sees_pixels_around_its_patch_and_no_others(patch):
    conv = ConvPatchEmbedder(8, 1, patch, overlap=1)
    latents, pixel = torch.zeros(1, 1, *(5 * side for side in patch)), [2 * side - 1 for side in patch]
    latents[(0, 0, *pixel)] = 1.0
    seen = conv(latents)[0].abs().sum(1).reshape([5] * len(patch)) > 0
    near = [
        torch.tensor([side * token - 1 <= at <= side * (token + 1) for token in range(5)])
        for side, at in zip(patch, pixel, strict=True)
    ]
    wanted = torch.stack(torch.meshgrid(*near, indexing="ij")).all(0)
    assert torch.equal(seen, wanted)


@pytest.mark.parametrize(("init", "outputs"), [("xavier", 64 * 16), ("flat", 64)])
def test_weights_start_by_the_fans_of_a_convolution_or_of_a_linear(init, outputs):
    torch.manual_seed(0)
    weight = ConvPatchEmbedder(64, 4, (2, 2), init=init).proj.weight
    bound = (6 / (4 * 16 + outputs)) ** 0.5
    assert 0.99 * bound < weight.abs().max() <= bound


@PATCHES
def test_a_head_that_reaches_nobody_is_the_linear_one(patch):
    linear, conv = LinearHead(8, 3, patch).double(), ConvHead(8, 3, patch, reach=0).double()
    with torch.no_grad():
        linear.proj.weight.normal_()
        conv.proj.weight.copy_(linear.proj.weight.reshape(conv.proj.weight.shape))
    grid = (2,) * len(patch)
    tokens, vectors = torch.randn(2, 2 ** len(patch), 8).double(), tuple(torch.randn(2, 2, 8).double())
    torch.testing.assert_close(conv(tokens, vectors, grid), linear(tokens, vectors, grid))


def test_they_count_by_themselves():
    recipe = {"latent": {"channels": 4, "height": 8, "width": 8}, "num_classes": 3, "dim": 16, "depth": 1, "heads": 2}
    recipe |= {"patch_schedule": {"type": "uniform", "patch": 2}, "patch_embedder": "conv", "head": "conv"}
    counted = count_stage(build({"name": "small", "backbone": recipe}, device="meta"), 0)
    assert counted.modules["patch_embedders"] == 16 * (4 * 4 * 4) * 16  # tokens x (channels x window) x width
    assert counted.modules["heads"] == 16 * (16 * 3 * 3) * 16
