"""What training minimises."""

import pytest
import torch

from zoo.flow import interpolate, target, velocity_errors


def pair(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 1, 4, 8, generator=generator, dtype=torch.float64).to(dtype)


def test_the_path_goes_from_data_to_noise_along_its_velocity():
    data, noise = pair(torch.float64)
    zero, one, t = (torch.full((3,), value, dtype=torch.float64) for value in (0.0, 1.0, 0.3))
    assert torch.equal(interpolate(data, noise, zero), data)
    assert torch.equal(interpolate(data, noise, one), noise)
    step = interpolate(data, noise, t + 1e-3) - interpolate(data, noise, t)
    assert torch.allclose(step, 1e-3 * target(data, noise))


def test_every_sample_has_its_own_noise_level():
    data, noise = pair(torch.float64)
    t = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    z = interpolate(data, noise, t)
    assert torch.equal(z[0], data[0])
    assert torch.allclose(z[1], (data[1] + noise[1]) / 2)
    assert torch.equal(z[2], noise[2])


def test_the_path_keeps_the_dtype_of_the_data():
    data, noise = pair(torch.bfloat16)
    assert interpolate(data, noise, torch.rand(3)).dtype == torch.bfloat16


def test_errors_are_means_over_each_sample():
    data, noise = pair()
    offset = torch.tensor([0.0, 1.0, -2.0]).view(3, 1, 1, 1)
    errors = velocity_errors(lambda z, t, labels: target(data, noise) + offset, data, noise, torch.rand(3), None)
    assert errors.tolist() == pytest.approx([0.0, 1.0, 4.0])


@pytest.mark.parametrize("size", [(32,), (2, 4, 4)])
def test_the_number_of_axes_changes_no_error(size):
    data, noise = pair(torch.float64)
    t = torch.rand(3, dtype=torch.float64)
    plane, other = (
        velocity_errors(lambda z, t, labels: z, *(each.view(3, 1, *own) for each in (data, noise)), t, None)
        for own in ((4, 8), size)
    )
    assert torch.equal(plane, other)


def test_the_backbone_is_given_what_is_on_the_path():
    data, noise = pair()
    t, labels = torch.rand(3), torch.tensor([0, 1, 2])
    seen = []
    velocity_errors(lambda *inputs: seen.extend(inputs) or inputs[0], data, noise, t, labels)
    assert torch.equal(seen[0], interpolate(data, noise, t))
    assert torch.equal(seen[1], t)
    assert torch.equal(seen[2], labels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_errors_are_wide_whatever_the_velocity(dtype):
    data, noise = pair(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        errors = velocity_errors(lambda z, t, labels: z.bfloat16(), data, noise, torch.rand(3), None)
    assert errors.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_autocast_leaves_errors_near_those_without(small, inputs):
    backbone = small()
    noise, labels = inputs()
    t = torch.tensor([0.9, 0.2, 0.6, 0.4])
    plain = velocity_errors(backbone, noise.flip(0), noise, t, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = velocity_errors(backbone, noise.flip(0), noise, t, labels)
    assert torch.allclose(inside, plain, rtol=0.05)
