"""The velocity that solvers follow: which passes it takes, and what guidance changes."""

from collections import Counter

import pytest
import torch

from tests.flow.test_guidance import guidance as guidance_of
from zoo.flow import GuidedVelocity, evaluations, sample
from zoo.flow.solvers import EulerSolver, HeunSolver
from zoo.parts.base import ClassCondition, ClassConditioner


class Spy:
    """Counts the samples that go through each stage, with a label and without, and keeps what goes in."""

    def __init__(self, backbone, monkeypatch):
        self.passes, self.latents, self.modulations = Counter(), [], []
        forward, modulate = backbone.forward_stage, backbone.modulate

        def forward_stage(stage, latents, t, labels=None, modulation=None):
            for label in labels.tolist():
                self.passes[stage, label == 5] += 1
            self.latents.append(latents)
            return forward(stage, latents, t, labels, modulation)

        def modulated(stage, t, labels=None):
            self.modulations.append((stage, len(t)))
            return modulate(stage, t, labels)

        monkeypatch.setattr(backbone, "forward_stage", forward_stage)
        monkeypatch.setattr(backbone, "modulate", modulated)


def run(backbone, inputs, solver=None, steps=6, **given):
    return sample(backbone, solver or EulerSolver(), *inputs, steps=steps, draw=torch.zeros, **given)


def test_guidance_by_hand(small, inputs):
    backbone, (noise, labels) = small(), inputs()
    velocity = GuidedVelocity(backbone, noise, labels, guidance_of((4.0, 1.0)))
    with torch.no_grad():
        t = torch.full((4,), 0.7)
        c, u = (backbone(noise, t, each) for each in (labels, torch.full_like(labels, 5)))
        assert torch.allclose(velocity(noise, 0.7), u + 4.0 * (c - u), atol=1e-5)
        assert torch.equal(velocity(noise, 0.2), backbone(noise, torch.full((4,), 0.2), labels))


@pytest.mark.parametrize("solver", [EulerSolver(), HeunSolver()])
def test_scale_one_is_no_guidance_bit_by_bit(small, inputs, solver):
    backbone = small()
    plain = run(backbone, inputs(), solver)
    assert torch.equal(run(backbone, inputs(), solver, guidance=guidance_of(1.0, channels=2)), plain)
    assert not torch.equal(run(backbone, inputs(), solver, guidance=guidance_of(1.1)), plain)


@pytest.mark.parametrize("scales", [(1.0, 3.0), (3.0, 1.0), (2.0, 3.0), (0.0, 1.0)])
@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.3, 0.7), (1 / 6, 0.5)])
@pytest.mark.parametrize("solver", [EulerSolver(), HeunSolver()])
def test_only_guided_levels_pay(small, inputs, monkeypatch, scales, interval, solver):
    backbone, guidance = small(), guidance_of(scales, interval=interval)
    spy = Spy(backbone, monkeypatch)
    run(backbone, inputs(), solver, guidance=guidance)
    for stage, passes in enumerate(evaluations(solver.levels(6), backbone.stages, backbone.ties, guidance)):
        assert spy.passes[stage, False] == 4 * passes.conditional
        assert spy.passes[stage, True] == 4 * passes.unconditional
        assert passes.unconditional == 0 or scales[stage] != 1.0


def test_guidance_of_a_stage_leaves_the_others_alone(small, inputs, monkeypatch):
    backbone = small()
    plain, guided = Spy(backbone, monkeypatch), None
    run(backbone, inputs())
    guided = Spy(backbone, monkeypatch)
    run(backbone, inputs(), guidance=guidance_of((1.0, 3.0)))
    assert len(guided.latents) == 6
    for level in range(4):  # the last of these is where the second stage starts from
        assert torch.equal(guided.latents[level][:4], plain.latents[level])
    assert not torch.equal(guided.latents[4][:4], plain.latents[4])


def test_an_interval_leaves_the_rest_alone(small, inputs, monkeypatch):
    backbone = small()
    plain, guided = (Spy(backbone, monkeypatch), None)
    run(backbone, inputs())
    guided = Spy(backbone, monkeypatch)
    run(backbone, inputs(), guidance=guidance_of((3.0, 3.0), interval=(0.0, 0.7)))
    assert [len(latents) for latents in guided.latents] == [4, 4, 8, 8, 8, 8]
    assert torch.allclose(guided.latents[2][:4], plain.latents[2], atol=1e-6)
    assert not torch.allclose(guided.latents[3][:4], plain.latents[3], atol=1e-3)


def test_other_channels_take_the_velocity_with_the_label(small, inputs):
    backbone, (noise, labels) = small(), inputs()
    with torch.no_grad():
        velocities = [
            GuidedVelocity(backbone, noise, labels, guidance)(noise, 0.7)
            for guidance in (None, guidance_of(3.0), guidance_of(3.0, channels=2))
        ]
    plain, all_channels, two_channels = velocities
    assert torch.equal(two_channels[:, :2], all_channels[:, :2])
    assert torch.allclose(two_channels[:, 2:], plain[:, 2:], atol=1e-6)
    assert not torch.allclose(all_channels[:, 2:], plain[:, 2:], atol=1e-2)


