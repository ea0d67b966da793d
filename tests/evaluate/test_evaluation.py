"""Evaluations: the same for any number of processes, and every process hears of what fails on one."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import zoo
from tests.distributed.ranks import alone, run_ranks
from tests.train.small import ALONE, small
from zoo.assembly import create_parts
from zoo.data import Samples
from zoo.data.base import LOOKED_AT
from zoo.data.digits import Digits, DigitsSource
from zoo.errors import DataError, MissingSplitError, RecipeError, ZooError
from zoo.evaluate import Metric
from zoo.evaluate.evaluation import evaluate
from zoo.evaluate.pca import PCAFeatures
from zoo.plugins import Plugin
from zoo.registry import Registry, part
from zoo.runs.judged import GENERATED, HELD_OUT
from zoo.runs.weights import open_weights
from zoo.sampling.sampler import Sampler
from zoo.train.trial import train_and_judge

REGISTRY = Registry()


def judge(world, path, *overrides, seed=0):
    return evaluate(open_weights(path, REGISTRY), small("evaluate.count=20", *overrides), world, seed=seed)


@pytest.mark.parametrize("ranks", [2, 3])
def test_figures_do_not_depend_on_the_number_of_processes(trained, ranks):
    wanted = alone(judge, trained)  # 20 images in batches of 6: four batches, of which the last is cut
    for found in run_ranks(judge, ranks, trained):
        assert found.figures == wanted.figures
        assert found.record["counts"] == wanted.record["counts"]
        assert found.record["drawing"]["processes"] == ranks


def test_labels_go_with_their_images(trained, monkeypatch):
    asked = []
    monkeypatch.setattr(
        PCAFeatures, "of", lambda self, images, labels: asked.append(labels) or of(self, images, labels)
    )
    judge(ALONE, trained, "evaluate.labels=balanced")
    generated = np.concatenate([labels for labels in asked if len(labels) <= 6])
    assert generated.tolist() == [index % 10 for index in range(20)]


def test_the_classes_of_every_set_are_on_record(trained):
    classes = judge(ALONE, trained, "evaluate.labels=balanced").record["classes"]
    assert classes["generated"] == {str(index): 2 for index in range(10)}
    assert {name: sum(counts.values()) for name, counts in classes.items()} == {
        "real": 1198, "generated": 20, "held-out real": 20
    }  # fmt: skip
    random = judge(ALONE, trained, "evaluate.labels=random").record["classes"]["generated"]
    assert sum(random.values()) == 20
    assert random != classes["generated"]


of = PCAFeatures.of


def test_one_process_reads_the_labels_of_the_data(trained):
    """A dataset that does not tell them otherwise reads whole samples for it."""

    def work(world):
        asked = []
        labels = DigitsSource.labels

        def spied(self, indices):
            asked.append(len(indices))
            return labels(self, indices)

        DigitsSource.labels = spied
        DigitsSource.read = lambda self, indices, random: Samples(
            self._images[torch.from_numpy(indices)], labels(self, indices)
        )
        found = judge(world, trained)
        return asked, found.record["classes"][GENERATED]

    (first, mix), (second, same) = run_ranks(work, 2)
    assert second == []
    assert [count for count in first if count != LOOKED_AT] == [24]  # besides what tells this data from others
    assert mix == same
    assert sum(mix.values()) == 20


def test_every_process_hears_of_what_the_main_one_cannot_do(trained):
    def work(world):
        PCAFeatures.of = refuse
        return judge(world, trained)

    def refuse(self, images, labels):
        if len(images) <= 12:  # of the generated images, not of the real ones
            raise DataError("these images are not to my taste")
        return of(self, images, labels)

    for found in run_ranks(work, 2):
        assert isinstance(found, DataError)
        assert str(found) == "these images are not to my taste"


def test_no_figure_that_can_be_told_is_said_before_anything_is_drawn(trained, monkeypatch):
    monkeypatch.setattr(Sampler, "images", lambda *_: pytest.fail("nothing is to be drawn"))
    with pytest.raises(ZooError, match="none of them can be told from pca"):
        judge(ALONE, trained, "evaluate.metrics=[sfid]")


def test_features_that_lack_a_file_are_told_before_anything_is_opened_or_trained(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(Digits, "open", lambda *_: pytest.fail("nothing is to be read"))
    with pytest.raises(DataError, match=r"set evaluate\.features\.file to "):
        judge(ALONE, trained, "evaluate.features=inception")
    with pytest.raises(DataError, match=r"set evaluate\.features\.file to "):
        train_and_judge(small("evaluate.features=inception"), tmp_path / "run", REGISTRY, ALONE)
    assert not (tmp_path / "run").exists()


def test_a_dataset_without_held_out_images_has_no_floor(trained, monkeypatch):
    def without(self, split="train"):
        if split == "held_out":
            raise MissingSplitError("no images are held out")
        return whole(self, split)

    whole = Digits.open
    monkeypatch.setattr(Digits, "open", without)
    found = judge(ALONE, trained)
    assert set(found.figures) == {GENERATED}
    assert found.record["doubts"][0] == (
        "no floor, figures of real images that training has not seen: no images are held out (of latents, let"
        " `zoo latents` read a folder that is so divided)"
    )
    monkeypatch.undo()
    found = judge(ALONE, trained)
    assert set(found.figures) == {GENERATED, HELD_OUT}
    assert not any("no floor" in each for each in found.record["doubts"])


@pytest.mark.parametrize("choice", ["data", "balanced", "random"])
def test_the_floor_is_of_as_many_images_as_are_drawn(trained, choice, monkeypatch):
    """A Frechet distance is the larger the fewer the images."""
    read, plain = [], DigitsSource.read

    def spied(self, indices, random):
        if len(self) == 599:
            read.extend(indices.tolist())
        return plain(self, indices, random)

    monkeypatch.setattr(DigitsSource, "read", spied)
    found = judge(ALONE, trained, f"evaluate.labels={choice}")
    assert found.record["counts"] == {"real": 1198, GENERATED: 20, HELD_OUT: 20}
    assert len(read) == len(set(read)) == 20, "no image twice, and none in vain"
    assert choice != "balanced" or set(found.record["classes"][HELD_OUT].values()) == {2}
    judge(ALONE, trained, f"evaluate.labels={choice}", seed=1)
    assert len(set(read)) > 20, "others of another seed"


def test_fewer_held_out_images_than_are_drawn_are_all_taken_and_told(trained):
    found = judge(ALONE, trained, "evaluate.count=600", "evaluate.metrics=[fid]", "sample.batch=600", "sample.steps=1")
    assert found.record["counts"] == {"real": 1198, GENERATED: 600, HELD_OUT: 599}
    assert found.record["doubts"] == [
        "the floor is of 599 held-out images, all that there are in that mix of classes, and 600 were drawn: a"
        " Frechet distance of fewer images comes out larger"
    ]


def test_held_out_images_that_cannot_be_read_are_an_error(trained, monkeypatch):
    def damaged(self, split="train"):
        if split == "held_out":
            raise DataError("index.json: is not JSON")
        return whole(self, split)

    whole = Digits.open
    monkeypatch.setattr(Digits, "open", damaged)
    with pytest.raises(DataError, match="is not JSON"):
        judge(ALONE, trained)


@part("metric", "odd")
class Odd(Metric):
    """Fails where it is built, or where it measures."""

    def __init__(self, *, size: int = 1):
        if size > 1:
            raise ValueError("size must be 1")

    def measure(self, real, generated):
        raise KeyError("eigenvalues")


def with_odd():
    registry = Registry()
    registry.register(SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: [Odd])), Plugin("zoo-odd", "1.2"))
    return registry


def test_a_metric_that_fails_is_named_with_its_plug_in(trained):
    registry = with_odd()
    recipe = small("evaluate.count=20", "evaluate.metrics=[fid, odd]", registry=registry)
    found = evaluate(open_weights(trained, registry), recipe, ALONE)
    assert found.record["left_out"][f"odd of {GENERATED}"] == "KeyError: 'eigenvalues' (zoo-odd 1.2)"
    assert "fid" in found.figures[GENERATED]


def test_a_metric_that_refuses_its_options_is_told_with_its_key():
    recipe = small("evaluate.metrics=[fid, odd]", registry=with_odd())
    specs = recipe.evaluate.metrics
    odd = specs[1].model_copy(update={"options": specs[1].options.model_copy(update={"size": 2})})
    section = recipe.evaluate.model_copy(update={"metrics": (specs[0], odd)})
    with pytest.raises(RecipeError, match=r"small: evaluate\.metrics\.1: odd: size must be 1"):
        create_parts(recipe.model_copy(update={"evaluate": section}), "metric")
