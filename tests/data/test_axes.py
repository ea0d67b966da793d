"""Latents of one, two and three axes on their way from a dataset to a batch, and what takes two axes alone."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.data.levels import Turns
from tests.data.waves import SAMPLES, WaveSource, wave_registry
from zoo.assembly import create_part
from zoo.data.check import check
from zoo.data.digits import Digits
from zoo.data.images import Images
from zoo.data.latents import Latents
from zoo.data.left_out import LeftOut
from zoo.data.normalize import NoNormalize, PerChannel, Scale
from zoo.data.problems import NOT_FINITE
from zoo.data.stream import Order, Reader, Share, stream
from zoo.recipe import Recipe, draft_recipe, read_tree
from zoo.testing.data_laws import tells_its_data

SIZES = [(7,), (4, 6), (2, 3, 4)]
BATCH = 8


def recipe(size: tuple[int, ...], **data: Any) -> Recipe:
    backbone = {"latent": {"channels": 2, "size": list(size)}, "num_classes": 3, "dim": 16, "depth": 2, "heads": 2}
    values = {"backbone": {**backbone, "patch_schedule": {"type": "uniform", "patch": 1}}, "data": data}
    return draft_recipe(read_tree(values), wave_registry()).recipe()


@pytest.mark.parametrize("size", SIZES)
def test_a_dataset_is_supplied_with_the_size_of_a_recipe(size):
    dataset = create_part(recipe(size, dataset="waves"), "dataset")
    assert dataset.shape == (2, *size)
    tells_its_data(dataset.open)


@pytest.mark.parametrize("size", SIZES)
def test_batches_have_the_axes_of_the_samples(size):
    source = WaveSource((2, *size))
    normalize = PerChannel(2, mean=source.statistics.mean, std=source.statistics.std)
    order = Order(SAMPLES, BATCH, 0)
    reader = Reader(source, normalize, order, Share(ranks=2, pieces=2), Turns(), num_classes=3)
    read = list(stream(reader, 0, 3))
    assert [len(pieces) for pieces in read] == [2] * 3
    for step, pieces in enumerate(read):
        for piece in pieces:
            assert piece.latents.shape == piece.noise.shape == (BATCH // 4, 2, *size)
            assert torch.equal(piece.indices, torch.from_numpy(order.indices(step, range(8))[piece.places]))
            plain = source.read(piece.indices.numpy(), []).latents
            expected = (plain - torch.tensor([0.0, 10.0]).view(1, 2, *[1] * len(size))) / 2
            torch.testing.assert_close(piece.latents, expected)
    assert len({float(value) for pieces in read for piece in pieces for value in piece.noise.flatten()}) == 12 * (
        2 * int(np.prod(size))
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "normalize",
    [NoNormalize(), Scale(factor=0.5, shift=3.0), PerChannel(2, mean=(0.0, 10.0), std=(2.0, 3.0))],
    ids=lambda part: type(part).__name__,
)
def test_normalising_treats_channels_alike_on_every_axis(size, normalize):
    latents = torch.randn(3, 2, *size, dtype=torch.float64)
    applied = normalize.apply(latents)
    assert applied.shape == latents.shape
    torch.testing.assert_close(normalize.invert(applied), latents)
    rows = normalize.apply(latents.flatten(2)[..., None])  # the same numbers on one axis
    assert torch.equal(applied.flatten(2), rows[..., 0])


@pytest.mark.parametrize("size", SIZES)
def test_a_check_finds_what_is_not_finite_on_any_axis(size):
    class Spoilt(WaveSource):
        def read(self, indices, random):
            samples = super().read(indices, random)
            samples.latents.flatten(1)[:, -1][torch.from_numpy(indices == 5)] = torch.nan
            return samples

    problems = [
        each
        for work in check(Spoilt((2, *size)), LeftOut((), np.zeros(SAMPLES, dtype=bool)), 3)
        for each in work.problems
    ]
    assert [(each.kind, each.id) for each in problems] == [(NOT_FINITE, "wave 5")]


@pytest.mark.parametrize(
    "make",
    [
        lambda size: Digits(1, size, 10),
        lambda size: Images(3, size, 10, folder="pictures"),
        lambda size: Latents(4, size, 10, folder="latents"),
    ],
)
@pytest.mark.parametrize(("size", "told"), [((7,), "1: 7"), ((2, 3, 4), "3: 2 x 3 x 4")])
def test_what_has_pictures_takes_two_axes(make, size, told):
    with pytest.raises(ValueError, match=f"^makes latents of two axes, and the recipe's size has {told}; choose anoth"):
        make(size)
    make((3, 4))
