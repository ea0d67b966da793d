"""Surgery: what the finest stage computes, what coarse patches see, and what no donor can fill."""

import pytest
import torch
from einops import rearrange, reduce, repeat
from torch.nn.functional import avg_pool2d

from tests.weights.small import (
    BY_DEPTH,
    BY_TIMESTEP,
    HOURGLASS,
    HYBRID,
    LEVELS_DOWN,
    SCALED,
    SIZE,
    inputs,
    of_axes,
    random_weights,
    small,
)
from zoo.assembly import load_recipe
from zoo.errors import WeightsError
from zoo.weights import Weights, filled, inflate, initialise_rest, initialised

CPU = torch.device("cpu")


@pytest.fixture
def donor(registry):
    return random_weights(small(registry, name="donor"), registry)


def started(donor, target, registry, **options):
    """The target's backbone with all of its weights from the donor."""
    surgery = inflate(donor, target, registry, **options)
    assert not list(surgery.lines())
    return filled(Weights(target, surgery.tensors, {}), CPU)


def backbone_of(weights, registry):
    return filled(weights, CPU)


def by_timestep(registry, *overrides, **parts):
    return small(registry, *overrides, schedule=BY_TIMESTEP, name="target", **parts)


@pytest.mark.parametrize("coordinates", ["own", "finest"])
@pytest.mark.parametrize("learn_sigma", [False, True])
def test_the_finest_stage_computes_exactly_what_the_donor_did(registry, coordinates, learn_sigma):
    head = {"type": "linear", "learn_sigma": learn_sigma}
    donor = random_weights(small(registry, head=head), registry)
    position = {"type": "sincos", "coordinates": coordinates}
    target = by_timestep(registry, stage_embedder="learned", position=position, head=head)
    latents, labels = inputs(target)
    t = torch.tensor([0.0, 0.1, 0.2, 0.25])
    assert torch.equal(
        started(donor, target, registry)(latents, t, labels), backbone_of(donor, registry)(latents, t, labels)
    )


def test_a_stage_embedding_that_is_not_zero_would_be_noticed(registry, donor):
    target = by_timestep(registry, stage_embedder="learned")
    backbone = started(donor, target, registry)
    with torch.no_grad():
        backbone.stage_embedder.embedding.weight[2, 0] = 1e-3
    latents, labels = inputs(target)
    t = torch.full((4,), 0.1)
    assert not torch.equal(backbone(latents, t, labels), backbone_of(donor, registry)(latents, t, labels))


def test_a_table_that_an_import_brought_along_stays_the_donors(registry, donor):
    table = donor.tensors["positions.2x2.table"]
    table += torch.randn(table.shape) * 1e-6
    tensors = inflate(donor, by_timestep(registry), registry).tensors
    assert torch.equal(tensors["positions.2x2.table"], table)


def test_a_table_of_another_kind_is_taken_where_the_target_has_its_grid(registry, donor):
    table = donor.tensors["positions.2x2.table"].normal_()
    tensors = inflate(donor, by_timestep(registry), registry).tensors
    assert torch.equal(tensors["positions.2x2.table"], table)
    larger = by_timestep(registry, latent={"channels": 3, "height": 32, "width": 64})
    assert list(inflate(donor, larger, registry).lines()) == [
        "position: the donor's positions.2x2.table is a table of its own, for another grid"
    ]


def test_a_donor_of_the_other_clock_is_turned_and_that_is_noted(registry):
    donor = random_weights(small(registry, time_embedder={"type": "sinusoidal", "clock": "data"}), registry)
    target = by_timestep(registry)
    surgery = inflate(donor, target, registry)
    assert not list(surgery.lines())
    assert surgery.notes == ["time_embedder is turned to the target's clock, noise: equal up to rounding"]
    latents, labels = inputs(target)
    t = torch.full((4,), 0.2)
    one, other = started(donor, target, registry), backbone_of(donor, registry)
    torch.testing.assert_close(one(latents, t, labels), other(latents, t, labels), atol=1e-4, rtol=0)


def test_weights_are_made_on_the_cpu_whatever_the_default_is(registry, donor):
    target = small(registry, schedule=HYBRID, upsampler="linear", stage_embedder="learned")
    with torch.device("meta"):
        surgery = inflate(donor, target, registry)
    assert {tensor.device.type for tensor in surgery.tensors.values()} == {"cpu"}


