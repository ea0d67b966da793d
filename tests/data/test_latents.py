"""The dataset of latents: the VAE's own encodings, with their labels and ids in any order; damage is told by name."""

import json
import pickle
import shutil
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader

from zoo.data.autoencoder import Autoencoder
from zoo.data.base import Statistics
from zoo.data.latents import Latents
from zoo.data.left_out import find_left_out, open_kept, read_kept
from zoo.data.normalize import PerChannel
from zoo.data.pictures import read_picture
from zoo.errors import DataError

CLASSES = ["a", "b", "c"]


def generators(count, seed=0):
    return [np.random.default_rng([seed, index]) for index in range(count)]


def dataset(folder, num_classes=3, shape=(4, 8, 12), **options):
    return Latents(shape[0], shape[1:], num_classes, folder=str(folder), **options)


def read(source, indices=None, seed=0):
    indices = np.arange(len(source)) if indices is None else indices
    return source.read(indices, generators(len(indices), seed))


def damage(folder, number, change):
    path = folder / f"shard_{number:05}.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    return path


@pytest.fixture(scope="session")
def encode(pictures, vae):
    """Mean and log-variance of the picture of an id, mirrored or not."""
    autoencoder = Autoencoder(str(vae))

    def moments(name, *, flipped=False):
        pixels = torch.from_numpy(read_picture(pictures / name, 3, 16, 24).copy())
        return autoencoder.encode((pixels.flip(1) if flipped else pixels)[None])[0].chunk(2)

    return moments


def test_latents_labels_and_ids_belong_together_in_any_order(extracted, encode):
    source = dataset(extracted(), sample_posterior=False, flip=False).open()
    assert len(source) == 10
    indices = np.random.default_rng(0).permutation(10)
    assert source.labels(indices).tolist() == [CLASSES.index(source.id(int(index))[0]) for index in indices]
    assert len({source.id(index) for index in range(10)}) == 10
    for order in (indices, indices[:3], indices.repeat(2), indices[:1]):
        samples = read(source, order)
        assert (samples.latents.dtype, samples.labels.dtype) == (torch.float32, torch.int64)
        for index, latent, label in zip(order, samples.latents, samples.labels, strict=True):
            name = source.id(int(index))
            assert label == CLASSES.index(name[0])
            torch.testing.assert_close(latent, encode(name)[0])


def test_shards_may_be_of_any_size_and_order(latents, encode):
    index = json.loads((latents / "index.json").read_text())
    index["shards"].reverse()  # the smallest first
    (latents / "index.json").write_text(json.dumps(index))
    source = dataset(latents, sample_posterior=False, flip=False).open()
    for place, latent in enumerate(read(source).latents):
        torch.testing.assert_close(latent, encode(source.id(place))[0])


def test_stored_flips_are_encodings_of_mirrored_pictures(extracted, encode):
    source = dataset(extracted(), sample_posterior=False).open()
    order = np.arange(10).repeat(20)
    seen = []
    found = read(source, order)
    for index, latent in zip(order, found.latents, strict=True):
        name = source.id(int(index))
        plain, mirrored = encode(name)[0], encode(name, flipped=True)[0]
        assert not torch.allclose(mirrored, plain.flip(-1), atol=1e-3)  # so it is not the latent that is mirrored
        seen.append(torch.allclose(latent, mirrored, atol=1e-4))
        assert seen[-1] or torch.allclose(latent, plain, atol=1e-4)
    assert 60 < sum(seen) < 140
    assert found.flipped.tolist() == seen


def test_flips_are_left_out_where_they_are_not_stored_or_asked_for(extracted):
    stored, none = extracted(), extracted("--no-flip")
    plain = read(dataset(stored, sample_posterior=False, flip=False).open())
    without = dataset(none, sample_posterior=False).open()
    for seed in range(3):
        torch.testing.assert_close(read(without, seed=seed).latents, plain.latents)  # passes were half as large


