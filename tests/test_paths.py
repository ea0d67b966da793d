"""The built-in paths, held against what is published, and what follows from alpha and sigma."""

import pytest
import torch

from zoo.paths import EDMPath, LinearPath, TrigonometricPath, VariancePreservingPath
from zoo.testing.gaussian import GaussianFlow

PATHS = [LinearPath(), TrigonometricPath(), VariancePreservingPath(), EDMPath()]
every_path = pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
Z = torch.linspace(-3, 3, 13, dtype=torch.float64)
BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
TICKS = torch.arange(1000, dtype=torch.float64)


def test_vp_is_ddpms_at_every_timestep():
    path, alpha_bar, t = VariancePreservingPath(), torch.cumprod(1 - BETAS, dim=0), (TICKS + 1) / 1000
    assert torch.allclose(path.alpha(t), alpha_bar.sqrt(), rtol=0, atol=1e-9)
    assert torch.allclose(path.sigma(t), (1 - alpha_bar).sqrt(), rtol=0, atol=1e-8)
    assert torch.allclose(1000 * path.clock(t), TICKS, rtol=0, atol=1e-9)
    start = torch.zeros(1, dtype=torch.float64)
    assert [path.alpha(start).item(), path.sigma(start).item(), path.clock(start).item()] == [1.0, 0.0, 0.0]


def test_edm_is_its_c_in_at_the_levels_of_its_sampler():
    path, t = EDMPath(), torch.linspace(1, 0, 18, dtype=torch.float64)
    i = torch.arange(18, dtype=torch.float64)
    levels = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert torch.allclose(path.alpha(t), 1 / (levels**2 + 0.25).sqrt())
    assert torch.allclose(path.sigma(t) / path.alpha(t), levels)


def test_the_line_is_the_line_to_the_last_bit():
    data, noise = torch.randn(2, 5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.0, 1e-7, 0.1, 0.7, 1.0])
    own = t.view(-1, 1, 1, 1)
    line = LinearPath().along(t, data)
    assert torch.equal(line.state(data, noise), (1 - own) * data + own * noise)
    assert torch.equal(line.velocity(data, noise), noise - data)


@every_path
def test_plain_numbers_are_those_of_tensors(path):
    t = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    mixture = path.along(t, Z.view(-1, 1)[:3])
    for index, value in enumerate(t.tolist()):
        assert vars(path.at(value)) == pytest.approx({name: each[index].item() for name, each in vars(mixture).items()})


@every_path
@pytest.mark.parametrize("t", [0.002, 0.3, 0.998])
def test_predictions_stand_for_each_other(path, t):
    flow, mixture = GaussianFlow(path=path), path.at(t)
    velocity, noise, data = flow.velocity(Z, t), flow.noise(Z, t), flow.data(Z, t)
    assert torch.allclose(mixture.velocity_from("noise", noise, Z), velocity, atol=1e-9)
    assert torch.allclose(mixture.velocity_from("data", data, Z), velocity, atol=1e-9)
    assert mixture.velocity_from("velocity", velocity, Z) is velocity
    assert torch.allclose(mixture.noise(velocity, Z), noise, atol=1e-9)
    assert torch.allclose(mixture.data(velocity, Z), data, atol=1e-9)


@every_path
def test_the_velocity_is_the_slope_of_the_way(path):
    flow, standard, h = GaussianFlow(path=path), Z, 1e-4
    for t in (0.01, 0.5, 0.99):
        slope = (flow.deviate(standard, t + h) - flow.deviate(standard, t - h)) / (2 * h)
        assert torch.allclose(flow.velocity(flow.deviate(standard, t), t), slope, atol=1e-4)


@every_path
@pytest.mark.parametrize("t", [0.0, 1.0])
@pytest.mark.parametrize("prediction", ["velocity", "noise", "data"])
def test_nothing_is_infinite_at_the_ends(path, t, prediction):
    assert path.at(t).velocity_from(prediction, Z.flip(0), Z).isfinite().all()
    assert path.snr(torch.tensor([t])).isfinite().all()


def test_rates_are_found_in_inference_mode_and_where_alpha_is_constant():
    class Exploding(LinearPath):
        rates = TrigonometricPath.rates

        def alpha(self, t):
            return torch.ones_like(t)

    with torch.inference_mode():
        mixture = Exploding().at(0.5)
    assert (mixture.alpha_rate, mixture.sigma_rate) == (0.0, 1.0)
