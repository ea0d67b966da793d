"""Distributions of noise levels, against closed forms; the laws are in tests/testing."""

import math
from statistics import NormalDist

import pytest
import torch

from zoo.flow.noise_samplers import LogitNormalNoise, UniformNoise


def test_uniform_is_the_identity():
    u = torch.tensor([0.0, 0.3, 1.0])
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
