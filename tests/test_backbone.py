"""The way of the data: what goes in, what is refused, and that nothing leaks."""

import pytest
import torch

import zoo
from zoo.testing.cases import randomise

SMALL = ["backbone.dim=32", "backbone.heads=2", "backbone.num_classes=5", "data.normalize=none"]
LATENT = "backbone.latent={channels: 3, height: 16, width: 32}"


@pytest.fixture(scope="module")
def hybrid():
    """Two stages of two levels each, on a latent that is not square."""
    backbone = zoo.build("hybrid_b", [*SMALL, LATENT], dtype=torch.float64)
    randomise(backbone, 0, std=0.3)
    return backbone


def batch(backbone, t):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(len(t), *backbone.latent, generator=generator, dtype=torch.float64)
    return latents, torch.tensor(t, dtype=torch.float64), torch.arange(len(t)) % 5


def test_mixed_stages_in_one_batch(hybrid):
    latents, t, labels = batch(hybrid, [0.9, 0.1, 0.5, 0.7, 0.0, 1.0])
    assert hybrid.stage_of(t).tolist() == [0, 1, 1, 0, 1, 0]
    assert hybrid(latents, t, labels).shape == latents.shape


def test_no_gradient_crosses_samples(hybrid):
    latents, t, labels = batch(hybrid, [0.9, 0.8, 0.1, 0.2])
    latents.requires_grad_()
    hybrid(latents, t, labels)[1].sum().backward()
    reached = latents.grad.flatten(1).any(dim=1)
    assert reached.tolist() == [False, True, False, False]


def test_null_class_follows_num_classes(hybrid):
    latents, t, _ = batch(hybrid, [0.9, 0.1])
    labels = torch.tensor([0, 1])
    assert hybrid.class_conditioner.null(labels).tolist() == [5, 5]
    assert not torch.equal(hybrid(latents, t, labels), hybrid(latents, t, torch.tensor([5, 5])))


def test_unconditional_needs_no_labels():
    backbone = zoo.build("mpdit_b", [*SMALL, "backbone.class_conditioner=none", "backbone.num_classes=0"])
    assert backbone(torch.zeros(2, 4, 32, 32), torch.rand(2)).shape == (2, 4, 32, 32)


def test_a_threshold_belongs_to_the_cleaner_stage_unless_told():
    stages = "[{noise_above: 0.3, patch: 4}, {noise_above: 0, patch: 2}]"
    stages = f"backbone.patch_schedule={{type: by_timestep, stages: {stages}}}"
    t = torch.tensor([0.3, 0.30001, 0.29999, 0.0, 1.0])
    cleaner = zoo.build("dit_b", [*SMALL, stages])
    assert cleaner.stage_of(t).tolist() == [1, 0, 1, 1, 0]
    noisier = zoo.build("dit_b", [*SMALL, stages, "backbone.patch_schedule.ties=noisier"])
    assert noisier.stage_of(t).tolist() == [0, 0, 1, 1, 0]
    half = torch.tensor([0.3], dtype=torch.bfloat16)  # 0.3008 in float32, but 0.3 as bfloat16 can say it
    assert cleaner.stage_of(half).tolist() == [1]


def test_skip_none_leaves_fine_patches_out(hybrid):
    backbone = zoo.build("mpdit_b", [*SMALL, "backbone.skip=none"])
    assert not list(backbone.skips.parameters())
    assert set(backbone.patch_embedders) == {"4x4"}


def test_a_patch_belongs_to_a_patch_in_every_stage(hybrid):
    assert set(hybrid.patch_embedders) == {"8x8", "4x4", "2x2"}  # 4x4 feeds a skip in one stage, starts the other
    assert set(hybrid.heads) == {"4x4", "2x2"}
    assert set(hybrid.upsamplers) == set(hybrid.skips) == {"8x8_to_4x4", "4x4_to_2x2"}
    assert not hybrid.downsamplers
    assert len(hybrid.blocks) == 12


def test_a_block_is_found_by_its_index(hybrid):
    assert [hybrid.part("block", index) for index in range(len(hybrid.blocks))] == list(hybrid.blocks)


def test_a_part_that_is_one_of_its_kind_is_found_by_its_key(hybrid):
    assert hybrid.part("router") is hybrid.router
    assert hybrid.part("time_embedder", 32) is hybrid.time_embedder
    assert hybrid.part("head", hybrid.stages[1].levels[-1].node) is hybrid.heads["2x2"]


def test_each_level_asks_its_position_once(hybrid, monkeypatch):
    """So that a position may be computed, or learned, at no double cost."""
    calls = []
    kind = type(hybrid.positions["4x4"])
    forward = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self: calls.append(1) or forward(self))
    hybrid(*batch(hybrid, [0.9]))
    assert len(calls) == 2


@pytest.mark.parametrize("position", ["sincos", "none"])
@pytest.mark.parametrize("skip", ["linear", "none"])
def test_the_residual_stream_is_float32_under_autocast(monkeypatch, position, skip):
    backbone = zoo.build("mpdit_b", [*SMALL, f"backbone.position={position}", f"backbone.skip={skip}"])
    seen = []
    kind = type(backbone.blocks[0])

    def narrowing(self, groups):
        seen.extend(group.tokens.dtype for group in groups)
        return [group.tokens.bfloat16() for group in groups]

    monkeypatch.setattr(kind, "forward", narrowing)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        backbone(torch.zeros(1, 4, 32, 32), torch.rand(1), torch.tensor([0]))
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("recipe", ["hybrid_b", "ppflow_b_3"])
@pytest.mark.parametrize("modulation", ["adaln_zero", "adaln_single"])
def test_weights_can_be_made_after_building_on_meta(recipe, modulation):
    overrides = [*SMALL, f"backbone.modulation={modulation}", "backbone.upsampler=conv_transpose"]
    backbone = zoo.build(recipe, overrides, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        for tensor in [*backbone.parameters(), *backbone.buffers()]:
            tensor.fill_(float("nan"))
    backbone.init_weights()
    backbone.requires_grad_(False)
    direct = zoo.build(recipe, overrides).requires_grad_(False)
    for (name, made), expected in zip(backbone.named_parameters(), direct.parameters(), strict=True):
        assert made.isfinite().all(), name
        if expected.numel() > 500 and expected.std() > 0:
            assert made.std() == pytest.approx(expected.std().item(), rel=0.2), name
        elif expected.std() == 0:
            assert torch.equal(made, expected), name
    for made, expected in zip(backbone.buffers(), direct.buffers(), strict=True):
        assert torch.equal(made, expected)
