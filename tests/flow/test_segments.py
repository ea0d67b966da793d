"""Paths that go in segments, shown on the straight line, cut where stages change: all must come out alike."""

from __future__ import annotations

import pytest
import torch

import zoo
from zoo.errors import ZooError
from zoo.flow import EulerMaruyamaSolver, EulerSolver, GuidedVelocity, HeunSolver, LinearPath, sample
from zoo.flow.guidance import ClassifierFreeGuidance
from zoo.flow.losses import SquaredErrorLoss
from zoo.flow.objective import Objective, StageBatch
from zoo.flow.sampling import check_solver, passes_of
from zoo.flow.second import check_second
from zoo.flow.segments import Segment, segments_of


@zoo.part("path", "cut")
class CutLine(LinearPath):
    """The straight line, a segment for each stage: ``dz/du`` is as many times ``dz/dt`` as the segment is long."""

    def __init__(self, ranges):
        self.ranges, self.jumped = ranges, []

    def range(self, stage):
        return self.ranges[stage]

    def ends(self, stage, data, noise):
        return tuple((1 - t) * data + t * noise for t in self.ranges[stage])

    def jump(self, stage, z, noise):
        self.jumped.append((stage, noise))
        return z


RANGES = ((0.5, 1.0), (0.0, 0.5))


def draw(k: int) -> torch.Tensor:
    return torch.full((4, 3, 4, 8), float(k), dtype=torch.float64)


@pytest.fixture
def both(small):
    """A backbone on the line as a whole, and the same on the line that is cut, whose velocities are by its time."""
    line, cut = small(dtype=torch.float64), small(dtype=torch.float64)
    cut.path = CutLine(RANGES)
    whole = line.forward_stage
    cut.forward_stage = lambda *given, **more: 0.5 * whole(*given, **more)
    return line, cut


@pytest.mark.parametrize("solver", [EulerSolver(), HeunSolver()])
@pytest.mark.parametrize(
    "guidance", [None, ClassifierFreeGuidance(2, (3, 4, 8), scale=2.0, interval=(0.2, 0.7), channels=2)]
)
def test_what_is_drawn_is_the_same_in_segments(both, inputs, solver, guidance):
    noise, labels = inputs(dtype=torch.float64)
    line, cut = both
    drawn = [sample(each, solver, noise, labels, steps=6, draw=draw, guidance=guidance) for each in both]
    if isinstance(solver, HeunSolver):  # at the threshold one asks both stages, and the other the cleaner alone
        assert not torch.equal(*drawn)
        drawn[0] = sample(line, Restarted(), noise, labels, steps=6, draw=draw, guidance=guidance)
    torch.testing.assert_close(*drawn)
    assert [stage for stage, _ in cut.path.jumped] == [1]
    assert torch.equal(cut.path.jumped[0][1], draw(7)), "a jump has noise of its own"


class Restarted(HeunSolver):
    """Heun's method, whose step that ends at the threshold asks the noisier stage there, as a segment does."""

    def step(self, velocity, z, t, after, path):
        if after != 0.5:
            return super().step(velocity, z, t, after, path)
        here = velocity(z, t)
        return z - (t - after) / 2 * (here + velocity(z - (t - after) * here, after + 1e-12))


