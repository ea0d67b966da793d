"""Normalisations: reversible, in the input's precision, with the numbers of the recipe or of the dataset."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo.data.base import Statistics
from zoo.data.normalize import NoNormalize, PerChannel, Scale
from zoo.errors import DataError, OptionError
from zoo.kinds import KINDS
from zoo.signature import read_signature

FACTORS = st.floats(1e-3, 1e3)
OFFSETS = st.floats(-1e3, 1e3)
STATISTICS = Statistics((5.81, 3.25), (4.17, 4.62))


def options_of(cls):
    return read_signature(cls, KINDS["normalize"].supplied).options


def assert_reversible(part, latents, offset):
    back = part.invert(part.apply(latents))
    rounding = 8 * torch.finfo(latents.dtype).eps
    assert ((back - latents).abs() <= rounding * (latents.abs() + offset)).all()
    assert back.dtype == part.apply(latents).dtype == latents.dtype


@given(FACTORS, OFFSETS, st.sampled_from([torch.float32, torch.float64]), st.integers(0, 2**31))
def test_scale_is_reversible(factor, shift, dtype, seed):
    latents = 10 * torch.randn(2, 3, 4, 5, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    part = Scale(factor=factor, shift=shift)
    assert_reversible(part, latents, abs(shift))
    torch.testing.assert_close(part.apply(latents), (latents - shift) * factor)


@given(st.lists(st.tuples(OFFSETS, FACTORS), min_size=1, max_size=5), st.integers(0, 2**31))
def test_per_channel_is_reversible(channels, seed):
    mean, std = (tuple(values) for values in zip(*channels, strict=True))
    generator = torch.Generator().manual_seed(seed)
    latents = 10 * torch.randn(2, len(mean), 4, 5, dtype=torch.float64, generator=generator)
    part = PerChannel(len(mean), mean=mean, std=std)
    assert_reversible(part, latents, torch.tensor(mean).abs().max().item())
    for channel in range(len(mean)):
        expected = (latents[:, channel] - mean[channel]) / std[channel]
        torch.testing.assert_close(part.apply(latents)[:, channel], expected, rtol=1e-12, atol=1e-12)


def test_per_channel_gives_zero_mean_and_unit_deviation():
    latents = torch.randn(50, 2, 8, 8, dtype=torch.float64) * torch.tensor([2.0, 0.1]).view(2, 1, 1) + 3
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    normal = PerChannel(2, mean=tuple(mean.tolist()), std=tuple(std.tolist())).apply(latents)
    torch.testing.assert_close(normal.mean((0, 2, 3)), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(normal.std((0, 2, 3)), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_dtype_and_device_are_the_inputs(dtype, device):
    latents = torch.zeros(1, 2, 3, 4, dtype=dtype, device=device)
    for part in (NoNormalize(), Scale(factor=0.5, shift=1.0), PerChannel(2, mean=(1.0, 2.0), std=(1.0, 2.0))):
        for result in (part.apply(latents), part.invert(latents)):
            assert (result.dtype, result.device, result.shape) == (dtype, latents.device, latents.shape)


def test_none_changes_and_takes_nothing():
    latents = torch.randn(1, 2, 3, 4)
    assert NoNormalize().apply(latents) is latents
    assert NoNormalize().invert(latents) is latents
    assert NoNormalize().fitted(STATISTICS) == Scale(factor=2.0).fitted(None) == {}


def test_fitted_options_are_valid_and_give_a_part_that_works():
    fitted = PerChannel(2).fitted(STATISTICS)
    assert fitted == {"mean": (5.81, 3.25), "std": (4.17, 4.62)}
    options = options_of(PerChannel)
    assert options.model_validate(fitted) == options.model_validate_json(json.dumps(fitted))
    part = PerChannel(2, **fitted)
    assert_reversible(part, torch.randn(1, 2, 3, 4), 6.0)
    assert part.fitted(None) == {}
    assert part.fitted(Statistics((0.0, 0.0), (1.0, 1.0))) == {}


def test_the_recipes_numbers_go_before_the_recorded_ones():
    assert PerChannel(2, mean=(0.0, 0.0), std=(1.0, 1.0)).fitted(STATISTICS) == {}


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        (
            None,
            "normalize per_channel: this dataset records no statistics; give mean and std in the recipe"
            " (data.normalize.mean, data.normalize.std), or take normalize none or scale",
        ),
        (
            Statistics((0.0,), (1.0,)),
            "normalize per_channel: the dataset records a mean of 1 channel, and the latent has 2; let it record"
            " one for each channel",
        ),
        (
            Statistics((0.0, 0.0), (1.0, 1.0, 1.0)),
            "normalize per_channel: the dataset records a std of 3 channels, and the latent has 2; let it record"
            " one for each channel",
        ),
        (
            Statistics((0.0, 0.0), (1.0, 0.0)),
            "normalize per_channel: a channel of this dataset hardly varies (recorded std 1, 0);"
            " give mean and std in the recipe (data.normalize.mean, data.normalize.std)",
        ),
        (
            Statistics((0.0, 0.0), (1.0, math.nan)),
            "normalize per_channel: a channel of this dataset hardly varies (recorded std 1, nan);"
            " give mean and std in the recipe (data.normalize.mean, data.normalize.std)",
        ),
    ],
)
def test_statistics_that_do_not_fit(statistics, message):
    with pytest.raises(DataError) as error:
        PerChannel(2).fitted(statistics)
    assert str(error.value) == message


@pytest.mark.parametrize("method", ["apply", "invert"])
def test_use_before_the_statistics_are_known(method):
    with pytest.raises(DataError) as error:
        getattr(PerChannel(2), method)(torch.zeros(1, 2, 3, 4))
    assert str(error.value) == (
        "normalize per_channel has no mean and std yet: they are taken from the dataset when training starts;"
        " give them in the recipe (data.normalize.mean, data.normalize.std) to use it before"
    )


@pytest.mark.parametrize(
    ("given_options", "problems"),
    [
        ({"mean": (0.0, 0.0)}, [((), "'std' is missing: give both mean and std, or neither")]),
        ({"std": (1.0, 1.0)}, [((), "'mean' is missing: give both mean and std, or neither")]),
        (
            {"mean": (0.0,), "std": (1.0, 1.0, 1.0)},
            [(("mean",), "has 1 number, and the latent has 2 channels"),
             (("std",), "has 3 numbers, and the latent has 2 channels")],
        ),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(given_options, problems):
    with pytest.raises(OptionError) as error:
        PerChannel(2, **given_options)
    assert list(error.value.problems) == problems


@pytest.mark.parametrize("text", ['{"std": [0.0]}', '{"std": [-1.0]}', '{"std": []}', '{"mean": ["1"]}', '{"mean": 1}'])
def test_numbers_that_are_refused(text):
    with pytest.raises(ValueError, match="validation error"):
        options_of(PerChannel).model_validate_json(text)


@pytest.mark.parametrize("text", ["{}", '{"factor": 0.0}', '{"factor": -1.0}', '{"factor": 1.0, "shift": "0"}'])
def test_factors_that_are_refused(text):
    with pytest.raises(ValueError, match="validation error"):
        options_of(Scale).model_validate_json(text)
