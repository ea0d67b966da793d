"""Patches, levels and stages: names, grids, shares, and every way in which a schedule does not fit."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from zoo.schedule import (
    Level,
    LevelShape,
    Node,
    Stage,
    grid_of,
    is_finer,
    noise_ranges,
    pairs_of,
    patch_name,
    resolved,
    shares,
)
from zoo.schedule_problems import schedule_problems

SIZE, DIM, HEADS = (8, 16), 16, 2


def stage(noise_above: float, *levels: tuple[object, ...], scale: object = 1) -> Stage:
    """A stage of levels (patch, blocks), and then width and heads."""
    names = ("patch", "blocks", "dim", "heads")
    return Stage(
        noise_above=noise_above,
        levels=tuple(Level(**dict(zip(names, level, strict=False))) for level in levels),
        scale=scale,
    )


POSITIONS = "and width 16, whose levels share their positions"
HYBRID = (stage(0.5, (8, 1), ((4, 2), 1)), stage(0.0, ((4, 2), 1), (1, 1)))


def test_height_goes_first():
    assert grid_of((32, 16), (4, 2)) == (8, 8)
    assert patch_name((4, 2)) == "4x2"


def test_a_patch_is_one_number_or_one_for_each_axis():
    for patch in ([4], [4, 2], [1, 4, 2]):
        assert Level(patch=patch, blocks=1).patch == tuple(patch)
    assert Level(patch=4, blocks=1).patch == 4
    for axes in (1, 2, 3):
        (only,) = resolved([stage(0.0, (4, 1), scale=2)], axes, DIM, HEADS)
        assert (only.levels[0].patch, only.scale) == ((4,) * axes, (2,) * axes)


def test_heads_that_do_not_divide_the_backbones_width_are_left_for_blocks_to_refuse():
    (only,) = resolved([stage(0.0, (4, 1))], 2, 8, 3)
    assert only.levels[0].heads == 3


def test_a_level_has_the_backbones_width_and_its_width_of_a_head_unless_told():
    levels = [(4, 1), (4, 1, 48), (2, 1, 48, 4), (1, 1, None, 8)]
    (only,) = resolved([stage(0.0, *levels)], 2, DIM, HEADS)
    assert only.levels == (
        LevelShape((4, 4), 1, 16, 2),
        LevelShape((4, 4), 1, 48, 6),
        LevelShape((2, 2), 1, 48, 4),
        LevelShape((1, 1), 1, 16, 8),
    )


def test_pairs_in_the_order_of_first_use():
    hybrid = resolved(HYBRID, 2, DIM, HEADS)
    coarse, middle, fine = (Node(patch, DIM) for patch in ((8, 8), (4, 2), (1, 1)))
    assert pairs_of(hybrid, finer=True) == ((coarse, middle), (middle, fine))
    assert pairs_of(hybrid, finer=False) == ()


def test_pairs_to_a_coarser_patch_or_to_another_width_go_through_a_downsampler():
    hourglass = resolved([stage(0.0, (2, 1), (4, 1), (4, 1, 32), (2, 1))], 2, DIM, HEADS)
    fine, coarse, wide = Node((2, 2), 16), Node((4, 4), 16), Node((4, 4), 32)
    assert pairs_of(hourglass, finer=False) == ((fine, coarse), (coarse, wide))
    assert pairs_of(hourglass, finer=True) == ((wide, fine),)


@pytest.mark.parametrize(
    ("patch", "other", "finer"),
    [
        ((2, 2), (4, 4), True),
        ((2, 4), (4, 4), True),
        ((4, 4), (2, 2), False),
        ((4, 4), (4, 4), False),
        ((2, 4), (4, 2), False),
        ((2,), (6,), True),
        ((1, 2, 2), (4, 2, 2), True),
    ],
)
def test_a_finer_patch_divides_another(patch, other, finer):
    assert is_finer(patch, other) is finer


def test_a_stage_has_latents_of_its_own_size():
    (only,) = resolved([stage(0.0, (2, 1), scale=(4, 2))], 2, DIM, HEADS)
    assert only.size_in((16, 16)) == (4, 8)


def test_noise_ranges_go_from_noisy_to_clean():
    assert noise_ranges([stage(0.75, (4, 1)), stage(0.3, (4, 1)), stage(0.0, (2, 1))]) == (
        (0.75, 1.0),
        (0.3, 0.75),
        (0.0, 0.3),
    )


@given(st.lists(st.floats(0.0, 1.0, exclude_min=True, exclude_max=True), unique=True, max_size=6))
def test_shares_are_exact_and_add_up_to_one(thresholds):
    stages = [stage(low, (2, 1)) for low in [*sorted(thresholds, reverse=True), 0.0]]
    assert sum(shares(stages)) == 1
    assert all(share > 0 for share in shares(stages))


def test_shares_are_those_of_the_decimal_that_was_written():
    assert shares([stage(0.1, (2, 1)), stage(0.0, (2, 1))]) == (Fraction(9, 10), Fraction(1, 10))


TWO_AXES = "and the latent 8x16 has 2 axes; give one number, or 2"
MULTIPLE = "of neighbouring levels one patch is a whole multiple of the other on every axis: "


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (HYBRID, []),
        ([], [(None, None, None, "has no stage")]),
        ([stage(0.5, (2, 2))], [(0, None, "noise_above", "the last stage must have noise_above 0.0, not 0.5")]),
        (
            [stage(0.2, (2, 2)), stage(0.5, (2, 2)), stage(0.0, (2, 2))],
            [(1, None, "noise_above", "stages go from noisy to clean: noise_above 0.5 must be below 0.2")],
        ),
        (
            [stage(0.0, (2, 2)), stage(0.0, (2, 2))],
            [(1, None, "noise_above", "stages go from noisy to clean: noise_above 0.0 must be below 0.0")],
        ),
        ([stage(0.0, (2, 3))], [(0, None, "levels", "block counts must add up to depth: 3, but backbone.depth is 2")]),
        (
            [stage(0.5, (2, 2)), stage(0.0, (4, 1), (2, 2))],
            [(1, None, "levels", "block counts must add up to depth: 1 + 2 = 3, but backbone.depth is 2")],
        ),
        ([stage(0.0, (3, 2))], [(0, 0, "patch", "patch 3 does not divide the latent 8x16 (height x width)")]),
        (
            [stage(0.0, ((16, 8), 2))],
            [(0, 0, "patch", "patch [16, 8] does not divide the latent 8x16 (height x width)")],
        ),
        ([stage(0.0, (2, 1), (4, 1))], []),
        ([stage(0.0, (2, 1), (2, 1, 32))], []),
        (
            [stage(0.0, (2, 1), (2, 1))],
            [(0, 1, "patch", "patch 2 at width 16 is that of the level before: make one of both")],
        ),
        (
            [stage(0.0, (2, 1), (2, 1, 16, 4))],
            [(0, 1, "patch", "patch 2 at width 16 is that of the level before: make one of both")],
        ),
        ([stage(0.0, ((4, 2), 1), ((2, 4), 1))], [(0, 1, "patch", MULTIPLE + "[4, 2] and [2, 4] are not")]),
        ([stage(0.0, (8, 1), ((4, 16), 1))], [(0, 1, "patch", MULTIPLE + "8 and [4, 16] are not")]),
        (
            [stage(0.0, ([2], 2))],
            [(0, 0, "patch", f"patch [2] has 1 number, {TWO_AXES}")],
        ),
        (
            [stage(0.0, (2, 2), scale=[2, 2, 2])],
            [
                (
                    0,
                    None,
                    "scale",
                    f"scale [2, 2, 2] has 3 numbers, {TWO_AXES}",
                )
            ],
        ),
        (
            [stage(0.0, ([2, 2, 2], 2))],
            [(0, 0, "patch", f"patch [2, 2, 2] has 3 numbers, {TWO_AXES}")],
        ),
        (
            [stage(0.0, (1, 2), scale=3)],
            [(0, None, "scale", "scale 3 does not divide the latent 8x16 (height x width)")],
        ),
        ([stage(0.0, (4, 2), scale=4)], [(0, 0, "patch", "patch 4 does not divide the latent 2x4 of scale 4")]),
        (
            [stage(0.5, (4, 1, 32), (2, 1)), stage(0.0, (2, 2))],
            [(1, 0, "dim", "stages share their blocks, and block 0 has width 16 here and 32 in stage 0")],
        ),
        (
            [stage(0.5, (4, 1), (2, 1, 32)), stage(0.0, (4, 1), (2, 1, 64))],
            [(1, 1, "dim", "stages share their blocks, and block 1 has width 64 here and 32 in stage 0")],
        ),
        (
            [stage(0.5, (4, 2)), stage(0.0, (2, 2, None, 4))],
            [(1, 0, "heads", "stages share their blocks, and block 0 has heads 4 here and 2 in stage 0")],
        ),
        (
            [stage(0.5, (4, 1), (2, 1, None, 4)), stage(0.0, (2, 1), (4, 1, None, 4))],
            [
                (1, 0, "heads", f"heads differ at patch 2 {POSITIONS}: 2 here and 4 in level 1 of stage 0"),
                (1, 1, "heads", f"heads differ at patch 4 {POSITIONS}: 4 here and 2 in level 0 of stage 0"),
            ],
        ),
        ([stage(0.5, (4, 1), (2, 1, None, 4)), stage(0.0, (2, 1), (1, 1, None, 4), scale=2)], []),
    ],
)
def test_every_problem_of_a_schedule(stages, expected):
    found = list(schedule_problems(stages, depth=2, size=SIZE, dim=DIM, heads=HEADS))
    assert [problem[:-1] for problem in found] == expected
    assert all(problem.about == ("size" if "the latent" in problem.message else None) for problem in found)


def test_levels_at_one_patch_and_width_share_their_positions_and_so_their_heads():
    levels = [(2, 1), (4, 1), (2, 1, None, 4)]
    (problem,) = schedule_problems([stage(0.0, *levels)], depth=3, size=SIZE, dim=DIM, heads=HEADS)
    assert problem[:3] == (0, 2, "heads")
    assert problem.message == f"heads differ at patch 2 {POSITIONS}: 4 here and 2 in level 0 of stage 0"


def test_what_does_not_depend_on_the_latent_is_told_without():
    stages = [stage(0.5, (3, 1), (3, 1)), stage(0.5, ([1, 2, 3], 3))]
    found = list(schedule_problems(stages, depth=2, size=None, dim=DIM, heads=HEADS))
    assert [problem.field for problem in found] == ["noise_above", "noise_above", "levels"]


@pytest.mark.parametrize("patch", [0, -1, True, "2", 2.0, [], [2, 2, 2, 2], [2, 0], [2, True], None, {"h": 2}])
def test_a_patch_is_one_to_three_positive_numbers(patch):
    with pytest.raises(ValidationError):
        Level(patch=patch, blocks=1)


@pytest.mark.parametrize("noise_above", [-0.1, 1.0, float("nan"), float("inf"), "0.5", True])
def test_a_threshold_is_a_noise_level_below_one(noise_above):
    with pytest.raises(ValidationError):
        stage(noise_above, (2, 1))