def test_the_loss_of_a_segment_is_by_its_own_time(both):
    data, noise = torch.randn(2, 6, 3, 4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([0.9, 0.6, 0.55, 0.4, 0.1, 0.0], dtype=torch.float64)
    batches = [
        StageBatch(stage, *(x[3 * stage : 3 * stage + 3] for x in (data, noise, t)), torch.arange(3))
        for stage in (0, 1)
    ]
    line, cut = both
    whole = line.forward_stages
    cut.forward_stages = lambda *given, **more: [0.5 * each for each in whole(*given, **more)]
    loss = [("squared_error", 1.0, SquaredErrorLoss())]
    one, other = (Objective(each, loss)(batches)["squared_error"] for each in both)
    torch.testing.assert_close(0.25 * one, other)


def test_guidance_is_told_the_path_of_the_stage_by_noise_level():
    path, t = CutLine(RANGES), torch.tensor([0.6, 1.0], dtype=torch.float64)
    assert LinearPath().of_stage(1).at(0.6) == LinearPath().at(0.6)
    own = path.of_stage(0)
    data, noise = torch.tensor([2.0, 3.0], dtype=torch.float64)
    clean, noisy = path.ends(0, data, noise)
    z, velocity = (1 - 0.6) * data + 0.6 * noise, 0.5 * (noise - data)
    torch.testing.assert_close(own.at(0.6).state(clean, noisy), z)
    torch.testing.assert_close(own.at(0.6).data(velocity, z), clean)
    torch.testing.assert_close(own.at(0.6).noise(velocity, z), noisy)
    torch.testing.assert_close(own.along(t, t).alpha, torch.tensor([0.8, 0.0], dtype=torch.float64))


def test_updates_are_shared_out_by_noise_levels(small):
    backbone = small()
    assert segments_of(backbone, 7) == (Segment(0, 1, 0.0, 1.0, 7, 0),)
    backbone.path = CutLine(((0.25, 1.0), (0.0, 0.25)))
    assert [(each.steps, each.before) for each in segments_of(backbone, 8)] == [(6, 0), (2, 6)]
    assert [each.steps for each in segments_of(backbone, 2)] == [1, 1]
    with pytest.raises(ZooError, match=r"sample.steps: 1 for 2 segments of the path; take 2 at least"):
        segments_of(backbone, 1)


def test_passes_are_counted_in_the_stage_that_runs_them(small):
    backbone = small()
    assert [each.conditional for each in passes_of(backbone, HeunSolver(), 4, None)] == [3, 5]
    backbone.path = CutLine(RANGES)
    assert [each.conditional for each in passes_of(backbone, HeunSolver(), 4, None)] == [4, 4]
    inside = ClassifierFreeGuidance(2, (3, 4, 8), scale=2.0, interval=(0.6, 1.0))
    assert [each.unconditional for each in passes_of(backbone, EulerSolver(), 4, inside)] == [2, 0]


def test_every_evaluation_stays_in_its_segment(small, inputs):
    backbone = small(dtype=torch.float64)
    backbone.path, asked = CutLine(RANGES), []
    forward = backbone.forward_stage
    backbone.forward_stage = lambda stage, z, t, *more: (
        asked.append((stage, float(t[0]))) or forward(stage, z, t, *more)
    )
    sample(backbone, HeunSolver(), *inputs(dtype=torch.float64), steps=4, draw=draw)
    expected = [(0, t) for t in (1.0, 0.75, 0.75, 0.5)] + [(1, t) for t in (0.5, 0.25, 0.25, 0.0)]
    assert asked == expected


def test_a_solver_that_adds_noise_is_refused(small, inputs):
    backbone = small(dtype=torch.float64)
    check_solver(backbone, EulerMaruyamaSolver(), 6)
    backbone.path = CutLine(RANGES)
    check_solver(backbone, HeunSolver(), 6)
    with pytest.raises(
        ZooError, match=r"^digits: sample.solver: adds noise, and where objective.path goes in segments"
    ):
        check_solver(backbone, EulerMaruyamaSolver(), 6, "digits: ")
    with pytest.raises(ZooError, match=r"sample.solver: adds noise"):
        sample(backbone, EulerMaruyamaSolver(), *inputs(dtype=torch.float64), steps=6, draw=draw)


def test_another_backbone_must_go_in_the_same_segments(small):
    backbone, second = small(), small()
    check_second(backbone, second)
    backbone.path = CutLine(RANGES)
    with pytest.raises(ValueError, match="it has learned another path"):
        check_second(backbone, second)
    second.path = CutLine(RANGES)
    check_second(backbone, second)


def test_modulations_ahead_are_those_of_the_segment(small, inputs):
    backbone = small(dtype=torch.float64)
    backbone.path = CutLine(RANGES)
    noise, labels = inputs(dtype=torch.float64)
    for segment in segments_of(backbone, 4):
        ahead = GuidedVelocity(backbone, noise, labels, levels=(1.0, 0.5, 0.0), segment=segment)
        assert {stage for stage, _ in ahead.tables} == {segment.first}
        plain = GuidedVelocity(backbone, noise, labels, segment=segment)
        for u in (1.0, 0.5, 0.0):
            torch.testing.assert_close(ahead(noise, u), plain(noise, u))