@pytest.mark.parametrize(("patch", "factor"), [("4x4", (2, 2)), ("2x4", (1, 2))])
def test_a_coarse_patch_sees_the_average_pooled_latent(registry, donor, patch, factor):
    target = by_timestep(registry)
    latents, _ = inputs(target)
    embedder = started(donor, target, registry).patch_embedders[patch]
    own = backbone_of(donor, registry).patch_embedders["2x2"]
    torch.testing.assert_close(embedder(latents), own(avg_pool2d(latents, factor)))


@pytest.mark.parametrize(("patch", "factor"), [("4x4", (2, 2)), ("2x4", (1, 2))])
def test_the_other_reading_averages_neighbouring_patches(registry, donor, patch, factor):
    target = by_timestep(registry)
    latents, _ = inputs(target)
    embedder = started(donor, target, registry, average="patches").patch_embedders[patch]
    own = backbone_of(donor, registry).patch_embedders["2x2"]
    tokens = reduce(
        own(latents),
        "b (h r w s) d -> b (h w) d",
        "mean",
        h=8 // factor[0],
        r=factor[0],
        s=factor[1],
        w=16 // factor[1],
    )
    torch.testing.assert_close(embedder(latents), tokens)
    released = started(donor, target, registry).patch_embedders[patch]
    assert not torch.allclose(released(latents), tokens, atol=1e-3)


@pytest.mark.parametrize("average", ["pixels", "patches"])
@pytest.mark.parametrize("learn_sigma", [False, True])
def test_a_coarse_head_repeats_its_pixels(registry, average, learn_sigma):
    head = {"type": "linear", "learn_sigma": learn_sigma}
    donor = random_weights(small(registry, head=head), registry)
    backbone = started(donor, by_timestep(registry, head=head), registry, average=average)
    tokens = torch.randn(2, 6, SIZE["dim"])
    vectors = backbone.modulate(0, torch.rand(2), torch.tensor([0, 1])).heads[SIZE["dim"]]
    pixels = "b c (h p) (w q) -> b (h w) p q c"
    fine = rearrange(backbone.heads["2x2"](tokens, vectors, (2, 3)), pixels, h=2, w=3)
    pattern = {"pixels": "b n p q c -> b n (p r) (q s) c", "patches": "b n p q c -> b n (r p) (s q) c"}[average]
    coarse = rearrange(backbone.heads["4x4"](tokens, vectors, (2, 3)), pixels, h=2, w=3)
    torch.testing.assert_close(coarse, repeat(fine, pattern, r=2, s=2))


@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False)])
def test_a_donor_without_sigma_fills_a_target_with_it_and_the_other_way_round(registry, before, after):
    heads = [{"type": "linear", "learn_sigma": each} for each in (before, after)]
    donor = random_weights(small(registry, head=heads[0]), registry)
    target = by_timestep(registry, head=heads[1])
    latents, labels = inputs(target)
    t = torch.full((4,), 0.2)
    torch.testing.assert_close(
        started(donor, target, registry)(latents, t, labels), backbone_of(donor, registry)(latents, t, labels)
    )
    dropped = ["head: what learn_sigma adds is left behind: no output depends on it"]
    assert inflate(donor, target, registry).notes == (dropped if before else [])


def test_blocks_time_class_and_modulation_are_copied(registry, donor):
    tensors = inflate(donor, by_timestep(registry, stage_embedder="learned"), registry).tensors
    copied = [name for name in donor.tensors if name.split(".")[0] in COPIED]
    assert len(copied) > 30
    assert all(torch.equal(tensors[name], donor.tensors[name]) for name in copied)
    assert not tensors["stage_embedder.embedding.weight"].any()


COPIED = ("blocks", "time_embedder", "class_conditioner", "modulation")


def test_into_levels_finer_tokens_start_as_exact_repeats(registry, donor):
    target = small(registry, schedule=BY_DEPTH, upsampler="linear")
    backbone = started(donor, target, registry)
    tokens = torch.randn(2, 4 * 8, SIZE["dim"])
    finer, grid = backbone.upsamplers["4x4_to_2x2"](tokens, 0, (4, 8))
    assert grid == (8, 16)
    wanted = repeat(tokens, "b (h w) d -> b (h r w s) d", h=4, r=2, s=2)
    assert torch.equal(finer, wanted)
    latents, _ = inputs(target)
    skipped = backbone.skips["4x4_to_2x2"](
        torch.zeros(4, 8 * 16, SIZE["dim"]), backbone.patch_embedders["2x2"](latents)
    )
    assert torch.equal(skipped, backbone_of(donor, registry).patch_embedders["2x2"](latents))


