"""Attributes of arrays: trained, gone on with, shown, drawn by every way to say labels, and judged."""

import json
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import zoo
from tests import commands
from tests.distributed.ranks import run_ranks
from tests.train.drawn import sample, spy, trained_on
from tests.train.small import ALONE, VALUES
from zoo.assembly import build, load_recipe
from zoo.checkpoint_folders import newest_states
from zoo.data.npy import Npy
from zoo.data.pixels import to_pixels
from zoo.data.stream import stream
from zoo.errors import DataError, Preempted, RecipeError, ZooError
from zoo.evaluate.evaluation import evaluate
from zoo.flow import objective_of
from zoo.labels import join
from zoo.parts.class_conditioners import AttributesConditioner
from zoo.plugins import Plugin
from zoo.registry import Registry
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import open_weights
from zoo.train.job import open_job
from zoo.train.run import Run, Silent
from zoo.train.stages import by_stage
from zoo.train.trainer import Trainer

ROWS = 24
NAMES = ["wide", "tall", "bright"]


@zoo.part("dataset", "shown_npy")
class ShownNpy(Npy):
    """Arrays that are pictures."""

    def to_images(self, latents: torch.Tensor) -> torch.Tensor:
        return to_pixels(latents)


def _registry() -> Registry:
    module: Any = ModuleType("shown")
    module.zoo_parts = zoo.hookimpl(lambda: [ShownNpy], specname="zoo_parts")
    registry = Registry()
    registry.register(module, Plugin("shown", "1"))
    return registry