MODULATIONS = ["adaln_zero", "shared_adaln", "adaln_single"]
CONDITIONERS = ["embedding", "class_tokens"]


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("conditioner", CONDITIONERS)
@pytest.mark.parametrize("guidance", [None, guidance_of((1.0, 2.0)), guidance_of(2.0, interval=(0.3, 0.6))])
def test_modulations_ahead_are_those_of_each_step(small, inputs, modulation, conditioner, guidance):
    overrides = [f"backbone.modulation={modulation}", f"backbone.class_conditioner={conditioner}"]
    backbone = small(*overrides, dtype=torch.float64)
    noise, labels = inputs(dtype=torch.float64)
    levels = HeunSolver().levels(6)
    with torch.no_grad():
        by_step = GuidedVelocity(backbone, noise, labels, guidance)
        expected = [by_step(noise, t) for t in levels]
        for limit in (2**29, 20_000, 1):
            ahead = GuidedVelocity(backbone, noise, labels, guidance, levels, limit)
            for t, velocity in zip(levels, expected, strict=True):
                assert torch.allclose(ahead(noise, t), velocity, atol=1e-10)


@pytest.mark.parametrize(("conditioner", "rows"), [("class_tokens", 1), ("embedding", 3)])
def test_one_pass_for_all_steps_of_a_stage(small, inputs, monkeypatch, conditioner, rows):
    """Of four samples, two share a label."""
    backbone = small(f"backbone.class_conditioner={conditioner}")
    spy = Spy(backbone, monkeypatch)
    run(backbone, inputs(), HeunSolver(), steps=10)
    assert spy.modulations == [(0, 1), (0, 5 * rows), (1, 1), (1, 6 * rows)]  # one row first, to learn its size


def test_a_tiny_cap_makes_a_pass_for_every_step(small, inputs, monkeypatch):
    backbone = small()
    spy = Spy(backbone, monkeypatch)
    run(backbone, inputs(), modulation_bytes=1)
    assert [rows for _, rows in spy.modulations] == [1, 3, 3, 3, 1, 3, 3, 3]


class TextConditioner(ClassConditioner):
    """Labels are embeddings."""

    gives = frozenset({"label"})

    def __init__(self, dim):
        super().__init__()
        self.proj = torch.nn.Linear(2, dim)

    def forward(self, labels):
        return ClassCondition(vector=self.proj(labels))

    def null(self, labels):
        return torch.zeros_like(labels)

    def example_labels(self, batch, device=None):
        return torch.ones(batch, 2, device=device)

    def check_labels(self, labels, batch):
        pass


def test_labels_can_be_embeddings(small, inputs):
    backbone, (noise, _) = small(), inputs()
    backbone.class_conditioner = TextConditioner(16)
    labels = torch.randn(4, 2)
    with torch.no_grad():
        ahead = GuidedVelocity(backbone, noise, labels, guidance_of(2.0), [0.7])(noise, 0.7)
        by_step = GuidedVelocity(backbone, noise, labels, guidance_of(2.0))(noise, 0.7)
    assert torch.allclose(ahead, by_step, atol=1e-6)


@pytest.mark.parametrize("ties", ["cleaner", "noisier"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_stage_is_the_one_that_the_backbone_sees(small, inputs, ties, dtype):
    stages = "{type: by_timestep, stages: [{noise_above: 0.3, patch: 4}, {noise_above: 0, patch: 2}]"
    backbone = small(f"backbone.patch_schedule={stages}, ties: {ties}}}")
    noise, labels = inputs(dtype=dtype)
    velocity = GuidedVelocity(backbone, noise, labels)
    for t in (1.0, 0.30000001, 0.3, 3 / 10, 0.29999999, 0.0):
        assert velocity.stage_of(t) == int(backbone.stage_of(torch.tensor([t], dtype=dtype)))
    assert velocity.stage_of(0.3) == (1 if ties == "cleaner" else 0)


def test_nothing_is_made_on_another_device(small):
    backbone = small("backbone.class_conditioner=class_tokens").to("meta")
    noise, labels = torch.randn(4, 3, 4, 8, device="meta"), torch.zeros(4, dtype=torch.int64, device="meta")
    velocity = GuidedVelocity(backbone, noise, labels, guidance_of(2.0, channels=1), [0.7])
    for t in (0.7, 0.2):
        assert velocity(noise, t).device.type == "meta"


def test_the_state_keeps_its_precision_beside_bfloat16_weights(small, inputs):
    backbone, (noise, labels) = small().bfloat16(), inputs()
    velocity = GuidedVelocity(backbone, noise, labels, guidance_of(2.0), [0.7])
    with torch.no_grad():
        assert velocity(noise, 0.7).dtype == torch.float32


def test_autocast(small, inputs):
    backbone = small()
    plain = run(backbone, inputs(), guidance=guidance_of(1.5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = run(backbone, inputs(), guidance=guidance_of(1.5))
    assert inside.dtype == torch.float32
    assert torch.allclose(inside, plain, atol=0.1)


def test_guidance_of_an_unconditional_backbone_is_refused(small, inputs):
    with pytest.raises(ValueError, match="the backbone is unconditional, there is nothing to guide; set it to 1"):
        GuidedVelocity(small("backbone.class_conditioner=none"), *inputs(), guidance_of(2.0))
