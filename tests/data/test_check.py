"""All that is wrong with a dataset is found, whatever chance draws, and told in few lines however much it is."""

import hashlib
import os
import signal
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo.data import workers
from zoo.data.base import Samples, Source
from zoo.data.check import CHANGED, NO_CLASS, SHOWN, Findings, amount, check
from zoo.data.images import Images
from zoo.data.latents import Latents
from zoo.data.left_out import find_left_out
from zoo.data.problems import NOT_FINITE, UNREADABLE
from zoo.errors import DataError


class Faulty(Source):
    """Somebody's source, which does no more than it must: some samples fail, each in its own way."""

    def __init__(self, length, faults=None):
        self.length, self.faults = length, faults or {}

    def __len__(self):
        return self.length

    def read(self, indices, random):
        latents, labels = torch.zeros(len(indices), 1, 2, 2), torch.as_tensor(indices) % 3
        for row, index in enumerate(indices.tolist()):
            fault = self.faults.get(index, 0.0)
            if callable(fault):
                fault()
            if isinstance(fault, Exception):
                raise fault
            if isinstance(fault, int):
                labels[row] = fault
            latents[row, 0, 1, 1] = fault
        return Samples(latents, labels)

    def id(self, index):
        return f"row {index}"


def look_at(source, leave_out=None, num_classes=3, workers=0):
    """All works of a check, together: problems, labels, and how much was looked at."""
    works = list(check(source, find_left_out(source, leave_out), num_classes, workers))
    labels = Counter()
    for work in works:
        labels.update(work.labels)
    return [problem for work in works for problem in work.problems], labels, sum(work.done for work in works)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_source_that_does_no_more_than_it_must(workers):
    faults = {3: DataError("row 3: is torn"), 70: float("nan"), 71: KeyError("x\ny"), 72: float("inf"), 150: 7, 151: -1}
    source = Faulty(200, faults)
    problems, labels, done = look_at(source, workers=workers)
    assert [(problem.kind, problem.message, problem.id) for problem in problems] == [
        (UNREADABLE, "row 3: is torn", "row 3"),
        (NOT_FINITE, "row 70: holds NaN or infinite values", "row 70"),
        (UNREADABLE, "row 71: KeyError: 'x\\ny'", "row 71"),
        (NOT_FINITE, "row 72: holds NaN or infinite values", "row 72"),
        (NO_CLASS, "row 150: label 7 is outside 0..2", "row 150"),
        (NO_CLASS, "row 151: label -1 is outside 0..2", "row 151"),
    ]
    assert done == amount(source) == 200
    assert labels == Counter(np.delete(np.arange(200) % 3, [3, 70, 71, 72, 150, 151]).tolist()) + Counter([7, -1])


def test_what_is_left_out_is_not_looked_at():
    source = Faulty(100, {3: DataError("row 3: is torn"), 4: 9})
    assert [problem.id for problem in look_at(source, ("row 3",))[0]] == ["row 4"]
    assert look_at(source, tuple(f"row {index}" for index in range(64)))[2] == 100


def test_any_label_will_do_where_there_are_no_classes():
    assert look_at(Faulty(5, {2: 99}), num_classes=0)[0] == []


def test_labels_that_are_no_class_indices_are_not_counted():
    class Vectors(Faulty):
        def read(self, indices, random):
            return Samples(super().read(indices, random).latents, torch.zeros(len(indices), 4))

    assert look_at(Vectors(5, {2: float("nan")}))[1] == {}


def test_much_that_is_wrong_is_told_in_few_lines():
    found = Findings()
    source = Faulty(300, {index: DataError(f"row {index}: is torn") for index in range(250)})
    for work in check(source, find_left_out(source, None), 3):
        found.add(work)
    assert found.problems == {UNREADABLE: 250}
    assert found.first == {UNREADABLE: [f"row {index}: is torn" for index in range(SHOWN)]}
    assert found.labels == {0: 16, 1: 17, 2: 17}


