"""Where guidance applies."""

import pytest

from zoo.errors import OptionError
from zoo.flow import Passes, evaluations
from zoo.flow.guidance import ClassifierFreeGuidance
from zoo.flow.solvers import EulerSolver, HeunSolver
from zoo.schedule import LevelShape, StageShape

STAGES = [StageShape(low, (LevelShape((2, 2), 1, 16, 2),), (1, 1)) for low in (0.5, 0.0)]


LATENT = (3, 4, 8)


def guidance(scale, stages=2, **given):
    return ClassifierFreeGuidance(stages, LATENT, scale=scale, **given)


def test_one_scale_is_for_all_stages():
    assert guidance(4.0, 3).scales == (4.0, 4.0, 4.0)
    assert guidance((1.0, 2.0)).scales == (1.0, 2.0)


def test_none():
    assert guidance(1.0).is_none
    assert guidance(1.0, interval=(0.2, 0.7)).thresholds == ()
    assert not guidance((1.0, 1.5)).is_none


def test_both_ends_of_the_interval_are_guided():
    inside = guidance(3.0, 1, interval=(0.2, 0.7))
    assert [inside.scale(0, t) for t in (0.19, 0.2, 0.5, 0.7, 0.71)] == [1.0, 3.0, 3.0, 3.0, 1.0]
    assert inside.thresholds == (0.2, 0.7)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scale": (1.0, 2.0)}, "scale: 2 scales for 3 stages; give one for every stage, noisiest first, or one"),
        ({"scale": (1.0,)}, "scale: 1 scale for 3 stages"),
        ({"interval": (0.7, 0.2)}, "interval: goes from lowest to highest noise level, not from 0.7 to 0.2"),
        ({"channels": 4}, "channels: 4, but the latents have 3"),
    ],
)
def test_options_that_do_not_fit_are_refused(given, message):
    with pytest.raises(OptionError, match=message):
        guidance(**{"scale": 2.0, "stages": 3, **given})


def test_passes_by_stage():
    levels = EulerSolver().levels(10)
    assert evaluations(levels, STAGES, "cleaner") == (Passes(5, 0), Passes(5, 0))
    assert evaluations(levels, STAGES, "cleaner", guidance(1.0)) == (Passes(5, 0), Passes(5, 0))
    assert evaluations(levels, STAGES, "cleaner", guidance((2.0, 1.0))) == (Passes(5, 5), Passes(5, 0))
    assert evaluations(levels, STAGES, "noisier", guidance(2.0)) == (Passes(6, 6), Passes(4, 4))
    inside = guidance(2.0, interval=(0.3, 0.6))
    assert evaluations(levels, STAGES, "cleaner", inside) == (Passes(5, 1), Passes(5, 3))
    assert evaluations(HeunSolver().levels(2), STAGES, "cleaner", guidance(1.0)) == (Passes(1, 0), Passes(3, 0))
