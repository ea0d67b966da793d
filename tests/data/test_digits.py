"""The bundled digits: a fixed split, real pixels, and labels that stay with their images."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from zoo.data.digits import Digits
from zoo.errors import DataError

NO_RANDOM: list[np.random.Generator] = []


def read_all(source):
    return source.read(np.arange(len(source)), NO_RANDOM)


def test_the_split_is_every_third_digit():
    train, held_out = Digits(1, (8, 8), 10).open(), Digits(1, (8, 8), 10).open("held_out")
    assert (len(train), len(held_out)) == (1198, 599)
    ids = {source: {source.id(index) for index in range(len(source))} for source in (train, held_out)}
    assert ids[held_out] == {f"digit {index}" for index in range(2, 1797, 3)}
    assert ids[train] | ids[held_out] == {f"digit {index}" for index in range(1797)}


def test_images_labels_and_ids_belong_together():
    digits, source = load_digits(), Digits(1, (8, 8), 10).open()
    indices = np.random.default_rng(0).permutation(len(source))[:50]
    samples = source.read(indices, NO_RANDOM)
    for latent, label, index in zip(samples.latents, samples.labels, indices, strict=True):
        number = int(source.id(int(index)).removeprefix("digit "))
        assert label == digits.target[number]
        torch.testing.assert_close(latent[0], torch.tensor(digits.images[number] / 8 - 1, dtype=torch.float32))
    assert samples.labels.dtype == torch.int64


def test_all_channels_hold_the_same_resized_grey():
    samples = read_all(Digits(3, (16, 12), 10).open())
    assert samples.latents.shape == (1198, 3, 16, 12)
    assert samples.latents.dtype == torch.float32
    assert torch.equal(samples.latents[:, 0], samples.latents[:, 2])
    assert samples.latents.min() == -1
    assert samples.latents.max() == 1
    grey = read_all(Digits(1, (8, 8), 10).open()).latents
    expected = torch.nn.functional.interpolate(grey, (16, 12), mode="bilinear", align_corners=False)
    assert torch.equal(samples.latents[:, :1], expected)


def test_what_was_read_may_be_changed():
    source = Digits(1, (8, 8), 10).open()
    first = source.read(np.array([5]), NO_RANDOM)
    kept = first.latents.clone()
    first.latents.zero_()
    assert torch.equal(source.read(np.array([5]), NO_RANDOM).latents, kept)


@pytest.mark.parametrize("num_classes", [0, 10, 1000])
def test_any_number_of_classes_that_holds_ten_or_none(num_classes):
    labels = read_all(Digits(1, (8, 8), num_classes).open()).labels
    assert labels.unique().tolist() == list(range(10))


@pytest.mark.parametrize("num_classes", [1, 9])
def test_too_few_classes(num_classes):
    with pytest.raises(DataError) as error:
        Digits(1, (8, 8), num_classes).open()
    assert str(error.value) == (
        f"dataset digits has 10 classes, and backbone.num_classes is {num_classes};"
        " set it to 10, or to 0 for an unconditional backbone"
    )


def test_pictures_are_the_grey_levels():
    source = Digits(4, (8, 8), 10).open()
    pictures = Digits(4, (8, 8), 10).to_images(source.read(np.array([0]), NO_RANDOM).latents)
    assert pictures.dtype == torch.uint8
    expected = np.floor(load_digits().images[0] / 16 * 255 + 0.5)
    assert np.abs(pictures[0, :, :, 0].numpy() - expected).max() <= 1  # halves round either way
    channels_apart = torch.tensor([0.0, 1.0, -1.0, 5.0]).view(1, 4, 1, 1)
    assert Digits(4, (1, 1), 10).to_images(channels_apart).tolist() == [[[[255]]]]
    assert Digits(4, (1, 1), 10).to_images(-channels_apart).tolist() == [[[[0]]]]
