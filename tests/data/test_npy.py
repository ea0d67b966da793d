"""Arrays of any axes, row by row, from a file that is mapped into memory."""

import copy
import pickle

import numpy as np
import pytest
import torch

from zoo.data.npy import Npy
from zoo.errors import DataError, MissingSplitError
from zoo.testing import check_part

ROWS = 30


def save(folder, *, labelled=True, **arrays):
    folder.mkdir(parents=True, exist_ok=True)
    x = np.random.default_rng(0).normal(size=(ROWS, 2, 3, 4, 5)).astype(np.float64)
    given = {"x": x, **({"labels": np.arange(ROWS) % 4} if labelled else {}), **arrays}
    for name, values in given.items():
        np.save(folder / f"{name}.npy", values)
    return given["x"]


def dataset(folder, num_classes=4, size=(3, 4, 5), **options):
    return Npy(2, size, num_classes, folder=str(folder), **options)


def read(source, rows):
    return source.read(np.array(rows), [np.random.default_rng(0) for _ in rows])


def refusal(folder, **options):
    with pytest.raises(DataError) as error:
        dataset(folder, **options).open()
    return str(error.value)


def test_rows_and_labels_belong_together(tmp_path):
    x = save(tmp_path)
    source = dataset(tmp_path).open()
    samples = read(source, [29, 0, 5, 5])
    assert np.array_equal(samples.latents.numpy(), x[[29, 0, 5, 5]].astype(np.float32))
    assert samples.latents.dtype == torch.float32
    assert samples.labels.tolist() == [1, 0, 1, 1]
    assert [source.id(row) for row in (0, 29)] == ["row 0", "row 29"]
    assert not dataset(tmp_path).makes_images


@pytest.mark.parametrize("dtype", [">f4", "f2", "u1", "i8"])
def test_numbers_of_any_kind(tmp_path, dtype):
    x = save(tmp_path, x=np.asfortranarray(np.arange(ROWS * 8).reshape(ROWS, 2, 4) % 200).astype(dtype))
    found = read(dataset(tmp_path, size=(4,)).open(), [7]).latents
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), x[[7]].astype(np.float32))


def test_the_laws_of_datasets(tmp_path):
    save(tmp_path)
    supplied = {"channels": 2, "size": (3, 4, 5), "num_classes": 4}
    check_part(Npy, options={"folder": str(tmp_path), "held_out": 0.3}, supplied=supplied)


def test_a_share_is_held_out(tmp_path):
    x = save(tmp_path)
    train, held_out = (dataset(tmp_path, held_out=0.3).open(split) for split in ("train", "held_out"))
    assert sorted([*train.ids(), *held_out.ids()]) == sorted(f"row {row}" for row in range(ROWS))
    row = int(held_out.id(1).split()[1])
    assert np.array_equal(read(held_out, [1]).latents[0].numpy(), x[row].astype(np.float32))
    assert held_out.labels(np.array([1])).tolist() == [row % 4]
    with pytest.raises(MissingSplitError):
        dataset(tmp_path).open("held_out")


def test_folders_that_are_divided(tmp_path):
    for split in ("train", "val"):
        save(tmp_path / split)
    assert dataset(tmp_path).open().id(3) == "train/row 3"
    assert dataset(tmp_path).open("held_out").id(3) == "val/row 3"


def test_labels_that_are_no_classes(tmp_path):
    values = np.random.default_rng(0).normal(size=(ROWS, 3))
    save(tmp_path, labels=values)
    found = dataset(tmp_path).open().labels(np.array([4, 2]))
    assert np.array_equal(found.numpy(), values[[4, 2]].astype(np.float32))


def test_no_classes_need_no_labels(tmp_path):
    save(tmp_path, labelled=False)
    assert dataset(tmp_path, num_classes=0).open().labels(np.arange(2)).tolist() == [0, 0]
    assert refusal(tmp_path) == f"{tmp_path}/labels.npy: there is no such file; save one there by numpy.save"


