"""Pictures in tar files: the same samples as those of a folder, by their places."""

import os
import pickle
import shutil
import tarfile
import warnings

import numpy as np
import pytest
import torch

from tests.data.same_samples import assert_same_samples, generators, in_folders
from tests.data.tars import samples, write_tar
from zoo.data.webdataset import WebDataset
from zoo.errors import DataError, MissingSplitError
from zoo.testing import check_part


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path, pictures):
    names = list(in_folders(pictures).open().ids())
    for shard, rows in enumerate((names[:4], names[4:])):
        write_tar(tmp_path / "shards" / f"{shard}.tar", samples(pictures, rows, "abc"))
    return tmp_path / "shards"


def dataset(folder, num_classes=3, **options):
    return WebDataset(3, (16, 24), num_classes, folder=str(folder), **options)


def test_samples_are_those_of_the_folder(folder, pictures):
    source, files = dataset(folder).open(), in_folders(pictures).open()
    assert_same_samples(source, files)
    assert [each.split("/", 1)[1] for each in source.ids()] == list(files.ids())
    assert source.id(9) == f"1.tar/{files.id(9)}"


@pytest.mark.parametrize("below", ["", "train/"])
def test_the_same_are_held_out_as_of_the_folder(folder, pictures, tmp_path, below):
    files = pictures
    if below:
        files = tmp_path / "files"
        shutil.copytree(pictures, files / below)
    for split in ("train", "held_out"):
        of_folder = in_folders(files, held_out=0.3).open(split)
        source = dataset(folder, held_out=0.3).open(split)
        assert [below + each.split("/", 1)[1] for each in source.ids()] == list(of_folder.ids())
        assert sum(group.samples for _, group in source.fingerprint().groups) == len(source)


def test_the_laws_of_datasets(folder):
    supplied = {"channels": 3, "num_classes": 3}
    check_part(WebDataset, options={"folder": str(folder), "held_out": 0.3}, supplied=supplied)


def test_shards_that_are_divided(tmp_path, pictures):
    names = ["a/1.png", "a/4.png"]
    for split, name in zip(("train", "held_out"), names, strict=True):
        write_tar(tmp_path / split / "0.tar", samples(pictures, [name], "abc"))
    assert list(dataset(tmp_path).open().ids()) == ["train/0.tar/a/1.png"]
    assert list(dataset(tmp_path).open("held_out").ids()) == ["held_out/0.tar/a/4.png"]


def test_no_held_out_part(folder):
    with pytest.raises(MissingSplitError, match=r"has no held-out part; .*set data\.dataset\.held_out"):
        dataset(folder).open("held_out")


def test_a_source_can_be_sent_to_a_worker(folder):
    source = dataset(folder).open()
    rows = np.arange(len(source))
    copy = pickle.loads(pickle.dumps(source))
    assert torch.equal(copy.read(rows, generators(10)).latents, source.read(rows, generators(10)).latents)


def test_the_fingerprint_tells_a_shard_that_was_made_anew(folder, pictures):
    before = dataset(folder).open().fingerprint()
    write_tar(folder / "1.tar", samples(pictures, ["c/0.png"], "abc"))
    changes = dataset(folder).open().fingerprint().changes_since(before)
    assert changes.moved == ["shard '1.tar' has 1 sample in place of 6"]


def refusal(folder, members, **options):
    write_tar(folder / "0.tar", members)
    with pytest.raises(DataError) as error:
        dataset(folder, **options).open()
    return str(error.value)


def test_labels_that_do_not_go(tmp_path):
    told = refusal(tmp_path, {"a.png": b"", "a.cls": b"7"})
    assert told == (f"{tmp_path}: 0.tar/a.png has label 7, outside 0..2; mend it, or set backbone.num_classes")
    told = refusal(tmp_path, {"a.png": b"", "b.png": b"", "a.cls": b"1"})
    assert told == (
        f"{tmp_path}: 0.tar/a.png has no label; lay its .cls or .json beside it in the shard, as tar --sort=name does,"
        " or set backbone.num_classes to 0"
    )


def test_no_classes_need_no_labels(tmp_path, pictures):
    write_tar(tmp_path / "0.tar", {"a.png": (pictures / "a/1.png").read_bytes(), "b.txt": b""})
    source = dataset(tmp_path, num_classes=0).open()
    assert source.read(np.array([0]), generators(1)).labels.tolist() == [0]
    assert source.notes == (f"{tmp_path}: left out 1 key of tar files, without a picture",)


def test_a_bad_sample_is_named_by_shard_and_member(folder):
    index = dataset(folder).open().index
    whole = bytearray((folder / "1.tar").read_bytes())
    whole[index.offsets[5] : index.offsets[5] + 8] = b"?" * 8
    (folder / "1.tar").write_bytes(whole)
    name, source = index.name(5), dataset(folder).open()
    with pytest.raises(DataError, match=f"^{folder}/1.tar/{name}: is no picture, or one that is damaged$"):
        source.read(np.array([5]), generators(1))
    (folder / "1.tar").unlink()
    with pytest.raises(DataError, match=f"^{folder}/1.tar: cannot be read: No such file or directory$"):
        source.read(np.array([5]), generators(1))


@pytest.mark.parametrize("change", ["time", "size"])
def test_a_shard_that_changes_while_it_is_read(folder, change):
    source, shard = dataset(folder).open(), folder / "0.tar"
    status = shard.stat()
    if change == "size":
        shard.write_bytes(shard.read_bytes() + bytes(10240))
    os.utime(shard, ns=(0, status.st_mtime_ns + (change == "time")))
    with pytest.raises(DataError, match=f"^{folder}/0.tar: has changed since it was looked through; .* start again$"):
        source.read(np.array([0]), generators(1))
    dataset(folder).open().read(np.array([0]), generators(1))


def test_what_is_left_out_is_told(tmp_path, pictures):
    picture = (pictures / "a/1.png").read_bytes()
    write_tar(tmp_path / "0.tar", {"a.png": picture, "b.0.png": picture, "b.1.png": picture})
    with tarfile.open(tmp_path / "0.tar", "a") as tar:
        for name, kind in (("c.png", tarfile.LNKTYPE), ("d.png", tarfile.SYMTYPE), (".e.png", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "a.png"
            tar.addfile(member)
    source = dataset(tmp_path, num_classes=0).open()
    assert list(source.ids()) == ["0.tar/a.png"]
    assert [note.split(": ", 1)[1] for note in source.notes] == [
        "left out 1 key of tar files, without a picture",
        "left out 2 pictures with a dot before the ending, as in a.b.jpg, which a key does not go beyond; name them"
        " without",
        "left out 2 links, which hold nothing; pack what they lead to, as tar --dereference --hard-dereference does",
    ]


def test_what_lies_beside_the_shards_is_not_taken(folder):
    assert dataset(folder).takes(folder)
    assert not dataset(folder).takes(folder / "runs")


def test_an_index_is_read_without_a_warning(folder):
    ids = list(dataset(folder).open().ids())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(dataset(folder).open().ids()) == ids
