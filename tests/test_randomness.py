"""Random numbers by place: the same for ever, and independent of each other."""

import subprocess
import sys

import numpy as np
import pytest

from zoo.randomness import Purpose, generator_at

# Recorded once. A change of any of them changes every run that was ever made: it must be meant.
GOLDEN = {
    (0, Purpose.ORDER, 0, 0): (
        [0.011546754286331562, 0.24154919656271812],
        [0.059911035001277924, 0.015559634193778038],
        [5, 0, 6, 1, 7, 2, 4, 3],
    ),
    (3, Purpose.FLOW, 7, 5): (
        [0.1030525153297912, 0.7023497972628339],
        [0.11679022014141083, 0.12409240752458572],
        [5, 6, 2, 0, 4, 7, 3, 1],
    ),
    (2**63 - 1, Purpose.SAMPLE, 0, 2**40): (
        [0.5118393331530341, 0.8916134116670308],
        [-0.642061710357666, -0.29038599133491516],
        [5, 6, 7, 1, 3, 0, 4, 2],
    ),
}


@pytest.mark.parametrize("place", GOLDEN)
def test_numbers_are_those_of_all_time(place):
    uniform, normal, order = GOLDEN[place]
    assert generator_at(*place).random(2).tolist() == uniform
    assert generator_at(*place).standard_normal(2, dtype=np.float32).tolist() == normal
    assert generator_at(*place).permutation(8).tolist() == order


def test_purposes_keep_their_numbers():
    assert {each.name: each.value for each in Purpose} == {
        "ORDER": 0,
        "FLOW": 1,
        "AUGMENT": 2,
        "SAMPLE": 3,
        "SOLVER": 4,
        "POSTERIOR": 5,
        "LABELS": 6,
    }


def test_no_two_places_draw_alike():
    """All that differ in one coordinate, also where the numbers of one are those of another in other roles."""
    places = [
        (seed, purpose, step, index)
        for seed in (0, 1, 4, 2**32, 2**63 - 1)
        for purpose in Purpose
        for step in (0, 1, 2**32)
        for index in (0, 1, 2, 2**32)
    ]
    drawn = np.array([generator_at(*place).random(16) for place in places])
    assert len(np.unique(drawn)) == drawn.size  # nor is one a stretch of another


def test_neighbours_are_not_correlated():
    by_index = np.array([generator_at(0, Purpose.FLOW, 0, index).standard_normal(64) for index in range(200)])
    by_step = np.array([generator_at(0, Purpose.FLOW, step, 0).standard_normal(64) for step in range(200)])
    by_seed = np.array([generator_at(seed, Purpose.FLOW, 0, 0).standard_normal(64) for seed in range(200)])
    for drawn in (by_index, by_step, by_seed):
        product = drawn[:-1] * drawn[1:]
        assert abs(product.mean()) < 4 * product.size**-0.5
        assert abs(drawn.mean()) < 4 * drawn.size**-0.5


def test_a_place_has_room_for_any_draw_before_the_next_begins():
    """Philox's counter moves in its first word; the index is in the second."""
    here, there = generator_at(0, Purpose.FLOW, 3, 5), generator_at(0, Purpose.FLOW, 3, 6)
    here.bit_generator.advance(2**62)
    assert here.bit_generator.state["state"]["counter"][1:].tolist() == [5, 3, 0]
    assert there.bit_generator.state["state"]["counter"].tolist() == [0, 6, 3, 0]


def test_drawing_at_one_place_moves_no_other():
    one = generator_at(0, Purpose.FLOW, 0, 0)
    other = generator_at(0, Purpose.FLOW, 0, 1)
    one.random(1000)
    assert other.random() == generator_at(0, Purpose.FLOW, 0, 1).random()


def test_torch_is_not_imported():
    code = "import sys, zoo.randomness; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
