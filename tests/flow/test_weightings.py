"""Loss weights by hand; the laws are in tests/testing."""

import pytest
import torch

from zoo.flow.weightings import MinSNRWeighting, SNRWeighting, UniformWeighting

T = torch.tensor([0.0, 0.001, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)


def test_uniform():
    assert UniformWeighting().weight(T).tolist() == [1.0] * 6


def test_snr_is_clamped_at_min_t():
    assert SNRWeighting().weight(T).tolist() == pytest.approx([999.0**2, 999.0**2, 9.0, 1.0, 1 / 9, 0.0])
    assert SNRWeighting(min_t=0.25).weight(T).tolist() == pytest.approx([9.0, 9.0, 9.0, 1.0, 1 / 9, 0.0])


def test_min_snr_is_clamped_at_gamma():
    assert MinSNRWeighting().weight(T).tolist() == pytest.approx([5.0, 5.0, 5.0, 1.0, 1 / 9, 0.0])
    assert MinSNRWeighting(gamma=0.5).weight(T).tolist() == pytest.approx([0.5] * 4 + [1 / 9, 0.0])