def test_posterior_samples_are_mean_plus_deviation_times_noise(extracted, encode):
    source = dataset(extracted(), flip=False).open()
    order = np.random.default_rng(1).permutation(10)
    found = read(source, order).latents
    for index, latent, generator in zip(order, found, generators(10), strict=True):
        mean, logvar = encode(source.id(int(index)))
        noise = torch.from_numpy(generator.standard_normal(mean.shape, dtype=np.float32))
        torch.testing.assert_close(latent, mean + (0.5 * logvar).exp() * noise)
    assert torch.equal(found, read(source, order).latents)
    assert not torch.equal(found, read(source, order, seed=1).latents)


def test_a_fixed_posterior_sample_is_drawn_by_the_samples_id(extracted, latents, encode):
    source = dataset(extracted(), sample_posterior="fixed", flip=False).open()
    found = read(source).latents
    assert torch.equal(found, read(source, seed=1).latents)  # as another step or seed reads it
    index = json.loads((latents / "index.json").read_text())
    index["shards"].reverse()
    (latents / "index.json").write_text(json.dumps(index))
    other = dataset(latents, sample_posterior="fixed", flip=False).open()
    by_id = {other.id(place): latent for place, latent in enumerate(read(other).latents)}
    draws = []
    for place, latent in enumerate(found):
        assert torch.equal(latent, by_id[source.id(place)])
        mean, logvar = encode(source.id(place))
        draws.append((latent - mean) / (0.5 * logvar).exp())
    normal = torch.stack(draws)  # 10 x 384 numbers
    assert normal.mean().abs() < 0.05
    assert (normal.std() - 1).abs() < 0.05
    assert normal.flatten(1).corrcoef().fill_diagonal_(0).abs().max() < 0.25  # each picture has noise of its own


def test_a_fixed_posterior_sample_of_a_mirrored_picture_is_another(extracted, encode):
    options = {"sample_posterior": "fixed"}
    source, plain = dataset(extracted(), **options).open(), read(dataset(extracted(), **options, flip=False).open())
    reads = torch.stack([read(source, seed=seed).latents for seed in range(20)])
    for place, (latents, unflipped) in enumerate(zip(reads.unbind(1), plain.latents, strict=True)):
        both = latents.unique(dim=0)
        (mirrored,) = (each for each in both if not torch.equal(each, unflipped))
        assert len(both) == 2
        noises = []
        for flipped, latent in ((False, unflipped), (True, mirrored)):
            mean, logvar = encode(source.id(place), flipped=flipped)
            noises.append((latent - mean) / (0.5 * logvar).exp())
        assert torch.stack(noises).flatten(1).corrcoef()[0, 1].abs() < 0.25


@pytest.mark.parametrize("sample_posterior", [True, False, "fixed"])
def test_a_sample_does_not_depend_on_its_batch(extracted, sample_posterior):
    source = dataset(extracted(), sample_posterior=sample_posterior).open()
    order = np.random.default_rng(2).permutation(10)
    whole = read(source, order)
    for place, generator in enumerate(generators(10)):
        alone = source.read(order[place : place + 1], [generator])
        assert torch.equal(alone.latents[0], whole.latents[place])
        assert alone.labels[0] == whole.labels[place]


def test_statistics_are_those_of_posterior_samples(extracted):
    source = dataset(extracted()).open()
    drawn = torch.cat([read(source, seed=seed).latents for seed in range(200)]).double()
    assert isinstance(source.statistics, Statistics)
    deviation = torch.tensor(source.statistics.std)
    torch.testing.assert_close(deviation.double(), drawn.std((0, 2, 3)), rtol=0.02, atol=0)
    assert ((torch.tensor(source.statistics.mean) - drawn.mean((0, 2, 3))).abs() < 0.02 * deviation).all()
    fitted = PerChannel(4).fitted(source.statistics)
    normal = PerChannel(4, **fitted).apply(drawn)
    assert (normal.mean((0, 2, 3)).abs() < 0.02).all()


