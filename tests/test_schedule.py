"""Patches, levels and stages: names, grids, shares, and every way in which a schedule does not fit."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from zoo.schedule import (
    Level,
    Stage,
    finest_patch_of,
    first_patches_of,
    grid_of,
    noise_ranges,
    patch_name,
    patches_of,
    schedule_problems,
    shares,
    transitions_of,
)


def stage(noise_above: float, *levels: tuple[object, int]) -> Stage:
    return Stage(noise_above=noise_above, levels=tuple(Level(patch=patch, blocks=blocks) for patch, blocks in levels))


MULTIPLE = "levels go from coarse to fine, each patch a whole multiple of the next: "
HYBRID = (stage(0.5, (8, 1), ((4, 2), 1)), stage(0.0, ((4, 2), 1), (1, 1)))


def test_height_goes_first():
    assert grid_of(32, 16, (4, 2)) == (8, 8)
    assert patch_name((4, 2)) == "4x2"
    assert Level(patch=[4, 2], blocks=1).patch == (4, 2)
    assert Level(patch=4, blocks=1).patch == (4, 4)


def test_patches_and_transitions_in_the_order_of_first_use():
    assert patches_of(HYBRID) == ((8, 8), (4, 2), (1, 1))
    assert transitions_of(HYBRID) == (((8, 8), (4, 2)), ((4, 2), (1, 1)))
    assert first_patches_of(HYBRID) == ((8, 8), (4, 2))
    assert first_patches_of(HYBRID, last=True) == ((4, 2), (1, 1))
    assert finest_patch_of([stage(0.0, ((4, 2), 1), ((2, 4), 1))]) == (2, 2)


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


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (HYBRID, []),
        ([], [(None, None, "has no stage")]),
        ([stage(0.5, (2, 2))], [(0, None, "the last stage must have noise_above 0.0, not 0.5")]),
        (
            [stage(0.2, (2, 2)), stage(0.5, (2, 2)), stage(0.0, (2, 2))],
            [(1, None, "stages go from noisy to clean: noise_above 0.5 must be below 0.2")],
        ),
        (
            [stage(0.0, (2, 2)), stage(0.0, (2, 2))],
            [(1, None, "stages go from noisy to clean: noise_above 0.0 must be below 0.0")],
        ),
        ([stage(0.0, (2, 3))], [(0, None, "block counts must add up to depth: 3, but backbone.depth is 2")]),
        (
            [stage(0.5, (2, 2)), stage(0.0, (4, 1), (2, 2))],
            [(1, None, "block counts must add up to depth: 1 + 2 = 3, but backbone.depth is 2")],
        ),
        ([stage(0.0, (3, 2))], [(0, 0, "patch 3x3 does not divide the latent 8x16 (height x width)")]),
        ([stage(0.0, ((16, 8), 2))], [(0, 0, "patch 16x8 does not divide the latent 8x16 (height x width)")]),
        (
            [stage(0.0, (2, 1), (4, 1))],
            [
                (
                    0,
                    1,
                    MULTIPLE + "2x2 is no such multiple of 4x4",
                )
            ],
        ),
        (
            [stage(0.0, (2, 1), (2, 1))],
            [
                (
                    0,
                    1,
                    MULTIPLE + "2x2 is no such multiple of 2x2",
                )
            ],
        ),
        (
            [stage(0.0, ((4, 2), 1), ((2, 4), 1))],
            [
                (
                    0,
                    1,
                    MULTIPLE + "4x2 is no such multiple of 2x4",
                )
            ],
        ),
    ],
)
def test_every_problem_of_a_schedule(stages, expected):
    assert list(schedule_problems(stages, depth=2, height=8, width=16)) == expected


@pytest.mark.parametrize("patch", [0, -1, True, "2", 2.0, [2], [2, 2, 2], [2, 0], [2, True], None, {"h": 2}])
def test_a_patch_is_one_or_two_positive_numbers(patch):
    with pytest.raises(ValidationError):
        Level(patch=patch, blocks=1)


@pytest.mark.parametrize("noise_above", [-0.1, 1.0, float("nan"), float("inf"), "0.5", True])
def test_a_threshold_is_a_noise_level_below_one(noise_above):
    with pytest.raises(ValidationError):
        stage(noise_above, (2, 1))
