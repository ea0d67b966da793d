"""Where guidance applies."""

import pytest

from zoo.flow import Guidance, Passes, evaluations
from zoo.flow.solvers import EulerSolver, HeunSolver
from zoo.schedule import LevelShape, StageShape

STAGES = [StageShape(low, (LevelShape((2, 2), 1, 16, 2),), (1, 1)) for low in (0.5, 0.0)]


def test_one_scale_is_for_all_stages():
    assert Guidance.of(4.0, 3).scales == (4.0, 4.0, 4.0)
    assert Guidance.of([1.0, 2.0], 2).scales == (1.0, 2.0)


def test_none():
    assert Guidance.of(1.0, 2).is_none
    assert not Guidance.of([1.0, 1.5], 2).is_none


def test_both_ends_of_the_interval_are_guided():
    guidance = Guidance.of(3.0, 1, interval=(0.2, 0.7))
    assert [guidance.scale_at(0, t) for t in (0.19, 0.2, 0.5, 0.7, 0.71)] == [1.0, 3.0, 3.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((),), "scales must be finite numbers"),
        (((float("nan"),),), "scales must be finite numbers"),
        (((1.0,), 0), "at least one channel, not 0"),
        (((1.0,), None, (0.7, 0.2)), "from a lower noise level to a higher one in .* not 0.7 to 0.2"),
        (((1.0,), None, (-0.1, 0.2)), "not -0.1 to 0.2"),
        (((1.0,), None, (0.1, 1.2)), "not 0.1 to 1.2"),
    ],
)
def test_what_is_no_guidance_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Guidance(*arguments)


def test_scales_must_fit_the_stages():
    with pytest.raises(ValueError, match="2 scales for 3 stages"):
        Guidance.of((1.0, 2.0), 3)


def test_passes_by_stage():
    levels = EulerSolver().levels(10)
    assert evaluations(levels, STAGES, "cleaner", Guidance.of(1.0, 2)) == (Passes(5, 0), Passes(5, 0))
    assert evaluations(levels, STAGES, "cleaner", Guidance.of([2.0, 1.0], 2)) == (Passes(5, 5), Passes(5, 0))
    assert evaluations(levels, STAGES, "noisier", Guidance.of(2.0, 2)) == (Passes(6, 6), Passes(4, 4))
    inside = Guidance.of(2.0, 2, interval=(0.3, 0.6))
    assert evaluations(levels, STAGES, "cleaner", inside) == (Passes(5, 1), Passes(5, 3))
    assert evaluations(HeunSolver().levels(2), STAGES, "cleaner", Guidance.of(1.0, 2)) == (Passes(1, 0), Passes(3, 0))
