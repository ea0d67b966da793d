"""Labels that are several tensors by name go from the dataset to the conditioner, wherever tensors go."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import zoo
from tests.distributed.ranks import alone, run_ranks
from tests.train.drawn import sample, spy, trained_on
from tests.train.named import CLASSES, BarSource, ClassAndSize, named, named_registry
from tests.train.small import ALONE
from zoo.assembly import build
from zoo.audit import activation_memory, audit
from zoo.data.check import check
from zoo.data.fingerprint import digest_of_labels
from zoo.data.left_out import find_left_out
from zoo.data.stream import Batch, stream
from zoo.errors import ZooError
from zoo.evaluate.evaluation import evaluate
from zoo.flow import GuidedVelocity, Objective, objective_of
from zoo.flow.guidance import ClassifierFreeGuidance
from zoo.labels import drop, join, rows
from zoo.runs.weights import open_weights
from zoo.testing import check_assemblies, check_part
from zoo.train.job import open_job
from zoo.train.trainer import Trainer
from zoo.weights import filled

REGISTRY = named_registry()
LABELS = {"class": torch.tensor([2, 0, 3, 1]), "size": torch.tensor([[2.0, 1], [3, 1], [0, 0], [4, 1]])}
"""Of four samples, the third says nothing."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and the labels of the grid that it drew."""
    return trained_on(named(registry=REGISTRY), REGISTRY, tmp_path_factory.mktemp("runs") / "named")


@pytest.fixture
def backbone(trained):
    return filled(open_weights(trained[0], REGISTRY), torch.device("cpu"))


def assert_of_the_dataset(labels, count):
    """Those of as many different samples, each of one sample."""
    assert labels.keys() == {"class", "size"}
    assert (labels["class"] == labels["size"][:, 0] % CLASSES).all()
    assert len(set(labels["size"][:count, 0].tolist())) == count


def job_of(*overrides, world=ALONE):
    recipe = named(*overrides, registry=REGISTRY)
    objective = objective_of(recipe, build(recipe))
    return open_job(recipe, objective, REGISTRY, world.rank, world.size), objective


def pieces(workers):
    job, _ = job_of("train.accumulate=2")
    return [piece for step in stream(job.reader, 0, 4, workers=workers) for piece in step]


def test_they_come_with_their_samples_also_from_workers():
    for read_here, read_ahead in zip(pieces(0), pieces(2), strict=True):
        for piece in (read_here, read_ahead):
            assert piece.labels["size"][:, 0].tolist() == piece.indices.tolist()
            assert piece.labels["class"].tolist() == (piece.indices % CLASSES).tolist()


def test_all_of_a_batch_is_in_page_locked_memory(monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(id(self)) or self.clone())
    places, latents = torch.zeros(2, dtype=torch.int64), torch.zeros(2, 1, 1, 1)
    labels = {"class": places.clone(), "size": torch.ones(2, 2)}
    numbers = (torch.zeros(2), torch.ones(2), torch.full((2,), 2.0))
    batch = Batch(latents, labels, latents.clone(), *numbers, places > 1, places, places.clone(), counts=(2,))
    assert batch.pin_memory().labels["size"].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    own = [*labels.values(), *(each for each in vars(batch).values() if isinstance(each, torch.Tensor))]
    assert sorted(pinned) == sorted(map(id, own))


def test_training_drops_all_of_a_label_or_nothing(monkeypatch):
    seen = []
    forward = ClassAndSize.forward
    monkeypatch.setattr(ClassAndSize, "forward", lambda self, labels: seen.append(labels) or forward(self, labels))
    job, objective = job_of()
    next(Trainer(job, objective, ALONE).run(1))
    labels, piece = join(seen), job.reader[0, 0]  # of all stages, and what was read
    dropped = labels["class"] == CLASSES
    assert 0 < int(dropped.sum()) == int(piece.drop.sum()) < len(piece.drop)
    assert labels["size"][dropped].tolist() == [[0.0, 0.0]] * int(dropped.sum())
    kept = sorted(labels["size"][~dropped, 0].tolist())
    assert kept == sorted(piece.labels["size"][~piece.drop, 0].tolist())


def test_labels_of_another_shape_are_refused_before_they_come_to_the_device(monkeypatch):
    job, objective = job_of()
    plain = type(job.reader).read

    def read(self, step, piece):
        batch = plain(self, step, piece)
        return replace(batch, labels={**batch.labels, "size": batch.labels["size"][:, :1]})

    monkeypatch.setattr(type(job.reader), "read", read)
    monkeypatch.setattr(Objective, "forward", None)
    with pytest.raises(ValueError, match=r"labels: must be class \[\d+\] and size"):
        next(Trainer(job, objective, ALONE).run(1))


def losses(world, parallel):
    torch.manual_seed(0)
    job, objective = job_of(f"train.parallel={parallel}", world=world)
    return [step.loss for step in Trainer(job, objective, world).run(3)]


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_train_on_them_as_one(parallel):
    expected = pytest.approx(alone(losses, "ddp"), rel=1e-5)
    assert run_ranks(losses, 2, parallel) == [expected, expected]


