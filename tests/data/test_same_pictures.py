"""The same pictures are the same batches, wherever they lie."""

from dataclasses import fields

import pytest
import torch

from tests.data.levels import Turns
from tests.data.tars import samples, write_tar
from zoo.data.huggingface import HuggingFace
from zoo.data.images import Images
from zoo.data.normalize import Scale
from zoo.data.stream import Batch, Order, Reader, Share, stream
from zoo.data.webdataset import WebDataset

SUPPLIED = (3, (16, 24), 3)


@pytest.fixture
def of_folder(pictures):
    return Images(*SUPPLIED, folder=str(pictures)).open()


@pytest.fixture
def of_tar(tmp_path, pictures, of_folder):
    names = list(of_folder.ids())
    for shard, own in enumerate((names[:3], names[3:])):
        write_tar(tmp_path / "shards" / f"{shard}.tar", samples(pictures, own, "abc"))
    return WebDataset(*SUPPLIED, folder=str(tmp_path / "shards")).open()


@pytest.fixture
def of_parquet(tmp_path, pictures, of_folder, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    names = list(of_folder.ids())
    values = {"image": [(pictures / name).read_bytes() for name in names], "label": ["abc".index(n[0]) for n in names]}
    (tmp_path / "tables").mkdir()
    datasets.Dataset.from_dict(values).to_parquet(tmp_path / "tables" / "0.parquet")
    return HuggingFace(*SUPPLIED, folder=str(tmp_path / "tables")).open()


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
