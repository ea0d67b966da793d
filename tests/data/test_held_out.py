"""A share of samples that is held out by their names."""

from pathlib import Path

import numpy as np
import pytest

from zoo.data.held_out import rows_of_split
from zoo.data.images import Images
from zoo.errors import DataError, MissingSplitError
from zoo.testing import check_part

FOLDER = Path("pictures")


def rows(names, share, split="held_out"):
    return rows_of_split(FOLDER, names, share, split)


def test_every_sample_is_in_one_split_and_the_share_is_about_what_was_asked_for():
    names = [f"{index}.png" for index in range(4000)]
    held_out = rows(names, 0.05)
    assert np.array_equal(held_out, ~rows(names, 0.05, "train"))
    assert 150 < held_out.sum() < 250


def test_what_is_held_out_hangs_on_the_name_alone():
    names = [f"{index}.png" for index in range(400)]
    assert np.array_equal(rows(["new.png", *reversed(names)], 0.1)[:0:-1], rows(names, 0.1))


def test_a_higher_share_keeps_what_was_held_out():
    names = [f"{index}.png" for index in range(400)]
    assert rows(names, 0.3)[rows(names, 0.1)].all()


def test_which_ones_never_changes():
    """Runs would train on what they were judged by."""
    assert np.flatnonzero(rows([f"{index}.png" for index in range(40)], 0.1)).tolist() == [0, 3, 18, 29, 31, 32, 39]


@pytest.mark.parametrize(("share", "split", "told"), [(1e-9, "held_out", "raise"), (0.999999, "train", "lower")])
def test_a_split_without_samples(share, split, told):
    with pytest.raises(DataError, match=rf"^pictures: none of 4 samples is .* data.dataset.held_out: .*; {told} it$"):
        rows(list("abcd"), share, split)


@pytest.fixture
def folder(tmp_path, draw):
    for index in range(12):
        draw(tmp_path / "ab"[index % 2] / f"{index}.png")
    return tmp_path


def images(folder, **options):
    return Images(3, (16, 24), 2, folder=str(folder), **options)


def test_pictures_of_a_folder(folder):
    dataset = images(folder, held_out=0.3)
    train, held_out = (dataset.open(split) for split in ("train", "held_out"))
    assert sorted([*train.ids(), *held_out.ids()]) == sorted(images(folder).open().ids())
    assert len(held_out) > 1
    assert train.classes == held_out.classes == ("a", "b")
    for source in (train, held_out):
        labels = ["ab".index(each[0]) for each in source.ids()]
        assert source.labels(np.arange(len(source))).tolist() == labels
        assert source.class_counts() == tuple(np.bincount(labels, minlength=2))
        assert sum(group.samples for _, group in source.fingerprint().groups) == len(source)
    assert train.fingerprint().order() != images(folder).open().fingerprint().order()


def test_pictures_that_are_added_move_no_others(folder, draw):
    before = set(images(folder, held_out=0.3).open("held_out").ids())
    for index in range(12, 24):
        draw(folder / "a" / f"{index}.png")
    after = set(images(folder, held_out=0.3).open("held_out").ids())
    assert before < after
    assert all(int(Path(each).stem) >= 12 for each in after - before)


def test_the_laws_of_datasets(folder):
    check_part(Images, options={"folder": str(folder), "held_out": 0.3}, supplied={"channels": 3, "num_classes": 2})


def test_held_out_pictures_are_not_flipped(folder):
    source = images(folder, held_out=0.3).open("held_out")
    read = source.read(np.zeros(20, dtype=np.int64), [np.random.default_rng(seed) for seed in range(20)])
    assert not read.flipped.any()


def test_a_share_of_what_is_divided_already(tmp_path, draw):
    for name in ("train/a/0.png", "held_out/a/1.png"):
        draw(tmp_path / name)
    with pytest.raises(DataError, match=r"held_out: is held out, and data.dataset.held_out: 0.1 asks for a share"):
        images(tmp_path, held_out=0.1).open()


def test_neither(folder):
    told = "has no held-out part; divide it into sub-folders 'train' and 'held_out', or set data.dataset.held_out to"
    with pytest.raises(MissingSplitError, match=told):
        images(folder).open("held_out")