def test_grids_samples_and_evaluations_are_of_the_datasets(trained, tmp_path, monkeypatch):
    path, (grid,) = trained
    assert_of_the_dataset(grid, 16)
    asked = spy(monkeypatch)
    record = sample(path, tmp_path / "out", named("sample.guidance=2", registry=REGISTRY), REGISTRY)
    assert_of_the_dataset(asked[0], 8)
    assert record["labels_of"] == [f"bar {int(index)}" for index in asked[0]["size"][:8, 0]]
    asked.clear()
    found = evaluate(open_weights(path, REGISTRY), named("evaluate.count=18", registry=REGISTRY), ALONE)
    assert_of_the_dataset(asked[0], 18)
    assert found.record["classes"] == {"real": None, "generated": None, "held-out real": None}


def test_in_python_they_are_given_as_a_mapping(backbone):
    listed = {name: own.tolist() for name, own in LABELS.items()}
    assert torch.equal(zoo.sample(backbone, LABELS, steps=2), zoo.sample(backbone, listed, steps=2))
    fewer = zoo.sample(backbone, rows(LABELS, slice(2)), steps=2)
    torch.testing.assert_close(fewer, zoo.sample(backbone, LABELS, steps=2)[:2])


def test_guidance_by_hand(backbone):
    noise, t = torch.randn(4, 1, 8, 8), torch.full((4,), 0.7)
    null = backbone.class_conditioner.null(LABELS)
    assert {name: own.tolist() for name, own in rows(null, slice(1)).items()} == {"class": [3], "size": [[0.0, 0.0]]}
    with torch.no_grad():
        guidance = ClassifierFreeGuidance(2, backbone.latent, scale=2.0)
        guided = GuidedVelocity(backbone, noise, LABELS, guidance, [0.7])(noise, 0.7)
        c, u = (backbone(noise, t, each) for each in (LABELS, null))
    assert torch.allclose(guided, u + 2.0 * (c - u), atol=1e-5)
    assert torch.equal(c[2], u[2])


def test_samples_of_several_stages_keep_their_labels(backbone):
    noise, t = torch.randn(4, 1, 8, 8), torch.tensor([0.9, 0.1, 0.2, 0.8])
    with torch.no_grad():
        together = backbone(noise, t, LABELS)
        for one in (slice(index, index + 1) for index in range(4)):
            torch.testing.assert_close(together[one], backbone(noise[one], t[one], rows(LABELS, one)))


def test_an_audit_counts_them():
    recipe, by_class = (named(*each, registry=REGISTRY) for each in ((), ("backbone.class_conditioner=embedding",)))
    pairs = zip(audit(recipe).stages, audit(by_class).stages, strict=True)
    assert [own.macs - other.macs for own, other in pairs] == [2 * 16, 2 * 16]  # of the projection
    backbone = build(recipe, registry=REGISTRY, device="meta")
    assert all(activation_memory(backbone, recipe).stage_bytes)


def test_the_kit_takes_them():
    check_part(ClassAndSize, supplied={"num_classes": CLASSES}, examples=3)
    check_assemblies(REGISTRY, examples=3, class_conditioner="class_and_size")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2], r"labels: must be class \[2\] and size \[2, 2\]"),
        ({"class": [1, 2]}, r"labels: must be class \[2\] and size \[2, 2\]"),
        ({"class": [1, 2], "size": [[1.0, 1.0]]}, "labels: must have a row for each .*, got rows: class 2, size 1"),
        ({"class": [], "size": []}, r"labels: give one for each latent, such as \[3, 5\]"),
        ({"class": ["cat"], "size": [[1, 1]]}, r"labels: give numbers, one for each latent, .* not {'class': \['cat"),
        ({}, "labels: must be a tensor .*, got a mapping of nothing"),
        (None, "labels: ClassAndSize takes labels that are no class indices.*; give labels="),
    ],
)
def test_what_the_conditioner_does_not_take_is_told_in_a_line(backbone, labels, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        zoo.sample(backbone, labels, steps=1)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "data.dataset.unnamed=true",
            r"class_conditioner class_and_size does not take the labels of dataset bars: bar 0: labels: must be class",
        ),
        (
            "backbone.class_conditioner=embedding",
            r"class_conditioner embedding does not take the labels of dataset bars: bar 0: labels: must be class"
            r" indices \[1\] in one tensor, got a mapping of class, size",
        ),
    ],
)
def test_a_dataset_of_other_labels_is_refused_before_training(override, message):
    with pytest.raises(ZooError, match=message):
        job_of(override)


def test_a_null_of_other_names_is_told(backbone):
    with pytest.raises(
        ValueError, match="labels: must be alike to go together, got a mapping of class, size and a ten"
    ):
        drop(LABELS, LABELS["class"], LABELS["class"] > 1)


def test_a_look_at_all_data_counts_no_classes():
    source = BarSource((1, 8, 8), unnamed=False)
    works = list(check(source, find_left_out(source, ("bar 3",)), num_classes=2))
    assert [work.problems for work in works] == [()]
    assert not works[0].labels
    unnamed = next(iter(check(BarSource((1, 8, 8), unnamed=True), find_left_out(source, ()), num_classes=2)))
    assert len(unnamed.problems) == 8


def test_a_fingerprint_tells_them_apart():
    indices = np.arange(4)
    labels = BarSource((1, 8, 8), unnamed=False).labels(indices)
    digests = [
        digest_of_labels(each)
        for each in (labels, labels["class"], {"size": labels["size"]}, {**labels, "class": labels["class"] + 1})
    ]
    assert len(set(digests)) == 4
    assert digest_of_labels(dict(reversed(labels.items()))) == digests[0]
