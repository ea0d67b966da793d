"""From noise to latents."""

import pytest
import torch

import zoo
from tests.flow.test_guidance import guidance as guidance_of
from zoo.errors import ZooError
from zoo.flow import sample
from zoo.flow.dopri5 import Dopri5Solver
from zoo.flow.euler_maruyama import EulerMaruyamaSolver
from zoo.flow.sampling import jumps
from zoo.flow.solvers import EulerSolver, HeunSolver

SOLVERS = [EulerSolver(), HeunSolver(), Dopri5Solver(rtol=1e-3, atol=1e-3), EulerMaruyamaSolver()]


def draw(k):
    return torch.randn(4, 3, 4, 8, generator=torch.Generator().manual_seed(k))


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
@pytest.mark.parametrize("guidance", [None, guidance_of((1.0, 2.0))], ids=["unguided", "guided"])
def test_every_solver_samples(small, inputs, solver, guidance):
    backbone = small()
    noise, labels = inputs()
    before = noise.clone()
    latents = sample(backbone, solver, noise, labels, steps=4, draw=draw, guidance=guidance)
    again = sample(backbone, solver, noise, labels, steps=4, draw=draw, guidance=guidance)
    assert latents.shape == noise.shape
    assert latents.isfinite().all()
    assert not latents.requires_grad
    assert torch.equal(latents, again)
    assert torch.equal(noise, before)


def test_it_is_euler_with_the_backbone(small, inputs):
    backbone, (noise, labels) = small(), inputs()
    z = noise
    with torch.no_grad():
        for t in (1.0, 0.75, 0.5, 0.25):
            z = z - 0.25 * backbone(z, torch.full((4,), t), labels)
    latents = sample(backbone, EulerSolver(), noise, labels, steps=4, draw=draw)
    assert torch.allclose(latents, z, atol=1e-6)


def test_the_adaptive_solver_agrees_across_stages_and_guidance(small, inputs):
    backbone = small(dtype=torch.float64)
    noise, labels = inputs(dtype=torch.float64)
    guidance = guidance_of((1.5, 2.0), interval=(0.3, 0.8))
    assert jumps(backbone, guidance) == [0.8, 0.5, 0.3]
    assert jumps(backbone, guidance_of(1.0, interval=(0.3, 0.8))) == [0.5]
    fine = sample(backbone, HeunSolver(), noise, labels, steps=200, draw=draw, guidance=guidance)
    adaptive = sample(backbone, Dopri5Solver(), noise, labels, steps=1, draw=draw, guidance=guidance)
    # Heun's fixed steps take the wrong side's velocity once at each jump, which costs them 1 / steps.
    assert torch.allclose(adaptive, fine, atol=1.2e-2)


def test_unconditional(small, inputs):
    backbone = small("backbone.class_conditioner=none")
    noise, _ = inputs()
    assert sample(backbone, HeunSolver(), noise, None, steps=2, draw=draw).shape == noise.shape


@pytest.mark.parametrize("path", ["linear", "gvp", "vp", "edm"])
@pytest.mark.parametrize("prediction", ["noise", "data"])
def test_every_prediction_is_sampled_on_every_path(small, inputs, path, prediction):
    backbone = small(f"backbone.prediction={prediction}", f"objective.path={path}", dtype=torch.float64)
    latents = sample(backbone, EulerSolver(), *inputs(dtype=torch.float64), steps=3, draw=draw)
    assert latents.isfinite().all()


def test_latents_of_several_sizes_are_refused(small, inputs):
    stages = "[{noise_above: 0.5, patch: 2, scale: 2}, {noise_above: 0.0, patch: 2}]"
    backbone = small(f"backbone.patch_schedule={{type: by_timestep, stages: {stages}}}")
    with pytest.raises(
        ZooError, match=r"goes between no sizes, and a stage of backbone.patch_schedule has a scale"
    ) as caught:
        sample(backbone, EulerSolver(), *inputs(), steps=2, draw=draw)
    assert caught.value.exit_code == 2


def test_no_steps_are_refused(small, inputs):
    with pytest.raises(ValueError, match="steps: must be at least 1, not 0"):
        sample(small(), EulerSolver(), *inputs(), steps=0, draw=draw)


def test_labels_are_checked(small, inputs):
    noise, labels = inputs()
    with pytest.raises(ValueError, match="labels: 6 is out of range"):
        sample(small(), EulerSolver(), noise, labels + 3, steps=2, draw=draw)


class Sulky(EulerSolver):
    def levels(self, steps):
        raise ValueError


@pytest.mark.parametrize("guidance", [None, {"type": "apg", "scale": 2.0}], ids=str)
def test_a_solver_of_ones_own_that_refuses_the_steps_is_told_by_its_class(small, guidance):
    with pytest.raises(ZooError, match=r"^sample\.steps: solver Sulky refuses 7: it says not why$"):
        zoo.sample(small(), [1], steps=7, solver=Sulky(), guidance=guidance or 1.0)
