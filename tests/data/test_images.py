"""The dataset of pictures: pixels, labels and ids together, flips by each sample's generator."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.data.images import Images
from zoo.errors import DataError


def generators(count, seed=0):
    return [np.random.default_rng([seed, index]) for index in range(count)]


@pytest.fixture
def folder(tmp_path, draw):
    for name in ("train/b/0.png", "train/b/1.png", "train/a/ü \n'2'.png", "train/a/3.jpg", "held_out/a/4.png"):
        draw(tmp_path / name)
    return tmp_path


def dataset(folder, channels=3, num_classes=2, **options):
    return Images(channels, (16, 24), num_classes, folder=str(folder), **options)


def pixels_of(path, mode="RGB"):
    return np.asarray(Image.open(path).convert(mode))


def test_pictures_labels_and_ids_belong_together(folder):
    images = dataset(folder, flip=False)
    source = images.open()
    assert len(source) == 4
    indices = np.array([3, 0, 2, 1, 3])
    assert source.labels(indices).tolist() == source.read(indices, generators(5)).labels.tolist()
    samples = source.read(indices, generators(5))
    assert samples.latents.shape == (5, 3, 16, 24)
    assert samples.latents.dtype == torch.float32
    assert samples.labels.dtype == torch.int64
    for index, latent, label in zip(indices.tolist(), samples.latents, samples.labels, strict=True):
        path = source.images.path(index)
        assert source.id(index) == str(path.relative_to(folder)).replace("\n", "\\n")
        assert label == ["a", "b"].index(path.parent.name)
        picture = images.to_images(latent[None])
        assert np.array_equal(picture[0].numpy(), pixels_of(path))


def test_grey(folder):
    images = dataset(folder, channels=1, flip=False)
    samples = images.open("held_out").read(np.array([0]), generators(1))
    assert samples.latents.shape == (1, 1, 16, 24)
    picture = images.to_images(samples.latents)
    assert np.array_equal(picture[0, :, :, 0].numpy(), pixels_of(folder / "held_out/a/4.png", "L"))


def test_every_other_picture_is_flipped_by_its_own_generator(folder):
    source, plain = dataset(folder).open(), dataset(folder, flip=False).open()
    indices = np.zeros(200, dtype=np.int64)
    found = source.read(indices, generators(200)).latents
    one = plain.read(indices[:1], generators(1)).latents[0]
    flipped = torch.tensor([torch.equal(latent, one.flip(-1)) for latent in found])
    assert 70 < flipped.sum() < 130
    assert all(torch.equal(latent, one) for latent in found[~flipped])
    again = torch.cat([source.read(indices[:1], [each]).latents for each in generators(200)])
    assert torch.equal(again, found)  # whoever else is in the batch


def test_held_out_pictures_are_never_flipped(folder):
    found = dataset(folder).open("held_out").read(np.zeros(20, dtype=np.int64), generators(20)).latents
    assert all(torch.equal(latent, found[0]) for latent in found)


def test_pictures_are_cropped_to_the_latents_size(folder):
    source = Images(3, (5, 7), 2, folder=str(folder)).open()
    assert source.read(np.arange(4), generators(4)).latents.shape == (4, 3, 5, 7)


def test_a_source_can_be_sent_to_a_worker(folder):
    source = dataset(folder).open()
    copy = pickle.loads(pickle.dumps(source))
    indices = np.arange(4)
    assert torch.equal(copy.read(indices, generators(4)).latents, source.read(indices, generators(4)).latents)


def test_constructing_reads_nothing(tmp_path):
    images = dataset(tmp_path / "missing")
    assert images.to_images(torch.zeros(2, 3, 16, 24)).shape == (2, 16, 24, 3)


def test_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert len(dataset(f"~/{folder.name}").open()) == 4
    assert "there is no such folder" in refusal(dataset("~nobody of this name"))


@pytest.mark.parametrize("num_classes", [0, 2, 1000])
def test_numbers_of_classes_that_hold_them_all(folder, num_classes):
    assert len(dataset(folder, num_classes=num_classes).open()) == 4


def test_pictures_without_classes(tmp_path, draw):
    draw(tmp_path / "0.png")
    assert dataset(tmp_path, num_classes=0).open().read(np.array([0]), generators(1)).labels.tolist() == [0]
    with pytest.raises(DataError, match="holds pictures, but no class folders"):
        dataset(tmp_path).open()


def refusal(images, split="train"):
    with pytest.raises(DataError) as error:
        images.open(split)
    return str(error.value)


def test_too_many_classes(folder):
    assert refusal(dataset(folder, num_classes=1)) == (
        f"{folder}: has 2 classes, and backbone.num_classes is 1; set it to 2, or to 0 for an unconditional backbone"
    )


def test_channels_that_no_picture_has(folder):
    assert refusal(dataset(folder, channels=4)) == (
        "dataset images has 1 channel (grey) or 3 (RGB), and backbone.latent.channels is 4; set it to one of these"
    )


def test_labels_are_told_without_opening_pictures(folder):
    (folder / "train/b/1.png").write_bytes(b"no picture")
    assert dataset(folder).open().labels(np.array([3, 0])).tolist() == [1, 0]


def test_a_damaged_picture_is_named(folder):
    path = folder / "train/b/1.png"
    path.write_bytes(path.read_bytes()[:100])
    source = dataset(folder).open()
    with pytest.raises(DataError, match=f"^{path}: cannot be read as a picture: "):
        source.read(np.arange(4), generators(4))
