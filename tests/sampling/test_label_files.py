"""Labels of images from a file: its rows in turn, or one line that says why not."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.sampling.test_images import draw, record_of
from tests.train.vectors import VectorConditioner
from zoo.errors import ZooError
from zoo.parts.class_conditioners import AttributesConditioner, NoConditioner
from zoo.sampling.label_files import read_labels
from zoo.sampling.labels import given_labels


def written(path, *rows, dtype=np.int64):
    np.save(path, np.array(rows, dtype))
    return read_labels(path)


def header(text):
    """The beginning of a .npy file."""
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text.encode()


def test_rows_of_a_file_come_in_turn(run, tmp_path, registry):
    file = written(tmp_path / "own.npy", 4, 2, 5)
    of_file = draw(run, tmp_path / "file", registry, count=4, label_file=file)
    by_hand = draw(run, tmp_path / "hand", registry, count=4, labels=(4, 2, 5))
    assert all((a == b).all() for a, b in zip(of_file, by_hand, strict=True))
    record = record_of(tmp_path / "file")
    assert record["labels"] == [4, 2, 5, 4]
    assert record["label_file"] == {"name": "own.npy", "sha256": file.digest}


def test_draws_go_on_with_the_same_labels_alone(run, tmp_path, registry):
    one, other = written(tmp_path / "one.npy", 1, 2), written(tmp_path / "other.npy", 1, 3)
    out = tmp_path / "out"
    draw(run, out, registry, count=2, label_file=one)
    assert json.loads((out / "request.json").read_text())["label_file"] == one.digest
    with pytest.raises(ZooError, match="label_file"):
        draw(run, out, registry, count=2, label_file=other, resume=True)
    (out / "samples.json").unlink()
    (out / "000001.png").unlink()
    draw(run, out, registry, count=2, label_file=read_labels(one.path), resume=True)
    assert (out / "samples.json").exists()


def test_several_labels_by_name(tmp_path):
    tensors = {"class": torch.tensor([1, 2]), "size": torch.rand(2, 2)}
    save_file(tensors, tmp_path / "own.safetensors")
    assert {name: each.tolist() for name, each in read_labels(tmp_path / "own.safetensors").labels.items()} == {
        name: each.tolist() for name, each in tensors.items()
    }


def test_arrays_of_an_npz_file(tmp_path):
    np.savez(tmp_path / "one.npz", own=np.array([3, 1]))
    assert read_labels(tmp_path / "one.npz").labels.tolist() == [3, 1]
    np.savez_compressed(tmp_path / "two.npz", own=np.array([3, 1]), size=np.ones((2, 2)))
    found = read_labels(tmp_path / "two.npz").labels
    assert {name: each.tolist() for name, each in found.items()} == {"own": [3, 1], "size": [[1, 1], [1, 1]]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[3, 1, 4]", "[3, 1, 4]"),
        ("[[1, null], [0.5, 2]]", "[[1.0, nan], [0.5, 2.0]]"),
        ('[{"a": 1, "b": [0, 1]}, {"b": [2, 3], "a": 4}]', "{'a': [1, 4], 'b': [[0, 1], [2, 3]]}"),
    ],
)
def test_a_list_of_a_json_file(tmp_path, text, expected):
    (tmp_path / "own.json").write_text(text)
    found = read_labels(tmp_path / "own.json").labels
    plain = found.tolist() if isinstance(found, torch.Tensor) else {name: each.tolist() for name, each in found.items()}
    assert str(plain) == expected


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.npy", None, "cannot be read: No such file or directory"),
        ("text.npy", b"1,2,3", "holds no labels: "),
        ("empty.npy", b"", "holds no labels: "),
        ("text.safetensors", b"1,2,3", "holds no labels: "),
        ("cut.npy", header("{'descr': '<f4', 'shape': (3,"), "holds no labels: "),
        ("text.npz", b"1,2,3", "holds no labels: "),
        ("text.json", b"[1, 2", "holds no labels: "),
        ("word.json", b'["cat"]', "holds no labels: 'cat' is no number"),
        ("uneven.json", b"[[1], [1, 2]]", "holds no labels: "),
        ("other.json", b'[{"a": 1}, {"b": 1}]', "holds no labels: entry 1 (the first is 0)"),
        ("mixed.json", b'[1, {"b": 1}]', "holds no labels: entry 0 (the first is 0) has other names; let all have b"),
        ("none.json", b"{}", "holds no labels: it is no list"),
        ("deep.json", b"[" * 100_000, "holds no labels: "),
        ("hostile.npy", header("-" * 5_000 + "1"), "holds no labels: "),
    ],
    ids=lambda value: value if isinstance(value, str) and ":" not in value else "",
)
def test_what_is_no_such_file_is_refused_in_a_line(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ZooError) as caught:
        read_labels(tmp_path / name)
    assert str(caught.value).startswith(f"--labels-file {tmp_path / name}: {said}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [np.array(["a"]), np.array(3), np.array([None])])
def test_arrays_that_are_no_labels_are_refused(tmp_path, rows):
    np.save(tmp_path / "own.npy", rows, allow_pickle=True)
    with pytest.raises(ZooError, match="holds no labels"):
        read_labels(tmp_path / "own.npy")
    np.savez(tmp_path / "own.npz", rows)
    with pytest.raises(ZooError, match="holds no labels"):
        read_labels(tmp_path / "own.npz")


@pytest.mark.parametrize(
    ("rows", "dtype", "said"),
    [
        ([], np.int64, "holds no row"),
        ([0.5], np.float32, "not what the class"),
        ([1, 11], np.int64, "not what the class"),
    ],
)
def test_labels_that_the_backbone_does_not_take_are_refused(run, tmp_path, registry, rows, dtype, said):
    with pytest.raises(ZooError, match=f"^--labels-file .*: .*{said}"):
        draw(run, tmp_path / "out", registry, label_file=written(tmp_path / "own.npy", *rows, dtype=dtype))


def test_an_unconditional_backbone_takes_none(tmp_path):
    with pytest.raises(ZooError, match="unconditional"):
        given_labels(NoConditioner(), written(tmp_path / "own.npy", 1))


class Sized(VectorConditioner):
    """Labels are pairs of numbers by name."""

    def check_labels(self, labels, batch):
        super().check_labels(labels["size"], batch)

    def null(self, labels):
        return {"size": super().null(labels["size"])}


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_rows_that_are_not_finite_are_refused(tmp_path, bad):
    good = torch.ones(4, 2)
    save_file({"size": good}, tmp_path / "own.safetensors")
    file = read_labels(tmp_path / "own.safetensors")
    assert given_labels(Sized(4), file).values is file.labels  # however many images are asked for
    good[2, 1] = bad
    save_file({"size": good}, tmp_path / "own.safetensors")
    with pytest.raises(ZooError) as caught:
        given_labels(Sized(4), read_labels(tmp_path / "own.safetensors"))
    assert str(caught.value) == (
        f"--labels-file {tmp_path / 'own.safetensors'}: row 2 (the first is 0) holds NaN or infinite values; mend it,"
        " or leave it out"
    )


def test_whole_numbers_are_floats_where_the_conditioner_takes_such(tmp_path):
    (tmp_path / "own.json").write_text("[[1, 0], [0, 1]]")
    file = read_labels(tmp_path / "own.json")
    assert file.labels.dtype == torch.int64
    found = given_labels(AttributesConditioner(4, attributes=2), file).values
    assert (found.dtype, found.tolist()) == (torch.float32, [[1, 0], [0, 1]])


def test_complex_numbers_lose_no_half_of_theirs(tmp_path):
    np.save(tmp_path / "own.npy", np.array([[1 + 2j, 0.0]]))
    with pytest.raises(ZooError, match=r"got torch\.complex128: store them as float32"):
        given_labels(AttributesConditioner(4, attributes=2), read_labels(tmp_path / "own.npy"))


def test_nan_is_a_label_where_it_is_null(tmp_path):
    (tmp_path / "own.json").write_text("[[1, null], [0.5, 1]]")
    file = read_labels(tmp_path / "own.json")
    assert str(given_labels(AttributesConditioner(4, attributes=2), file).values.tolist()) == "[[1.0, nan], [0.5, 1.0]]"
    with pytest.raises(ZooError, match=r"row 0 .* holds NaN"):
        given_labels(VectorConditioner(4), file)