def test_into_a_hybrid(registry, donor):
    target = small(registry, schedule=HYBRID, upsampler="linear", stage_embedder="learned")
    backbone = started(donor, target, registry)
    assert set(backbone.upsamplers) == {"8x8_to_4x4", "4x4_to_2x2"}
    latents, labels = inputs(target)
    own = backbone_of(donor, registry).patch_embedders["2x2"]
    torch.testing.assert_close(backbone.patch_embedders["8x8"](latents), own(avg_pool2d(latents, 4)))
    assert backbone(latents, torch.tensor([0.1, 0.4, 0.6, 0.9]), labels).isfinite().all()


def test_into_the_same_backbone_everything_is_copied(registry, donor):
    surgery = inflate(donor, small(registry, name="again"), registry)
    assert not list(surgery.lines())
    assert all(torch.equal(surgery.tensors[name], tensor) for name, tensor in donor.tensors.items())


def test_a_donors_own_stage_embedding_goes_to_every_stage(registry):
    donor = random_weights(small(registry, stage_embedder="learned"), registry)
    vectors = inflate(donor, by_timestep(registry, stage_embedder="learned"), registry).tensors
    vectors = vectors["stage_embedder.embedding.weight"]
    assert torch.equal(vectors, donor.tensors["stage_embedder.embedding.weight"].expand(3, -1))


def test_the_std_of_the_class_table_changes_nothing(registry, donor):
    conditioner = {"type": "embedding", "std": 1.0}
    surgery = inflate(donor, by_timestep(registry, class_conditioner=conditioner), registry)
    assert not list(surgery.lines())


