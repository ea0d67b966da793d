"""CFG-Zero*: the unconditional velocity as it fits best, and none at the noisiest levels."""

import pytest
import torch

from tests.flow.test_guided_velocity import run
from zoo.flow.cfg_zero import CFGZeroGuidance
from zoo.flow.sampling import jumps
from zoo.paths import LinearPath

LATENT = (3, 4, 8)


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def joined(guidance, c, u, t=0.5):
    return guidance.join(0, t, c, u, torch.zeros_like(c), LinearPath())


def test_it_is_the_formula_sample_by_sample():
    c, u = drawn(2, 4, *LATENT)
    got = joined(CFGZeroGuidance(1, LATENT, scale=3.0), c, u)
    for each, first, second in zip(got, c, u, strict=True):
        share = float((first * second).sum() / (second**2).sum())
        assert torch.allclose(each, (1 - 3.0) * share * second + 3.0 * first)


def test_what_it_goes_away_from_is_the_nearest():
    """What is left of c is at right angles to u, and so is what is added to it."""
    c, u = drawn(2, 4, *LATENT)
    added = joined(CFGZeroGuidance(1, LATENT, scale=3.0), c, u) - c
    assert torch.allclose((added * u).flatten(1).sum(dim=1), torch.zeros(4, dtype=torch.float64))
    assert float(added.abs().max()) > 0.1


@pytest.mark.parametrize("scale", [0.0, 2.0, 7.0])
def test_velocities_that_are_multiples_of_each_other_stay(scale):
    u = drawn(4, *LATENT)
    c = u * torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64).view(4, 1, 1, 1)
    assert torch.allclose(joined(CFGZeroGuidance(1, LATENT, scale=scale), c, u), c)


def test_a_velocity_of_zero_is_no_fault():
    c = drawn(2, *LATENT).float()
    assert torch.allclose(joined(CFGZeroGuidance(1, LATENT, scale=3.0), c, torch.zeros_like(c)), 3.0 * c)


def test_guided_channels_alone_count():
    c, u = drawn(2, 4, *LATENT)
    some = joined(CFGZeroGuidance(1, LATENT, scale=3.0, channels=2), c, u)
    alone = joined(CFGZeroGuidance(1, (2, 4, 8), scale=3.0), c[:, :2], u[:, :2])
    assert torch.equal(some, torch.cat([alone, c[:, 2:]], dim=1))


def test_above_the_velocity_is_zero_in_all_channels():
    c, u = drawn(2, 4, *LATENT)
    guidance = CFGZeroGuidance(1, LATENT, scale=3.0, channels=2, zero_above=0.5)
    assert not joined(guidance, c, u, 0.6).any()
    assert torch.equal(joined(guidance, c, u, 0.4)[:, 2:], c[:, 2:])


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_first_steps_go_nowhere(small, inputs, scale):
    guidance = CFGZeroGuidance(2, LATENT, scale=scale, zero_above=0.6)
    assert [guidance.scale(0, t) for t in (1.0, 0.61, 0.6)] == [0.0, 0.0, scale]
    assert not guidance.is_none
    assert jumps(small(), guidance) == [0.6, 0.5]
    backbone, (noise, labels) = small(), inputs()
    # Of five steps two begin above 0.6: three are left, from the noise as it is.
    z = noise
    for t in (0.6, 0.4, 0.2):
        with torch.no_grad():
            first, second = (backbone(z, torch.full((4,), t), each) for each in (labels, torch.full_like(labels, 5)))
        z = z - 0.2 * (joined(CFGZeroGuidance(2, LATENT, scale=scale), first, second, t) if scale != 1.0 else first)
    assert torch.allclose(run(backbone, inputs(), steps=5, guidance=guidance), z, atol=1e-5)