def test_a_process_that_has_ended():
    with pytest.raises(DataError, match=r"^data worker 0 \(process \d+\) ended with exit code 1$"):
        look_at(Faulty(100, {70: lambda: os._exit(1)}), workers=1)


def test_a_process_that_gives_nothing_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(workers, "POLL", 0.05)
    source = Faulty(100, {70: lambda: os.kill(os.getpid(), signal.SIGSTOP)})
    with pytest.raises(DataError, match=r"has given nothing for \d+ s and is stopped by a signal"):
        list(check(source, find_left_out(source, None), 3, workers=1, limit=0.3))


def test_pytorch_does_not_warn_of_many_processes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert look_at(Faulty(5), workers=(os.cpu_count() or 1) + 1)[2] == 5


def test_pictures(tmp_path, draw):
    for name in ("a/0.png", "a/1.png", "b/2.png", "b/deep/3.gif"):
        draw(tmp_path / name)
    (tmp_path / "a/1.png").write_bytes(b"")
    for name in ("a/x.txt", "b/deep/y\n.json", "b/.hidden", "z.csv"):
        (tmp_path / name).write_bytes(b"")
    source = Images(3, (16, 24), 2, folder=str(tmp_path)).open()
    problems, labels, _ = look_at(source, num_classes=2)
    assert [(problem.message, problem.id) for problem in problems] == [
        (f"{tmp_path}/a/1.png: is no picture, or one that is damaged", "a/1.png")
    ]
    assert labels == {0: 1, 1: 2}
    assert sorted(source.ignored()) == ["a/x.txt", "b/deep/y\\n.json", "z.csv"]
    assert len(list(source.ignored())) == sum(source.images.others.values())


def rewritten(latents, number, change, *, recorded):
    """Change a shard, and let the index know of it or not."""
    path = latents / f"shard_{number:05}.safetensors"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    after = hashlib.sha256(path.read_bytes()).hexdigest()
    if recorded:
        index = latents / "index.json"
        index.write_text(index.read_text().replace(before, after))
    return path, before, after


@pytest.mark.parametrize(("name", "plane", "value"), [
    ("moments", 0, torch.nan), ("moments", 5, torch.nan), ("moments", 4, torch.inf), ("moments_flipped", 3, torch.inf)
])  # fmt: skip
def test_everything_that_is_stored_of_a_latent_is_looked_at(latents, name, plane, value):
    path, *_ = rewritten(latents, 1, lambda tensors: tensors[name][2, plane, 3, 4].fill_(value), recorded=True)
    source = Latents(4, (8, 12), 3, folder=str(latents), sample_posterior=False, flip=True).open()
    problems, labels, done = look_at(source)
    assert [(problem.kind, problem.message) for problem in problems] == [
        (NOT_FINITE, f"{path}: the latent of {source.id(6)} is not finite")
    ]
    assert problems[0].id == source.id(6)
    assert labels == Counter(np.delete(source.labels(np.arange(10)).numpy(), 6).tolist())
    assert done == 10 + 3


def test_shards_are_held_against_their_recorded_hashes(latents):
    path, before, after = rewritten(
        latents, 1, lambda tensors: tensors["labels"][0].add_(1).remainder_(3), recorded=False
    )
    source = Latents(4, (8, 12), 3, folder=str(latents)).open()
    problems, _, _ = look_at(source)
    assert [(problem.kind, problem.message, problem.id) for problem in problems] == [
        (CHANGED, f"{path}: its SHA-256 is {after}, and {before} was recorded", "")
    ]


def test_a_shard_that_is_gone_meanwhile(latents):
    source = Latents(4, (8, 12), 3, folder=str(latents)).open()
    (latents / "shard_00001.safetensors").unlink()
    problems, labels, _ = look_at(source)
    path = latents / "shard_00001.safetensors"
    assert problems[0].message == f"{path}: cannot be read: No such file or directory"
    assert {problem.message for problem in problems[1:]} == {
        f"{path}: is missing, and the index lists it; extract it again with --resume"
    }
    assert [problem.id for problem in problems[1:]] == [""] * 4  # their names are in the shard
    assert labels.total() == 6