def test_the_donors_dtype_is_kept(registry):
    donor = random_weights(small(registry), registry, dtype=torch.float64)
    target = small(registry, schedule=HYBRID, upsampler="linear", stage_embedder="learned")
    assert {tensor.dtype for tensor in inflate(donor, target, registry).tensors.values()} == {torch.float64}


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (
            {"upsampler": "linear_linear"},
            ["upsampler linear_linear: newly initialised: upsamplers.4x4_to_2x2.proj.weight,"
             " upsamplers.4x4_to_2x2.proj.bias, upsamplers.4x4_to_2x2.refine.weight,"
             " upsamplers.4x4_to_2x2.refine.bias"],
        ),
        (
            {"modulation": "shared_adaln"},
            ["modulation shared_adaln: newly initialised: modulation.shared.weight, modulation.shared.bias",
             "modulation adaln_zero: the target has no place for the donor's modulation.blocks.{0..3}.weight,"
             " modulation.blocks.{0..3}.bias, modulation.head.weight, modulation.head.bias"],
        ),
        (
            {"class_conditioner": {"type": "class_tokens", "tokens": 2}},
            ["class_conditioner class_tokens: newly initialised: class_conditioner.embedding.weight",
             "class_conditioner embedding: the target has no place for the donor's class_conditioner.embedding.weight"],
        ),
        (
            {"num_classes": 7},
            ["class_conditioner embedding: newly initialised: class_conditioner.embedding.weight",
             "class_conditioner embedding: the target has no place for the donor's class_conditioner.embedding.weight"],
        ),
        (
            {"time_embedder": {"type": "sinusoidal", "scale": 2.0}},
            ["time_embedder sinusoidal: newly initialised: time_embedder.layers.{0..1}.weight,"
             " time_embedder.layers.{0..1}.bias",
             "time_embedder sinusoidal: the target has no place for the donor's time_embedder.layers.{0..1}.weight,"
             " time_embedder.layers.{0..1}.bias"],
        ),
        (
            {"prediction": "noise"},
            ["prediction: the donor's weights predict velocity, the target noise"],
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_no_donor_can_fill_is_told_and_drawn_anew(registry, donor, tmp_path, parts, told):
    target = small(registry, schedule=BY_DEPTH, **{"upsampler": "linear", **parts})
    surgery = inflate(donor, target, registry)
    assert list(surgery.lines())
    assert list(surgery.lines()) == told
    fresh = initialised(target, tmp_path, 3)
    whole = initialise_rest(surgery, fresh)
    assert whole.keys() == fresh.state_dict().keys()
    new = {name for names in surgery.new.values() for name in names}
    assert all(torch.equal(whole[name], fresh.state_dict()[name]) for name in new)
    assert all(whole[name] is surgery.tensors[name] for name in whole if name not in new)


def test_blocks_more_than_the_donor_has_are_new_and_fewer_leave_some(registry, donor):
    deeper = inflate(donor, small(registry, "backbone.depth=6"), registry)
    assert next(deeper.lines()).startswith("modulation adaln_zero: newly initialised: modulation.blocks.{4..5}.weight,")
    shallower = inflate(donor, small(registry, "backbone.depth=3"), registry)
    assert any("has no place for the donor's blocks.3.attention.qkv.weight, " in line for line in shallower.lines())


def test_patches_that_are_no_multiple_of_the_donors_are_new(registry):
    donor = random_weights(small(registry, schedule={"type": "uniform", "patch": 4}), registry)
    surgery = inflate(donor, by_timestep(registry), registry)
    assert "patch_embedder linear: newly initialised: patch_embedders.2x4.proj.weight" in "\n".join(surgery.lines())
    assert "patch_embedders.4x4.proj.weight" in surgery.tensors


def test_another_size_cannot_be_filled_at_all(registry, donor):
    latent = {"channels": 4, "height": 16, "width": 16}
    target = small(registry, schedule=BY_TIMESTEP, name="target", latent=latent, dim=32, heads=4)
    with pytest.raises(WeightsError, match="donor: cannot be the donor of target") as caught:
        inflate(donor, target, registry)
    assert caught.value.problems == (
        "backbone.dim: 16 in the donor, 32 in the target; they must be the same",
        "backbone.heads: 2 in the donor, 4 in the target; they must be the same",
        "backbone.latent.channels: 3 in the donor, 4 in the target; they must be the same",
    )


def test_other_axes_than_height_and_width(registry, donor):
    with pytest.raises(WeightsError, match="donor: cannot be the donor of target") as caught:
        inflate(donor, of_axes(by_timestep(registry), 2, 16, 32), registry)
    assert caught.value.problems == ("backbone.latent.size: [2, 16, 32] in the target; surgery is of height and width",)
    with pytest.raises(WeightsError, match=r"backbone.latent.size: \[16\] in the donor; surgery is of"):
        inflate(Weights(of_axes(donor.recipe, 16), donor.tensors, {}), by_timestep(registry), registry)


@pytest.mark.parametrize("schedule", [BY_DEPTH, BY_TIMESTEP])
def test_a_donor_with_several_patches(registry, schedule):
    donor = random_weights(small(registry, schedule=schedule, name="donor"), registry)
    with pytest.raises(WeightsError, match="donor: has several stages or levels; surgery starts from a backbone with"):
        inflate(donor, small(registry), registry)


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        (
            HOURGLASS,
            "keeps the width and the heads of levels, which are 16 and 2 in the donor, 32 and 4 in the target; let"
            " both be alike",
        ),
        (LEVELS_DOWN, "goes to finer patches alone, not from 2x2 to 4x4; take another target"),
        (SCALED, "knows no stages with latents of another size; take a target without scale"),
    ],
)
def test_targets_that_surgery_knows_nothing_of(registry, donor, schedule, told):
    with pytest.raises(WeightsError, match=f"^donor > small: surgery {told}$"):
        inflate(donor, small(registry, schedule=schedule), registry)


def test_a_larger_latent_only_has_other_tables(registry, donor):
    target = by_timestep(registry, latent={"channels": 3, "height": 32, "width": 64}, stage_embedder="learned")
    backbone = started(donor, target, registry)
    assert backbone.positions["2x2"].table.shape == (16 * 32, SIZE["dim"])


def test_shipped_recipes_of_one_width_start_from_sit(registry):
    size = ["backbone.dim=16", "backbone.heads=2", "backbone.num_classes=3", "backbone.latent.height=16",
            "backbone.latent.width=16"]  # fmt: skip
    donor = random_weights(load_recipe("sit_b", size, registry), registry)
    for name in ("ppflow_b_2", "ppflow_b_3"):
        assert not list(inflate(donor, load_recipe(name, size, registry), registry).lines())
