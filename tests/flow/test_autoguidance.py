"""Autoguidance: away from the velocity of worse weights."""

import pytest
import torch

from tests.flow.test_guided_velocity import Spy, run
from zoo.flow import GuidedVelocity, Passes, evaluations
from zoo.flow.autoguidance import Autoguidance
from zoo.flow.guidance import ClassifierFreeGuidance
from zoo.flow.sampling import jumps
from zoo.flow.solvers import EulerSolver, HeunSolver

LATENT = (3, 4, 8)
WORSE = "backbone.depth=1", "backbone.dim=8", "backbone.patch_schedule={type: uniform, patch: 4}"
"""Smaller, and of one stage."""


def guidance(scale=3.0, **given):
    return Autoguidance(2, LATENT, scale=scale, **given)


def test_autoguidance_by_hand(small, inputs):
    backbone, worse, (noise, labels) = small(), small(*WORSE), inputs()
    velocity = GuidedVelocity(backbone, noise, labels, guidance((4.0, 1.0)), second=worse)
    with torch.no_grad():
        v, w = (each(noise, torch.full((4,), 0.7), labels) for each in (backbone, worse))
        assert torch.allclose(velocity(noise, 0.7), w + 4.0 * (v - w), atol=1e-5)
        assert torch.equal(velocity(noise, 0.2), backbone(noise, torch.full((4,), 0.2), labels))


def test_weights_that_are_no_worse_change_nothing(small, inputs):
    backbone = small()
    plain = run(backbone, inputs(), HeunSolver())
    assert torch.equal(run(backbone, inputs(), HeunSolver(), guidance=guidance(), second=backbone), plain)
    assert not torch.equal(run(backbone, inputs(), HeunSolver(), guidance=guidance(), second=small(*WORSE)), plain)


def test_the_worse_weights_run_where_they_guide_alone(small, inputs, monkeypatch):
    backbone, worse = small(), small(*WORSE)
    spies = [Spy(each, monkeypatch) for each in (backbone, worse)]
    run(backbone, inputs(), guidance=guidance((1.0, 3.0), interval=(0.0, 0.4)), second=worse)
    assert [len(spy.latents) for spy in spies] == [6, 2]  # of the levels of Euler's method 1/3 and 1/6
    assert all(len(latents) == 4 for spy in spies for latents in spy.latents)
    passes = evaluations(EulerSolver().levels(6), backbone.stages, backbone.ties, guidance())
    assert passes == (Passes(3, 0), Passes(3, 0))  # through the backbone itself


def test_worse_weights_of_more_stages_go_through_each_of_theirs(small, inputs, monkeypatch):
    spy = Spy(worse := small(), monkeypatch)
    run(small(*WORSE), inputs(), guidance=Autoguidance(1, LATENT, scale=3.0), second=worse)
    assert {stage: count for (stage, _), count in spy.passes.items()} == {0: 12, 1: 12}


def test_modulations_ahead_are_those_of_each_step(small, inputs):
    backbone, worse = small(dtype=torch.float64), small(*WORSE, dtype=torch.float64)
    noise, labels = inputs(dtype=torch.float64)
    levels = EulerSolver().levels(6)
    with torch.no_grad():
        ahead = GuidedVelocity(backbone, noise, labels, guidance(), levels, second=worse)
        by_step = GuidedVelocity(backbone, noise, labels, guidance(), second=worse)
        for t in levels:
            assert torch.allclose(ahead(noise, t), by_step(noise, t), atol=1e-10)


def test_solvers_are_told_of_the_stages_of_both(small):
    backbone, worse = small(*WORSE), small()
    assert jumps(backbone, Autoguidance(1, LATENT, scale=3.0, interval=(0.2, 1.0)), worse) == [0.5, 0.2]


def test_it_needs_no_labels(small, inputs):
    backbone, worse = (small("backbone.class_conditioner=none", *more) for more in ((), WORSE))
    latents = run(backbone, inputs(), guidance=guidance(), second=worse)
    assert latents.isfinite().all()
    assert not torch.equal(latents, run(backbone, inputs()))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (None, r"needs a second backbone to guide by; give it as second=zoo.load\(...\)"),
        (
            ["backbone.latent.width=16"],
            "its latents are 3 x 4 x 16, and those that are drawn 3 x 4 x 8; take weights of such",
        ),
        (["objective.path=vp"], "it has learned another path from data to noise"),
        (["backbone.num_classes=6"], "it has 6 classes, and what is drawn 5; take weights of as many"),
    ],
)
def test_weights_that_do_not_fit_are_refused(small, inputs, overrides, message):
    second = None if overrides is None else small(*overrides)
    with pytest.raises(ValueError, match=message):
        run(small(), inputs(), guidance=guidance(), second=second)


def test_an_unconditional_backbone_may_guide_and_is_not_guided_by_labels(small, inputs):
    backbone, unconditional = small(), small("backbone.class_conditioner=none")
    assert run(backbone, inputs(), guidance=guidance(), second=unconditional).isfinite().all()
    with pytest.raises(ValueError, match=r"it takes labels as .*, and what is drawn as"):
        run(unconditional, inputs(), guidance=guidance(), second=backbone)


def test_other_guidance_leaves_the_second_alone(small, inputs):
    backbone, plain = small(), ClassifierFreeGuidance(2, LATENT, scale=2.0)
    guided = run(backbone, inputs(), guidance=plain)
    assert torch.equal(run(backbone, inputs(), guidance=plain, second=small(*WORSE)), guided)