def test_a_worker_maps_the_file_by_itself(tmp_path):
    save(tmp_path)
    source = dataset(tmp_path).open()
    expected = read(source, [3]).latents
    pickled = pickle.dumps(source)
    assert len(pickled) < (tmp_path / "x.npy").stat().st_size / 4
    for other in (pickle.loads(pickled), copy.deepcopy(source)):
        assert torch.equal(read(other, [3]).latents, expected)


def test_the_fingerprint_tells_other_rows_and_another_file(tmp_path):
    save(tmp_path)
    before = dataset(tmp_path).open().fingerprint()
    save(tmp_path, labels=np.zeros(ROWS, dtype=np.int64))
    changes = dataset(tmp_path).open().fingerprint().changes_since(before)
    assert changes.moved == ["labels are others, or in another order"]
    assert dataset(tmp_path, held_out=0.3).open().fingerprint().order() != before.order()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"x": np.zeros((3, 2, 5))},
            "x.npy: its rows are 2 x 5 (channels x size), and backbone.latent is 2 x 3 x 4 x 5",
        ),
        (
            {"x": np.zeros((3, 2, 3, 4, 5), complex)},
            "x.npy: holds complex128 [3, 2, 3, 4, 5], no rows of plain numbers",
        ),
        ({"x": np.array([{}])}, "x.npy: cannot be read as an array, or is damaged: "),
        ({"x": np.float32(3)}, "x.npy: holds float32 [], no rows of plain numbers"),
        ({"labels": np.arange(3)}, "labels.npy: has 3 rows, and x.npy beside it has 30; give each row a label"),
        ({"labels": np.arange(ROWS) % 5}, "labels.npy: label 4 of row 4 is outside 0..3; mend it"),
        ({"x": np.zeros((0, 2, 3, 4, 5))}, "x.npy: holds no rows; save some there by numpy.save"),
        (
            {"labels": np.arange(ROWS, dtype=np.uint64) + np.uint64(2**63)},
            "labels.npy: label 9223372036854775808 of row 0 is outside 0..3; mend it",
        ),
        ({"labels": np.full((ROWS, 2), 1e300)}, "labels.npy: row 0 holds 1e+300, too large for float32; scale"),
        ({"labels": np.arange(ROWS) - 1}, "labels.npy: label -1 of row 0 is outside 0..3; mend it"),
    ],
)
def test_arrays_that_do_not_go(tmp_path, given, told):
    save(tmp_path, **given)
    assert refusal(tmp_path).startswith(f"{tmp_path}/{told}")


def test_values_that_float32_does_not_hold(tmp_path):
    x = np.zeros((ROWS, 2, 3, 4, 5))
    x[7, 1, 0, 2, 3], x[8, 0, 0, 0, 0] = -1e300, np.inf
    save(tmp_path, x=x)
    source = dataset(tmp_path).open()
    with pytest.raises(DataError, match=rf"^{tmp_path}/x.npy: row 7 holds -1e\+300, too large for float32; scale the"):
        read(source, [0, 7])
    assert read(source, [8]).latents.isinf().sum() == 1  # is told as what is not finite
    save(tmp_path, labels=np.full((ROWS, 2), 2**64 - 1, dtype=np.uint64))
    told = "labels.npy: label 18446744073709551615 of row 0 is outside those of 64 bits with a sign"
    assert refusal(tmp_path, num_classes=0).startswith(f"{tmp_path}/{told}")


@pytest.mark.parametrize("end", [0, 40, 500])
def test_damaged_arrays(tmp_path, end):
    save(tmp_path)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:end])
    assert refusal(tmp_path).startswith(f"{tmp_path}/x.npy: cannot be read as an array, or is damaged: ")


def test_what_lies_beside_the_arrays_is_not_taken(tmp_path):
    save(tmp_path)
    assert dataset(tmp_path).takes(tmp_path)
    assert not dataset(tmp_path).takes(tmp_path / "runs")
