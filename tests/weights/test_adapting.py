"""Weights of one backbone start another: what the first step computes, and what is said of the rest."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from tests.weights.small import (
    BY_DEPTH,
    BY_TIMESTEP,
    HOURGLASS,
    HYBRID,
    LEVELS_DOWN,
    SIZE,
    UNIFORM,
    inputs,
    random_weights,
    small,
)
from zoo.assembly import build
from zoo.errors import WeightsError
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.weights import Weights, adapt, filled, inflate
from zoo.weights.fitting import interpolated, stage_map
from zoo.weights.inflation import Surgery

REGISTRY = Registry()
T = torch.tensor([0.0, 0.3, 0.6, 1.0])
MORE_STAGES = {
    "type": "by_depth_and_timestep",
    "stages": [
        {"noise_above": 0.75, "levels": [{"patch": 8, "blocks": 4}]},
        *HYBRID["stages"],
    ],
}


def recipe(schedule: Any = UNIFORM, **backbone: Any) -> Recipe:
    return small(REGISTRY, schedule=schedule, **backbone)


def adapted(donor: Weights, target: Recipe) -> Surgery:
    torch.manual_seed(1)
    return adapt(donor, target, build(target, device="cpu").state_dict(), REGISTRY)


def output(weights: Weights, latents: Tensor, labels: Tensor, t: Tensor = T) -> Tensor:
    with torch.no_grad():
        return filled(weights, torch.device("cpu"))(latents, t, labels)


def outputs(
    target: Recipe, latents: Tensor, labels: Tensor, donor: Weights, *, lines: tuple[str, ...] = ()
) -> tuple[Tensor, list[str]]:
    surgery = adapted(donor, target)
    assert tuple(surgery.lines()) == lines
    return output(Weights(target, surgery.tensors, {}), latents, labels), surgery.notes


@pytest.fixture(scope="module")
def donor() -> Weights:
    return random_weights(recipe(), REGISTRY)


@pytest.mark.parametrize("conditioner", ["embedding", {"type": "class_tokens", "tokens": 2}], ids=str)
@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (8, "5 are the donor's of the same number, 3 start anew"),
        (3, "3 are the donor's of the same number; 2 of the donor's are left behind"),
    ],
)
def test_classes_that_both_have_are_the_donors(conditioner: Any, classes: int, told: str) -> None:
    donor = random_weights(recipe(class_conditioner=conditioner), REGISTRY)
    target = recipe(class_conditioner=conditioner, num_classes=classes)
    latents, _ = inputs(target)
    own, theirs = torch.tensor([0, 1, 2, classes]), torch.tensor([0, 1, 2, SIZE["num_classes"]])
    found, notes = outputs(target, latents, own, donor)
    torch.testing.assert_close(found, output(donor, latents, theirs))
    assert notes == [f"class_conditioner: {classes} classes (5 in the donor): {told}"]


def test_classes_of_none_start_from_the_recipe(donor: Weights) -> None:
    target = recipe(num_classes=8)
    torch.manual_seed(1)
    fresh = build(target, device="cpu").state_dict()["class_conditioner.embedding.weight"]
    assert torch.equal(adapted(donor, target).tensors["class_conditioner.embedding.weight"][5:8], fresh[5:8])


@pytest.mark.parametrize("learn_sigma", [False, True])
@pytest.mark.parametrize("embedder", ["linear", "conv"])
def test_further_channels_change_nothing_of_the_first(embedder: str, learn_sigma: bool) -> None:
    parts = {"patch_embedder": embedder, "head": {"type": "linear", "learn_sigma": learn_sigma}}
    donor = random_weights(recipe(**parts), REGISTRY)
    target = recipe(**parts, latent={**SIZE["latent"], "channels": 5})
    latents, labels = inputs(target)
    found, notes = outputs(target, latents, labels, donor)
    torch.testing.assert_close(found[:, :3], output(donor, latents[:, :3], labels))
    assert not found[:, 3:].any()
    assert notes == ["latent: 5 channels in place of 3: the donor's are kept, and others start at zero"]


def test_grey_latents_are_seen_as_before_in_three_channels() -> None:
    grey = {**SIZE["latent"], "channels": 1}
    donor = random_weights(recipe(latent=grey), REGISTRY)
    latents, labels = inputs(donor.recipe)
    found, _ = outputs(recipe(), latents.expand(-1, 3, -1, -1), labels, donor)
    torch.testing.assert_close(found, output(donor, latents, labels).expand(-1, 3, -1, -1))


def test_one_channel_is_seen_as_all_that_there_were(donor: Weights) -> None:
    target = recipe(latent={**SIZE["latent"], "channels": 1})
    latents, labels = inputs(target)
    found, _ = outputs(target, latents, labels, donor)
    torch.testing.assert_close(found, output(donor, latents.expand(-1, 3, -1, -1), labels).mean(dim=1, keepdim=True))


def test_twice_the_size_in_twice_the_patch_is_the_donor_of_the_half(donor: Weights) -> None:
    target = recipe({"type": "uniform", "patch": 4}, latent={"channels": 3, "height": 32, "width": 64})
    half, labels = avg_pool2d(inputs(target)[0], 2), inputs(target)[1]
    found, notes = outputs(target, interpolate(half, scale_factor=2), labels, donor)
    expected = interpolate(output(donor, half, labels), scale_factor=2)
    torch.testing.assert_close(found, expected)
    assert notes[0] == "patch_embedder: of patch 4x4 from the donor's 2x2: of the pixels' mean"


def test_half_the_size_in_half_the_patch_is_the_donor_of_the_repeated(donor: Weights) -> None:
    target = recipe({"type": "uniform", "patch": 1}, latent={"channels": 3, "height": 8, "width": 16})
    latents, labels = inputs(target)
    found, _ = outputs(target, latents, labels, donor)
    expected = avg_pool2d(output(donor, interpolate(latents, scale_factor=2), labels), 2)
    torch.testing.assert_close(found, expected)


def test_fixed_tables_are_made_for_the_new_grid(donor: Weights) -> None:
    target = recipe(latent={"channels": 3, "height": 32, "width": 32})
    surgery = adapted(donor, target)
    assert surgery.notes == ["position: positions.2x2.table is made anew"]
    fresh = build(target, device="cpu").state_dict()["positions.2x2.table"]
    assert torch.equal(surgery.tensors["positions.2x2.table"], fresh)


def test_learned_tables_are_interpolated() -> None:
    donor = random_weights(recipe(position="learned"), REGISTRY)
    target = recipe(position="learned", latent={"channels": 3, "height": 32, "width": 64})
    surgery = adapted(donor, target)
    assert surgery.notes == ["position: the learned table of patch 2x2 is interpolated from 8x16 to 16x32"]
    before = donor.tensors["positions.2x2.table"].T.reshape(16, 8, 16)
    after = surgery.tensors["positions.2x2.table"].T.reshape(16, 16, 32)
    torch.testing.assert_close(avg_pool2d(after, 2)[:, 1:-1, 1:-1], before[:, 1:-1, 1:-1], atol=0.2, rtol=0.0)
    assert not torch.allclose(after[:, ::2, ::2], before, atol=1e-3)


@pytest.mark.parametrize(("grid", "other"), [((6,), (9,)), ((4, 6), (8, 5)), ((2, 3, 4), (4, 3, 5))])
def test_a_ramp_stays_one_inside_when_interpolated(grid: tuple[int, ...], other: tuple[int, ...]) -> None:
    def ramp(sides: tuple[int, ...]) -> Tensor:
        places = [(torch.arange(side, dtype=torch.float64) + 0.5) / side for side in sides]
        return torch.stack([each.flatten() for each in torch.meshgrid(*places, indexing="ij")], dim=1)

    found = interpolated(ramp(grid), grid, other)
    torch.testing.assert_close(found, ramp(other), atol=0.5 / min(grid), rtol=0.0)
    assert torch.equal(interpolated(ramp(grid), grid, grid), ramp(grid))


@pytest.mark.parametrize("modulation", ["adaln_zero", "shared_adaln", "adaln_single"])
@pytest.mark.parametrize("mlp", ["gelu", "swiglu"])
def test_further_blocks_change_nothing_at_first(modulation: str, mlp: str) -> None:
    parts = {"modulation": modulation, "block": {"type": "dit", "mlp": mlp}}
    donor = random_weights(recipe(**parts), REGISTRY)
    target = recipe(**parts, depth=6)
    latents, labels = inputs(target)
    found, notes = outputs(target, latents, labels, donor)
    torch.testing.assert_close(found, output(donor, latents, labels))
    assert notes == ["block: 2 more than the donor's (4, 5), which change nothing at first"]


def test_further_blocks_stand_behind_those_of_their_level() -> None:
    donor = random_weights(recipe(BY_DEPTH, upsampler="linear"), REGISTRY)
    deeper = {"type": "by_depth", "levels": [{"patch": 4, "blocks": 4}, {"patch": 2, "blocks": 3}]}
    target = recipe(deeper, upsampler="linear", depth=7)
    latents, labels = inputs(target)
    found, notes = outputs(target, latents, labels, donor)
    torch.testing.assert_close(found, output(donor, latents, labels))
    assert notes == ["block: 3 more than the donor's (3, 5, 6), which change nothing at first"]


def test_blocks_that_are_too_many_are_left(donor: Weights) -> None:
    target = recipe(depth=2)
    surgery = adapted(donor, target)
    assert surgery.notes == ["block: 2 of the donor's are left behind (2, 3)"]
    assert not list(surgery.lines())
    assert torch.equal(surgery.tensors["blocks.1.mlp.fc1.weight"], donor.tensors["blocks.1.mlp.fc1.weight"])


@pytest.mark.parametrize("schedule", [BY_TIMESTEP, BY_DEPTH, HYBRID], ids=["stages", "levels", "both"])
def test_of_one_patch_it_makes_what_inflation_does(donor: Weights, schedule: Any) -> None:
    target = recipe(schedule, stage_embedder="learned", upsampler="linear")
    expected = inflate(donor, target, REGISTRY)
    found = adapted(donor, target)
    assert not [*expected.lines(), *found.lines()]
    assert found.tensors.keys() == expected.tensors.keys()
    for name, each in expected.tensors.items():
        own = found.tensors[name]
        patch = re.fullmatch(r"patch_embedders.(\d+)x(\d+).proj.weight", name)
        if patch is not None and patch[0] != "patch_embedders.2x2.proj.weight":
            assert not torch.equal(own, each)
            size = int(patch[1]), int(patch[2])
            of_groups = (avg_pool2d(of.reshape(len(of), 3, *size), (size[0] // 2, size[1] // 2)) for of in (own, each))
            torch.testing.assert_close(*of_groups)
        else:
            assert torch.equal(own, each)


@pytest.mark.parametrize(
    ("one", "other"),
    [({"channels": 3, "height": 16, "width": 32}, UNIFORM),
     ({"channels": 1, "height": 32, "width": 64}, {"type": "uniform", "patch": 4})],
    ids=["channels", "pixels"],
)  # fmt: skip
def test_what_the_donor_could_not_tell_apart_is_told_apart_by_training(one: Any, other: Any) -> None:
    """Weights that see only the mean get equal gradients for all that it is of, for ever."""
    donor = random_weights(recipe(latent={"channels": 1, "height": 16, "width": 32}), REGISTRY)
    target = recipe(other, latent=one)
    weight = adapted(donor, target).tensors[f"patch_embedders.{'2x2' if other is UNIFORM else '4x4'}.proj.weight"]
    axes = (one["channels"], 2, 2) if other is UNIFORM else (2, 2, 2, 2)
    groups = weight.reshape(len(weight), *axes)
    spread = groups.std(dim=1) if other is UNIFORM else groups.std(dim=(2, 4))
    assert (spread > 1e-3).all()


def test_a_stage_more_leaves_the_others_as_they_were() -> None:
    parts = {"upsampler": "linear", "stage_embedder": "learned"}
    donor, target = random_weights(recipe(HYBRID, **parts), REGISTRY), recipe(MORE_STAGES, **parts)
    surgery = adapted(donor, target)
    assert not list(surgery.lines())
    assert surgery.notes == ["head: of patch 8x8 from the donor's 4x4: of the pixels' mean"]
    latents, labels = inputs(target)
    weights, t = Weights(target, surgery.tensors, {}), torch.tensor([0.1, 0.4, 0.6, 0.7])
    torch.testing.assert_close(output(weights, latents, labels, t), output(donor, latents, labels, t))
    rows = surgery.tensors["stage_embedder.embedding.weight"]
    assert torch.equal(rows, donor.tensors["stage_embedder.embedding.weight"][[0, 0, 1]])


def test_stages_are_those_at_the_middle_of_their_noise_levels() -> None:
    one, other = (build(recipe(each), device="meta").stages for each in (BY_TIMESTEP, MORE_STAGES))
    assert stage_map(one, other) == [0, 0, 2]
    assert stage_map(other, one) == [1, 2, 2]


def test_a_conditioner_of_another_kind_starts_anew(donor: Weights) -> None:
    target = recipe(class_conditioner={"type": "class_tokens", "tokens": 2})
    surgery = adapted(donor, target)
    assert list(surgery.lines()) == [
        "class_conditioner class_tokens: newly initialised: class_conditioner.embedding.weight",
        "class_conditioner embedding: the target has no place for the donor's class_conditioner.embedding.weight",
    ]


def test_blocks_of_another_part_start_anew_and_what_else_differs_is_told(donor: Weights) -> None:
    target = small(REGISTRY, "objective.path=gvp", prediction="noise", block={"type": "dit", "mlp": "swiglu"})
    lines = list(adapted(donor, target).lines())
    assert lines[0] == "prediction: the donor's weights have learned velocity, the target's noise"
    assert lines[1].startswith("path: the donor's weights have learned {'type': 'linear'}, the target's {'type': 'gvp'")
    assert lines[2].startswith("block dit: newly initialised: blocks.{0..3}.attention.qkv.weight")


@pytest.mark.parametrize("clock", ["noise", "data"])
def test_another_clock_is_turned(clock: str) -> None:
    donor = random_weights(recipe(time_embedder={"type": "sinusoidal", "clock": clock}), REGISTRY)
    target = recipe(depth=5)
    latents, labels = inputs(target)
    found, _ = outputs(target, latents, labels, donor)
    torch.testing.assert_close(found, output(donor, latents, labels), atol=1e-4, rtol=0.0)


def test_a_level_more_is_told(donor: Weights) -> None:
    assert adapted(donor, recipe(BY_DEPTH, upsampler="linear")).notes == [
        "patch_embedder: of patch 4x4 from the donor's 2x2: of the pixels' mean",
        "upsampler: 4x4 to 2x2 starts by leaving tokens as they are",
        "skip: 4x4 to 2x2 starts by adding what the patch embedder sees",
    ]


def test_a_level_of_another_width_starts_anew_and_nothing_else_is_said_of_it(donor: Weights) -> None:
    surgery = adapted(donor, recipe(HOURGLASS, upsampler="linear"))
    assert not [note for note in surgery.notes if note.startswith(("upsampler", "downsampler"))]
    new = {name for names in surgery.new.values() for name in names}
    assert {"downsamplers.2x2_to_4x4.proj.weight", "blocks.1.mlp.fc1.weight"} <= new
    assert "blocks.0.mlp.fc1.weight" not in new
    assert "blocks.1.mlp.fc1.weight" in {name for names in surgery.left.values() for name in names}


def test_coarser_levels_behind_start_as_the_mean() -> None:
    donor, target = random_weights(recipe(depth=2), REGISTRY), recipe(LEVELS_DOWN)
    surgery = adapted(donor, target)
    tokens = torch.randn(2, 8 * 16, 16)
    backbone = filled(Weights(target, surgery.tensors, {}), torch.device("cpu"))
    coarse, grid = backbone.downsamplers["2x2_to_4x4"](tokens, 0, (8, 16))
    assert grid == (4, 8)
    torch.testing.assert_close(coarse, tokens.unflatten(1, (4, 2, 8, 2)).mean(dim=(2, 4)).flatten(1, 2))


def test_weights_of_which_nothing_fits_are_refused(donor: Weights) -> None:
    strangers = Weights(donor.recipe, {f"x.{name}": each for name, each in donor.tensors.items()}, {})
    with pytest.raises(WeightsError, match=r"^small: nothing of it fits small; take other weights$"):
        adapted(strangers, recipe(depth=6))


def test_other_widths_and_axes_are_refused(donor: Weights) -> None:
    with pytest.raises(WeightsError) as refused:
        adapted(donor, recipe(dim=32, heads=4))
    assert [line.strip() for line in str(refused.value).splitlines()[1:]] == [
        "backbone.dim: 16 in the donor, 32 in the target; they must be the same",
        "backbone.heads: 2 in the donor, 4 in the target; they must be the same",
    ]