REGISTRY = _registry()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Arrays, each with three attributes, of which the first says which row it is; some are unsaid."""
    path = tmp_path_factory.mktemp("arrays")
    labels = np.random.default_rng(1).random((ROWS, 3), np.float32)
    labels[:, 0] = np.arange(ROWS)
    labels[::5, 2] = np.nan
    np.save(path / "labels.npy", labels)
    np.save(path / "x.npy", np.random.default_rng(0).normal(size=(ROWS, 1, 8, 8)).clip(-1, 1).astype(np.float32))
    return path


def values(folder, **conditioner):
    own = {"num_classes": 0, "class_conditioner": {"type": "attributes", "names": NAMES, "drop": 0.3, **conditioner}}
    data = {"dataset": {"type": "shown_npy", "folder": str(folder)}}
    return {**VALUES, "backbone": {**VALUES["backbone"], **own}, "data": data}


def recipe_of(folder, *overrides):
    return load_recipe(values(folder), overrides, REGISTRY)


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """A run, and the labels of the grids that it drew."""
    return trained_on(recipe_of(folder), REGISTRY, tmp_path_factory.mktemp("runs") / "run")


def job_of(recipe, world=ALONE):
    objective = objective_of(recipe, build(recipe, registry=REGISTRY))
    return open_job(recipe, objective, REGISTRY, world.rank, world.size), objective


def scores_of(pieces):
    """By place in the batch."""
    rows = ((piece.places.tolist(), piece.label_scores.tolist()) for piece in pieces)
    return {place: row for own in rows for place, row in zip(*own, strict=True)}


def seen(pieces, backbone):
    return join([each.labels for piece in pieces for each in by_stage(piece, backbone)])


def test_training_drops_entries_alone_and_together(folder):
    recipe = recipe_of(folder, "objective.label_dropout=0.2", "train.batch=16", "train.steps=20")
    job, objective = job_of(recipe)
    pieces = [piece for step in stream(job.reader, 0, 20) for piece in step]
    labels = seen(pieces, objective.backbone)
    unsaid = labels[:, :2].isnan()
    whole = labels.isnan().all(dim=1)
    assert 0.14 < float(whole.float().mean()) < 0.32  # 0.2, and 0.8 * 0.3 ** 2 or so of the others
    alone = unsaid[~whole].float().mean(dim=0)
    assert ((alone > 0.15) & (alone < 0.4)).all()
    kept = torch.cat([piece.labels for piece in pieces])
    assert torch.equal(kept[:, 0][~unsaid[:, 0]], labels[:, 0][~unsaid[:, 0]])
    assert not kept[:, :2].isnan().any(), "the labels that are read have been changed"


def test_what_is_dropped_hangs_on_step_and_place_alone(folder):
    job, objective = job_of(recipe_of(folder))
    (here,), (ahead,) = (next(stream(job.reader, 2, 3, workers=workers)) for workers in (0, 1))
    first, second = (seen([piece], objective.backbone) for piece in (here, ahead))
    assert str(first.tolist()) == str(second.tolist())
    halved, _ = job_of(recipe_of(folder, "train.accumulate=2"))
    (pieces,) = stream(halved.reader, 2, 3)
    assert scores_of(pieces) == scores_of([here])


def test_none_is_drawn_where_none_is_dropped(folder):
    dropping, whole = (job_of(recipe_of(folder, f"backbone.class_conditioner.drop={drop}"))[0] for drop in (0.3, 0.0))
    one, other = dropping.reader[1, 0], whole.reader[1, 0]
    assert other.label_scores is None
    assert torch.equal(one.noise, other.noise), "noise is another where entries are dropped"
    assert torch.equal(one.drop, other.drop)


def weights_of(path):
    (newest, _), *_ = newest_states(path / "checkpoints")
    files = json.loads((newest / "manifest.json").read_text())["files"]
    return {name: told["sha256"] for name, told in files.items() if name.endswith(".safetensors")}


def test_a_run_goes_on_bit_by_bit(trained, folder, tmp_path):
    path, _ = trained
    recipe = recipe_of(folder)
    with pytest.raises(Preempted):
        Run(recipe, RunFolder(tmp_path / "run"), REGISTRY, ALONE, Silent()).train(stop_at=1)
    Run(recipe, RunFolder(tmp_path / "run"), REGISTRY, ALONE, Silent()).train(resume=True)
    assert weights_of(tmp_path / "run") == weights_of(path)


def losses(world, folder):
    torch.manual_seed(0)
    job, objective = job_of(recipe_of(folder), world)
    return [step.loss for step in Trainer(job, objective, world).run(2)]


def test_two_processes_train_as_one(folder):
    expected = pytest.approx(losses(ALONE, folder), rel=1e-5)
    assert run_ranks(losses, 2, folder) == [expected, expected]


def assert_of_the_dataset(labels, folder, count):
    rows = np.load(folder / "labels.npy")
    numbers = labels[:count, 0].int().tolist()
    assert len(set(numbers)) == count
    assert str(labels[:count].tolist()) == str(rows[numbers].tolist())


def test_grids_samples_and_evaluations_are_of_the_datasets(trained, folder, tmp_path, monkeypatch):
    path, (grid,) = trained
    assert_of_the_dataset(grid, folder, 16)
    asked = spy(monkeypatch)
    record = sample(path, tmp_path / "out", recipe_of(folder, "sample.guidance=2"), REGISTRY)
    assert_of_the_dataset(asked[0], folder, 8)
    assert record["labels_of"] == [f"row {int(row)}" for row in asked[0][:8, 0]]
    asked.clear()
    found = evaluate(open_weights(path, REGISTRY), recipe_of(folder, "evaluate.count=18"), ALONE)
    assert_of_the_dataset(asked[0], folder, 18)
    assert found.record["classes"]["generated"] is None


def test_every_way_to_say_labels(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(Registry, "installed", classmethod(lambda cls: REGISTRY))
    rows = [[1.0, 0.0, None], [None, 1.0, None]]
    array = np.array(rows, np.float32)
    (tmp_path / "own.json").write_text(json.dumps(rows))
    np.save(tmp_path / "own.npy", array)
    np.savez(tmp_path / "own.npz", array)
    ways = {
        "names": ("--labels", "wide=1, tall=0", "--labels", "tall=1"),
        "numbers": ("--labels", "1,0,nan", "--labels", "nan,1,nan"),
        **{suffix: ("--labels-file", tmp_path / f"own.{suffix}") for suffix in ("json", "npy", "npz")},
    }
    asked = spy(monkeypatch)
    drawn = {}
    for name, words in ways.items():
        commands.done("sample", "--run", trained[0], "--out", tmp_path / name, *words)
        drawn[name] = [path.read_bytes() for path in sorted((tmp_path / name).glob("0*.png"))]
    assert {str(each.tolist()) for each in asked} == {"[[1.0, 0.0, nan], [nan, 1.0, nan]]"}
    assert all(each == drawn["names"] for each in drawn.values())
    assert len(drawn["names"]) == 2
    record = json.loads((tmp_path / "names" / "samples.json").read_text())
    assert (record["labels"], record["label_texts"]) == (None, ["wide=1, tall=0", "tall=1"])
    line = commands.refused(commands.zoo("sample", "--run", trained[0], "--out", tmp_path / "o", "--labels", "wde=1"))
    assert line == "--labels wde=1: no attribute is called 'wde'; did you mean 'wide'?"


def test_what_to_give_where_the_dataset_is_not_there(trained, folder, tmp_path):
    with pytest.raises(DataError, match=r"cannot be read: .*, or give labels by --labels or --labels-file$"):
        sample(trained[0], tmp_path / "out", recipe_of(tmp_path / "gone"), REGISTRY)


def test_arrays_that_have_other_labels_are_told_before_the_first_step(folder, tmp_path):
    np.save(tmp_path / "x.npy", np.load(folder / "x.npy"))
    np.save(tmp_path / "labels.npy", np.load(folder / "labels.npy")[:, :2])
    with pytest.raises(ZooError) as caught:
        Run(recipe_of(tmp_path), RunFolder(tmp_path / "run"), REGISTRY, ALONE, Silent()).train()
    assert "attributes does not take the labels of dataset shown_npy: row 0: labels: must be" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dataset_of_classes_is_an_error_of_the_recipe(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = yaml.safe_dump(
        {**values(folder), "data": {"dataset": {"type": "images", "folder": "pictures"}}}, sort_keys=False
    )
    (tmp_path / "r.yaml").write_text(text)
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "type: attributes" in each)
    with pytest.raises(RecipeError) as caught:
        load_recipe("r.yaml", registry=Registry())
    (problem,) = caught.value.problems
    where = f"r.yaml:{line - 1}: backbone.class_conditioner: attributes does not take the labels of dataset images: "
    assert problem.startswith(where)
    assert problem.endswith("got a tensor [2]; set this or data.dataset to what go together")


@pytest.mark.parametrize("labels", [None, "dataset"])
def test_a_dataset_that_does_not_say_what_it_has_is_left_to_training(folder, labels):
    """Nor is one that the recipe leaves out: a backbone can be built and counted without."""
    given = values(folder)
    if labels is None:
        del given["data"]
        given = load_recipe(given, registry=REGISTRY).resolved()  # where the default stands as if it were asked for
    load_recipe(given, registry=REGISTRY)


def test_a_dataset_that_fails_to_say_it(folder, monkeypatch):
    monkeypatch.setattr(ShownNpy, "example_labels", lambda self, batch: {}["gone"])
    with pytest.raises(RecipeError, match=r"data.dataset: shown_npy, of plug-in shown, failed: KeyError: 'gone'"):
        recipe_of(folder)


def test_a_dataset_that_has_such_attributes(folder, monkeypatch):
    monkeypatch.setattr(ShownNpy, "example_labels", lambda self, batch: torch.zeros(batch, 3))
    recipe_of(folder)
    monkeypatch.setattr(ShownNpy, "example_labels", lambda self, batch: torch.zeros(batch, 4))
    with pytest.raises(RecipeError, match=r"does not take the labels of dataset shown_npy: .* \[2, 4\]; set this"):
        recipe_of(folder)


def test_a_conditioner_that_checks_no_further_here_is_left_to_training(folder, monkeypatch):
    def check(self, labels, batch):
        raise NotImplementedError("on the meta device")

    monkeypatch.setattr(ShownNpy, "example_labels", lambda self, batch: torch.zeros(batch, 4))
    monkeypatch.setattr(AttributesConditioner, "check_labels", check)
    recipe_of(folder)
