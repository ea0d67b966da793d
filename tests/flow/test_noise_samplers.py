"""Distributions of noise levels, against closed forms; the laws are in tests/testing."""

import math
from statistics import NormalDist

import pytest
import torch

from zoo.flow.noise_samplers import LogitNormalNoise, UniformNoise


def test_uniform_is_the_identity():
    u = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    u[:2] = torch.tensor([0.0, 1.0])
    assert torch.equal(UniformNoise().quantile(u), u)
    assert torch.equal(UniformNoise().cdf(u), u)


def test_logit_normal_by_hand():
    sampler, normal = LogitNormalNoise(mean=-0.5, std=0.8), NormalDist(-0.5, 0.8)
    t = [0.01, 0.3, 0.9]
    expected = [normal.cdf(math.log(each / (1 - each))) for each in t]
    assert sampler.cdf(torch.tensor(t, dtype=torch.float64)).tolist() == pytest.approx(expected, rel=1e-9)
    assert sampler.quantile(torch.tensor(expected, dtype=torch.float64)).tolist() == pytest.approx(t, rel=1e-9)


def test_logit_normal_is_exact_at_both_ends():
    sampler, ends = LogitNormalNoise(mean=0.7), torch.tensor([0.0, 1.0])
    assert sampler.quantile(ends).tolist() == [0.0, 1.0]
    assert sampler.cdf(ends).tolist() == [0.0, 1.0]


def test_the_median_is_the_sigmoid_of_the_mean():
    half = torch.tensor([0.5])
    assert torch.allclose(LogitNormalNoise(mean=1.2).quantile(half), torch.tensor([1.2]).sigmoid())


def test_logit_normal_keeps_its_digits_where_probabilities_are_tiny():
    u = torch.tensor([1e-30], dtype=torch.float64)
    assert LogitNormalNoise().cdf(LogitNormalNoise().quantile(u)).item() == pytest.approx(1e-30, rel=1e-9)


def test_logit_normal_computes_in_float64_for_float32():
    u = torch.tensor([0.1, 0.5, 0.999])
    sampler = LogitNormalNoise(mean=0.3, std=1.7)
    assert torch.equal(sampler.quantile(u), sampler.quantile(u.double()).float())


@pytest.mark.parametrize("shift", [3.0, 0.1])
@pytest.mark.parametrize("kind", [UniformNoise, LogitNormalNoise])
def test_a_shift_multiplies_the_odds_of_what_is_drawn(kind, shift):
    u = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    plain, shifted = kind().quantile(u), kind(shift=shift).quantile(u)
    assert torch.allclose(shifted / (1 - shifted), shift * plain / (1 - plain), rtol=1e-9)
    assert torch.allclose(kind(shift=shift).cdf(shifted), u, rtol=1e-9)


@pytest.mark.parametrize("kind", [UniformNoise, LogitNormalNoise])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_shift_is_exact_at_both_ends(kind, dtype):
    ends = torch.tensor([0.0, 1.0], dtype=dtype)
    for shift in (0.1, 0.3, 3.0, 7.3):
        assert torch.equal(kind(shift=shift).quantile(ends), ends)
        assert torch.equal(kind(shift=shift).cdf(ends), ends)
