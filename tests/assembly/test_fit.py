"""What a whole recipe cannot be: told by ``load_recipe``, all at once, and nothing is allocated."""

import pytest
import yaml

from tests.assembly.base import BASE, UNIFORM, problems_of, registry_with
from zoo.assembly import load_recipe
from zoo.parts import Norm
from zoo.registry import part

MULTIPLE = "of neighbouring levels one patch is a whole multiple of the other on every axis: "


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (
            f"{{type: uniform, patch: {10**30}}}",
            [f"patch: patch {10**30} does not divide the latent 8x12 (height x width)"],
        ),
        (
            "{type: by_depth, levels: [{patch: 4, blocks: 6}, {patch: 2, blocks: 6}]}",
            ["levels: block counts must add up to depth: 6 + 6 = 12, but backbone.depth is 2"],
        ),
        (
            "{type: by_timestep, stages: [{noise_above: 0.2, patch: 4}, {noise_above: 0.5, patch: 4}, {noise_above: 0,"
            " patch: 3}]}",
            [
                "stages.1.noise_above: stages go from noisy to clean: noise_above 0.5 must be below 0.2",
                "stages.2.patch: patch 3 does not divide the latent 8x12 (height x width)",
            ],
        ),
        (
            "{type: by_depth_and_timestep, stages: [{noise_above: 0.5, levels: [{patch: 4, blocks: 3}]},"
            " {noise_above: 0.0, levels: [{patch: 3, blocks: 1}, {patch: 2, blocks: 1}]}]}",
            [
                "stages.0.levels: block counts must add up to depth: 3, but backbone.depth is 2",
                "stages.1.levels.0.patch: patch 3 does not divide the latent 8x12 (height x width)",
                f"stages.1.levels.1.patch: {MULTIPLE}3 and 2 are not",
            ],
        ),
    ],
)
def test_a_schedule_that_does_not_fit(problems, schedule, expected):
    got = problems(BASE.replace(UNIFORM, schedule))
    assert got == [f"r.yaml:7: backbone.patch_schedule.{line}" for line in expected]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("heads: 2", "heads: 5", "r.yaml:1: backbone.block.attention: softmax: dim 32 is not divisible by heads 5"),
        (
            "heads: 2",
            "heads: 5\n  block: dit",
            "r.yaml:7: backbone.block.attention: softmax: dim 32 is not divisible by heads 5",
        ),
        ("dim: 32", "dim: 34", "r.yaml:1: backbone.position: sincos: "),
        (
            "num_classes: 10",
            "num_classes: 0",
            "r.yaml:1: backbone.class_conditioner: embedding: needs backbone.num_classes"
            " of at least 1; for an unconditional backbone write `none`",
        ),
        (
            "num_classes: 10",
            "class_conditioner: class_tokens",
            "r.yaml:3: backbone.class_conditioner: class_tokens: needs"
            " backbone.num_classes of at least 1; for an unconditional backbone write `none`",
        ),
        (
            "heads: 2",
            "heads: 2\n  time_embedder:\n    type: fno\n    modes: 18",
            "r.yaml:9: backbone.time_embedder.modes:"
            " 18 is more than the 17 frequencies of a grid of 32 points; take no more",
        ),
        (
            "heads: 2",
            "heads: 2\n  time_embedder: {type: fno, modes: 8, grid: 12}",
            "r.yaml:7: backbone.time_embedder.modes:"
            " 8 is more than the 7 frequencies of a grid of 12 points; take no more",
        ),
    ],
)
def test_a_part_that_does_not_fit(problems, old, new, expected):
    (problem,) = problems(BASE.replace(old, new))
    assert problem.startswith(expected)


def test_problems_of_every_sort_are_told_at_once(problems):
    text = BASE.replace("dim: 32", "dim: 34").replace("heads: 2", "heads: 3")
    schedule = "{type: by_depth, levels: [{patch: 4, blocks: 2}, {patch: 3, blocks: 2}]}"
    text = text.replace(UNIFORM, schedule).replace("num_classes: 10", "num_classes: 0")
    got = problems(text + "  time_embedder: {type: fno, modes: 99}\n  head: lin\nxx: 1\n", ["backbone.skip=maybe"])
    assert {tuple(line.split(": ")[:2]) for line in got} == {
        ("overrides['backbone.skip']", "backbone.skip.type"),
        ("r.yaml:1", "backbone.block.attention"),
        ("r.yaml:1", "backbone.position"),
        ("r.yaml:1", "backbone.class_conditioner"),
        ("r.yaml:7", "backbone.patch_schedule.levels"),
        ("r.yaml:7", "backbone.patch_schedule.levels.1.patch"),
        ("r.yaml:8", "backbone.time_embedder.modes"),
        ("r.yaml:9", "backbone.head.type"),
        ("r.yaml:10", "xx"),
    }


