"""What training minimises."""

import pytest
import torch

from zoo.flow import prediction_errors
from zoo.paths import LinearPath, VariancePreservingPath

LINE = LinearPath()


def pair(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 1, 4, 8, generator=generator, dtype=torch.float64).to(dtype)


def errors_of(backbone, *inputs, path=LINE, prediction="velocity"):
    return prediction_errors(backbone, path, prediction, *inputs)


@pytest.mark.parametrize("path", [LINE, VariancePreservingPath()], ids=lambda path: type(path).__name__)
@pytest.mark.parametrize("prediction", ["velocity", "noise", "data"])
def test_what_should_be_predicted_has_no_error(path, prediction):
    data, noise = pair()
    t = torch.tensor([0.0, 0.3, 1.0])
    wanted = path.along(t, data).target(prediction, data, noise)
    assert not errors_of(lambda z, t, labels: wanted, data, noise, t, path=path, prediction=prediction).any()
    own = {"noise": noise, "data": data}
    assert torch.equal(wanted, own[prediction]) if prediction in own else not torch.equal(wanted, noise)


def test_errors_are_means_over_each_sample():
    data, noise = pair()
    offset = torch.tensor([0.0, 1.0, -2.0]).view(3, 1, 1, 1)
    errors = errors_of(lambda z, t, labels: noise - data + offset, data, noise, torch.rand(3), None)
    assert errors.tolist() == pytest.approx([0.0, 1.0, 4.0])


@pytest.mark.parametrize("size", [(32,), (2, 4, 4)])
def test_the_number_of_axes_changes_no_error(size):
    data, noise = pair(torch.float64)
    t = torch.rand(3, dtype=torch.float64)
    plane, other = (
        errors_of(lambda z, t, labels: z, *(each.view(3, 1, *own) for each in (data, noise)), t, None)
        for own in ((4, 8), size)
    )
    assert torch.equal(plane, other)


def test_the_backbone_is_given_what_is_on_the_path():
    data, noise = pair()
    t, labels = torch.rand(3), torch.tensor([0, 1, 2])
    seen = []
    errors_of(lambda *inputs: seen.extend(inputs) or inputs[0], data, noise, t, labels)
    assert torch.equal(seen[0], LINE.along(t, data).state(data, noise))
    assert torch.equal(seen[1], t)
    assert torch.equal(seen[2], labels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_errors_are_wide_whatever_is_predicted(dtype):
    data, noise = pair(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        errors = errors_of(lambda z, t, labels: z.bfloat16(), data, noise, torch.rand(3), None)
    assert errors.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_autocast_leaves_errors_near_those_without(small, inputs):
    backbone = small()
    noise, labels = inputs()
    t = torch.tensor([0.9, 0.2, 0.6, 0.4])
    plain = errors_of(backbone, noise.flip(0), noise, t, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = errors_of(backbone, noise.flip(0), noise, t, labels)
    assert torch.allclose(inside, plain, rtol=0.05)