def test_half_precision_is_read_as_single(extracted):
    half = read(dataset(extracted("--dtype", "float16"), sample_posterior=False, flip=False).open())
    single = read(dataset(extracted(), sample_posterior=False, flip=False).open())
    assert half.latents.dtype == torch.float32
    torch.testing.assert_close(half.latents, single.latents.half().float())


class Reads(torch.utils.data.Dataset):
    """Reads of one source, as a data worker sees them."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return 5

    def __getitem__(self, seed):
        return read(self.source, np.arange(10)[::-1].copy(), seed).latents


def test_a_source_that_was_used_can_be_sent_to_workers(extracted):
    source = dataset(extracted()).open()
    small = len(pickle.dumps(source))
    read(source)
    assert len(pickle.dumps(source)) == small < 5000
    expected = torch.stack([Reads(source)[seed] for seed in range(5)])
    copy = pickle.loads(pickle.dumps(source))
    assert torch.equal(torch.stack([Reads(copy)[seed] for seed in range(5)]), expected)
    loader = DataLoader(Reads(source), batch_size=None, num_workers=2, multiprocessing_context=get_context("fork"))
    assert torch.equal(torch.stack(list(loader)), expected)


def test_splits_share_statistics_and_held_out_latents_are_never_flipped(extracted, tmp_path):
    shutil.copytree(extracted(), tmp_path / "train")
    index = json.loads((shutil.copytree(extracted(), tmp_path / "held_out") / "index.json").read_text())
    index["statistics"]["mean"] = [9.0] * 4
    (tmp_path / "held_out" / "index.json").write_text(json.dumps(index))
    latents = dataset(tmp_path, sample_posterior=False)
    train, held_out = latents.open(), latents.open("held_out")
    assert held_out.statistics == train.statistics
    assert held_out.statistics.mean[0] < 9
    assert torch.equal(read(held_out).latents, read(held_out, seed=1).latents)
    assert not torch.equal(read(train).latents, read(train, seed=1).latents)
    index["classes"] = ["a", "b", "d"]
    (tmp_path / "held_out" / "index.json").write_text(json.dumps(index))
    assert refusal(latents, "held_out") == (
        f"{tmp_path}/held_out/index.json: its classes are not those of {tmp_path}/train/index.json;"
        " extract both of one folder of pictures"
    )


# What is refused.


def test_an_id_is_of_one_split_alone(extracted, tmp_path):
    """Though two folders of pictures were encoded, whose paths are the same. Encodings stay as they are."""
    for split in ("train", "val"):
        shutil.copytree(extracted(), tmp_path / split)
    latents, whole = dataset(tmp_path, sample_posterior="fixed"), dataset(extracted(), sample_posterior="fixed")
    held_out, name = latents.open("held_out"), whole.open().id(3)
    assert (latents.open().id(3), held_out.id(3)) == (f"train/{name}", f"val/{name}")
    assert list(held_out.ids()) == [held_out.id(index) for index in range(len(held_out))]
    assert open_kept(latents, "train", (f"train/{name}",))[1].mask.sum() == 1
    assert open_kept(latents, "held_out", (f"train/{name}",))[1].mask.sum() == 0
    assert torch.equal(read(latents.open()).latents, read(whole.open()).latents)


def refusal(latents, split="train"):
    with pytest.raises(DataError) as error:
        latents.open(split)
    return str(error.value)


def test_no_held_out_part(extracted):
    folder = extracted()
    assert refusal(dataset(folder), "held_out") == (
        f"{folder}: has no held-out part; divide it into sub-folders 'train' and 'held_out'"
    )


def test_folders_without_an_index(tmp_path):
    assert refusal(dataset(tmp_path / "missing")) == (
        f"{tmp_path}/missing: there is no such folder; `zoo latents` makes one of a folder of pictures"
    )
    assert refusal(dataset(tmp_path)).startswith(f"{tmp_path}/index.json: there is no such file")


@pytest.mark.parametrize(("shape", "said"), [((4, 12, 8), "4 x 12 x 8"), ((3, 8, 12), "3 x 8 x 12")])
def test_latents_of_another_shape_than_the_backbones(extracted, shape, said):
    assert refusal(dataset(extracted(), shape=shape)) == (
        f"{extracted()}/index.json: its latents are 4 x 8 x 12 (channels x height x width),"
        f" and backbone.latent is {said}; set it to the same"
    )


def test_missing_truncated_and_differing_shards(latents):
    path = latents / "shard_00001.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert refusal(dataset(latents)).startswith(f"{path}: cannot be read: ")
    path.unlink()
    assert refusal(dataset(latents)) == f"{path}: is missing, and the index lists it; extract it again with --resume"
    shutil.copy(latents / "shard_00002.safetensors", path)
    assert (
        refusal(dataset(latents))
        == f"{path}: ids is U8 [2, 7], and the index says U8 [4, 7]; extract it again with --resume"
    )


def test_a_shard_that_is_lost_after_opening(latents):
    source = dataset(latents).open()
    path = latents / "shard_00001.safetensors"
    path.unlink()
    with pytest.raises(DataError, match=f"^{path}: is missing"):
        read(source)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_without_a_class(latents, label):
    path = damage(latents, 1, lambda tensors: tensors["labels"][2].fill_(label))
    name = dataset(latents, num_classes=0).open().id(6)
    assert refusal(dataset(latents)) == (
        f"{path}: label {label} of {name} is outside 0..2; mend it, or set backbone.num_classes"
    )


def test_more_and_no_classes(extracted):
    assert len(dataset(extracted(), num_classes=0).open()) == len(dataset(extracted(), num_classes=9).open()) == 10
    assert "label 2 of " in refusal(dataset(extracted(), num_classes=2))


def test_latents_without_classes(latents):
    index = json.loads((latents / "index.json").read_text())
    (latents / "index.json").write_text(json.dumps(index | {"classes": []}))
    assert len(dataset(latents, num_classes=0).open()) == 10
    assert refusal(dataset(latents)) == (
        f"{latents}/index.json: its pictures had no classes, and backbone.num_classes is 3; set it to 0"
    )


@pytest.mark.parametrize(
    ("plane", "value"), [(0, torch.nan), (0, torch.inf), (3, -torch.inf), (4, torch.nan), (7, torch.inf)]
)
def test_a_latent_that_is_not_finite(latents, plane, value):
    path = damage(latents, 1, lambda tensors: tensors["moments"][2, plane, 3, 4].fill_(value))
    source = dataset(latents, flip=False).open()
    read(source, np.array([0, 1, 2, 3, 4, 5, 7, 8, 9]))
    with pytest.raises(DataError) as error:
        read(source, np.array([9, 2, 6, 0]))
    assert str(error.value) == f"{path}: the latent of {source.id(6)} is not finite"
    left_out = find_left_out(source, (source.id(0),))
    with pytest.raises(DataError) as error:
        read_kept(source, np.array([9, 2, 6]), lambda: generators(3), left_out)
    assert str(error.value) == (
        f"{path}: the latent of {source.id(6)} is not finite; leave it out:"
        f""" --set 'data.leave_out=["{source.id(0)}", "{source.id(6)}"]'"""
    )


def test_a_flipped_latent_that_is_not_finite(latents):
    damage(latents, 0, lambda tensors: tensors["moments_flipped"][0].fill_(torch.nan))
    source = dataset(latents, sample_posterior=False).open()
    with pytest.raises(DataError, match="is not finite"):
        read(source, np.zeros(20, dtype=np.int64))


def test_all_ids_are_those_of_one_by_one(extracted):
    source = dataset(extracted()).open()
    assert list(source.ids()) == [source.id(index) for index in range(len(source))]


def test_huge_numbers_are_still_finite(latents):
    damage(latents, 0, lambda tensors: tensors["moments"][:].fill_(3e38))
    assert (read(dataset(latents, sample_posterior=False, flip=False).open(), np.arange(4)).latents > 1e38).all()