def test_what_cannot_be_told_before_something_else_is_mended_is_left_out(problems):
    assert problems(BASE.replace("depth: 2", "depth: two").replace("dim: 32", "dim: x")) == [
        'r.yaml:4: backbone.dim: should be a whole number, got "x"',
        'r.yaml:5: backbone.depth: should be a whole number, got "two"',
    ]


def test_one_override_may_be_given_as_text():
    assert load_recipe("dit_s", "backbone.depth=2").backbone.depth == 2


def test_a_line_that_is_about_other_keys_says_where_they_were_written(problems, monkeypatch):
    (line,) = problems(BASE, "backbone.heads=5")
    assert line.endswith(
        "softmax: dim 32 is not divisible by heads 5 (dim from r.yaml:4, heads from overrides['backbone.heads'])"
    )


def test_nor_is_one_silent_of_them_in_the_same_file(problems):
    (line,) = problems(BASE.replace("heads: 2", "heads: 5\n  block: dit"))
    assert line.endswith("softmax: dim 32 is not divisible by heads 5 (dim from r.yaml:4, heads from r.yaml:6)")


@part("norm", "odd")
class OddNorm(Norm):
    """Refuses in words that are also keys of latents."""

    def __init__(self, dim: int, *, scale: int = 3) -> None:
        super().__init__()
        raise ValueError(f"dim {dim} has no width, height or size, and neither heads nor depth, of scale {scale}")

    def forward(self, x):
        """Never called."""


def test_a_line_is_about_those_keys_alone_that_its_part_is_supplied_with():
    def found(text):
        return problems_of(yaml.safe_load(text), registry_with(OddNorm), {"backbone.block.norm": "odd"})

    (line,) = found(BASE)
    assert line.endswith(
        "dim 32 has no width, height or size, and neither heads nor depth, of scale 3 (dim from recipe)"
    )
    # a level's own width is not the backbone's
    told = found(BASE.replace(UNIFORM, "{type: by_depth, levels: [{patch: 4, blocks: 2, dim: 40, heads: 2}]}"))
    assert any("dim 40 has" in line and line.endswith("of scale 3") for line in told)


def test_widths_of_stages_are_no_width_of_latents(problems):
    noisy = "{noise_above: 0.5, levels: [{patch: 4, blocks: 2, dim: 64}]}"
    clean = "{noise_above: 0, levels: [{patch: 2, blocks: 2}]}"
    stages = f"[{noisy}, {clean}]"
    found = problems(BASE, [f"backbone.patch_schedule={{type: by_depth_and_timestep, stages: {stages}}}"])
    assert any(line.endswith("block 0 has width 32 here and 64 in stage 0") for line in found)


def test_a_patch_that_does_not_divide_says_where_the_latent_was_written(problems):
    (line,) = problems(BASE, {"backbone.patch_schedule.patch": 3})
    assert line == (
        "overrides['backbone.patch_schedule.patch']: backbone.patch_schedule.patch: patch 3 does not divide the latent"
        " 8x12 (height x width) (latent.height from r.yaml:2, latent.width from r.yaml:2)"
    )


@pytest.mark.parametrize(
    ("overrides", "origin"),
    [
        (["block.norm.type=odd", "block.norm.scale=5"], "block.norm.scale"),  # which the message names
        (["router.type=tread", "router.stop=2"], "router.type"),  # which asks for what is missing
        (["router.type=tread", "router.first=1", "router.stop=9"], "router.stop"),
    ],
)
def test_of_several_overrides_of_a_part_the_one_is_told_that_the_problem_is_about(overrides, origin):
    given = [f"backbone.{each}" for each in overrides]
    found = problems_of(yaml.safe_load(BASE), registry_with(OddNorm), given)
    assert {line.split(": ")[0] for line in found} == {f"overrides['backbone.{origin}']"}


def test_sampling_that_does_not_fit_the_backbone(problems):
    assert problems(f"{BASE}sample: {{guidance: [1.0, 2.0]}}\n") == [
        "r.yaml:8: sample.guidance.scale: 2 scales for 1 stage; give one for every stage, noisiest first, or one"
    ]


def test_an_assembly_that_no_machine_could_hold(problems):
    text = BASE.replace("height: 8, width: 12", "height: 65536, width: 65536").replace("dim: 32", "dim: 65536")
    text = text.replace(UNIFORM, "{type: by_depth, levels: [{patch: 65536, blocks: 1}, {patch: 1, blocks: 1}]}")
    assert problems(text) == [
        "r.yaml:1: backbone.upsampler: linear_linear: has more numbers than any machine holds; take smaller ones in the"
        " recipe"
    ]


def test_a_schedule_is_checked_also_where_the_latent_is_wrong(problems):
    text = BASE.replace("height: 8", "height: 0").replace(UNIFORM, "{type: by_depth, levels: [{patch: 3, blocks: 1}]}")
    assert problems(text) == [
        "r.yaml:2: backbone.latent.height: should be at least 1, got 0",
        "r.yaml:7: backbone.patch_schedule.levels: block counts must add up to depth: 1, but backbone.depth is 2",
    ]
