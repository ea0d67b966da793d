"""Loss weights by hand; the laws are in tests/testing."""

import pytest
import torch

from zoo.flow.weightings import MinSNRWeighting, SNRWeighting, UniformWeighting
from zoo.paths import LinearPath

T = torch.tensor([0.0, 0.001, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
SNR = LinearPath().snr(T)


def test_uniform():
    assert UniformWeighting().weight(T, SNR).tolist() == [1.0] * 6


def test_snr_is_the_paths_which_takes_sigma_as_at_least_its_floor():
    assert SNRWeighting().weight(T, SNR).tolist() == pytest.approx([1e6, 999.0**2, 9.0, 1.0, 1 / 9, 0.0])


def test_min_snr_is_clamped_at_gamma():
    assert MinSNRWeighting().weight(T, SNR).tolist() == pytest.approx([5.0, 5.0, 5.0, 1.0, 1 / 9, 0.0])
    assert MinSNRWeighting(gamma=0.5).weight(T, SNR).tolist() == pytest.approx([0.5] * 4 + [1 / 9, 0.0])
