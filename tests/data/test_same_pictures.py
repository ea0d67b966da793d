"""The same pictures are the same batches, and the same latents, wherever they lie."""

from dataclasses import fields

import pytest
import torch
from safetensors.torch import load_file

from tests.commands import done
from tests.data.levels import Turns
from tests.data.tars import samples, write_tar
from zoo.data.huggingface import HuggingFace
from zoo.data.images import Images
from zoo.data.latents import Latents
from zoo.data.normalize import Scale
from zoo.data.stream import Batch, Order, Reader, Share, stream
from zoo.data.webdataset import WebDataset

SUPPLIED = (3, (16, 24), 3)


@pytest.fixture
def of_folder(pictures):
    return Images(*SUPPLIED, folder=str(pictures)).open()


def in_tars(folder, pictures, names, first):
    """Pictures in two shards, of which one has so many."""
    for shard, own in enumerate((names[:first], names[first:])):
        write_tar(folder / f"{shard}.tar", samples(pictures, own, "abc"))
    return WebDataset(*SUPPLIED, folder=str(folder)).open()


@pytest.fixture
def in_tables(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def write(folder, pictures, names):
        files, labels = [(pictures / name).read_bytes() for name in names], ["abc".index(name[0]) for name in names]
        folder.mkdir()
        datasets.Dataset.from_dict({"image": files, "label": labels}).to_parquet(folder / "0.parquet")
        return HuggingFace(*SUPPLIED, folder=str(folder)).open()

    return write


@pytest.fixture
def of_tar(tmp_path, pictures, of_folder):
    return in_tars(tmp_path / "shards", pictures, list(of_folder.ids()), 3)


@pytest.fixture
def of_parquet(tmp_path, pictures, of_folder, in_tables):
    return in_tables(tmp_path / "tables", pictures, list(of_folder.ids()))


def batches(source, first, last, workers=0):
    reader = Reader(source, Scale(factor=2.0), Order(len(source), 4, 7), Share(), Turns(), num_classes=3)
    return [piece for pieces in stream(reader, first, last, workers=workers) for piece in pieces]


@pytest.mark.parametrize("other", ["of_tar", "of_parquet"])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_bit_equal(of_folder, other, workers, request):
    expected = batches(of_folder, 0, 6)  # of 10 pictures: over two epochs
    source = request.getfixturevalue(other)
    for first in (0, 3):  # from the start, and gone on with
        for one, of_files in zip(batches(source, first, 6, workers), expected[first:], strict=True):
            for field in fields(Batch):
                found, wanted = getattr(one, field.name), getattr(of_files, field.name)
                same = torch.equal(found, wanted) if isinstance(wanted, torch.Tensor) else found == wanted
                assert same, field.name


def test_latents_of_a_thousand_are_bit_equal(tmp_path, draw, vae, in_tables):
    folder = tmp_path / "pictures"
    names = sorted(f"{'abc'[place % 3]}/{place:04}.png" for place in range(1000))
    for name in names:
        draw(folder / name)
    forms = {
        "images": (folder, names),
        "webdataset": (tmp_path / "shards", [f"{int(place >= 400)}.tar/{name}" for place, name in enumerate(names)]),
        "huggingface": (tmp_path / "tables", [f"train row {place}" for place in range(1000)]),
    }
    in_tars(tmp_path / "shards", folder, names, 400)
    in_tables(tmp_path / "tables", folder, names)
    stored = {}
    for form, (given, ids) in forms.items():
        out = tmp_path / "latents" / form
        done("latents", given, "--dataset", form, "--vae", vae, "--size", "16x24", "--out", out, "--shard", 300)
        source = Latents(4, (8, 12), 3, folder=str(out)).open()
        assert list(source.ids()) == ids
        stored[form] = [load_file(path) for path in sorted(out.glob("*.safetensors"))]
    assert [len(shard["labels"]) for shard in stored["images"]] == [300, 300, 300, 100]
    for form in ("webdataset", "huggingface"):
        for one, of_files in zip(stored[form], stored["images"], strict=True):
            for name in ("moments", "moments_flipped", "labels"):
                assert torch.equal(one[name], of_files[name]), (form, name)
