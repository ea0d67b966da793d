"""The other weights that guidance asks for: found, held to what is drawn, and put on record."""

import json
from pathlib import Path

import pytest
import torch

import zoo
from tests.sampling.test_images import draw, record_of
from tests.train.small import ALONE, small, train
from zoo.data.base import Statistics
from zoo.data.digits import DigitsSource
from zoo.errors import NumericError, WeightsError, ZooError
from zoo.evaluate.evaluation import evaluate
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import open_weights
from zoo.testing.cases import randomise


def guided_by(path, scale=3.0):
    return f"sample.guidance={{type: autoguidance, scale: {scale}, weights: {path}}}"


def scaled(factor):
    return f"data.normalize={{type: scale, factor: {factor}}}"


@pytest.fixture
def worse(tmp_path, registry):
    """A weight file of a smaller backbone."""
    recipe = small("backbone.dim=8", "backbone.patch_schedule={type: uniform, patch: 4}", registry=registry)
    backbone = zoo.build(recipe)
    randomise(backbone, 0, std=0.2)
    zoo.save(backbone, tmp_path / "worse.safetensors")
    return tmp_path / "worse.safetensors"


def test_images_are_guided_by_a_file_and_by_a_run(run, worse, tmp_path, registry):
    plain, by_file, by_itself = (
        draw(run, tmp_path / name, registry, *given)
        for name, given in {"plain": (), "file": (guided_by(worse),), "self": (guided_by(run),)}.items()
    )
    assert any((a != b).any() for a, b in zip(plain, by_file, strict=True))
    assert all((a == b).all() for a, b in zip(plain, by_itself, strict=True))  # which differ by nothing
    kept = record_of(tmp_path / "file")
    assert kept["second_weights"]["weights_sha256"] == open_weights(worse, registry).source["weights_sha256"]
    assert kept["sample"]["guidance"]["weights"] == str(worse)
    assert record_of(tmp_path / "self")["second_weights"]["checkpoint"] == "step_00000003"
    assert "second_weights" not in record_of(tmp_path / "plain")


def test_zoo_sample_is_given_them(run, worse, registry):
    backbone, second = zoo.load(run, registry=registry), zoo.load(worse, registry=registry)
    given = {"labels": [1, 2], "steps": 2, "registry": registry}
    plain = zoo.sample(backbone, **given)
    guided = zoo.sample(backbone, guidance={"type": "autoguidance", "scale": 3.0}, second=second, **given)
    assert not torch.equal(guided, plain)
    with pytest.raises(ValueError, match="second: the guidance asks for no other weights"):
        zoo.sample(backbone, guidance=3.0, second=second, **given)


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("null", ZooError, "small: sample.guidance.weights: missing; name a weight file of zoo's, or a run"),
        ("nowhere", WeightsError, "small: sample.guidance.weights: .*nowhere: there is no such weight file or run"),
        ("wide.safetensors", WeightsError, "its latents are 1 x 8 x 16, and those that are drawn 1 x 8 x 8"),
        ("few.safetensors", WeightsError, "it has 3 classes, and what is drawn 10"),
        (
            "halved.safetensors",
            WeightsError,
            r"halved.safetensors: it has learned latents that are normalised otherwise \(what is drawn first\):"
            r' data.normalize.type: "none" and "scale"; data.normalize.factor: nothing and 0.5;',
        ),
    ],
)
def test_what_cannot_guide_is_refused_before_anything_is_drawn(
    run, tmp_path, registry, monkeypatch, path, error, message
):
    monkeypatch.chdir(tmp_path)
    zoo.save(zoo.build(small("backbone.latent.width=16", registry=registry)), "wide.safetensors")
    zoo.save(zoo.build(small("backbone.num_classes=3", registry=registry)), "few.safetensors")
    zoo.save(zoo.build(small(scaled(0.5), registry=registry)), "halved.safetensors")
    with pytest.raises(error, match=message) as caught:
        draw(run, tmp_path / "out", registry, guided_by(path))
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(error, match=message):  # and before training
        train(tmp_path / "new", guided_by(path))
    assert not (tmp_path / "new" / "metrics.jsonl").exists()


def test_latents_may_be_normalised_alike_in_other_words(run, tmp_path, registry):
    zoo.save(zoo.build(small(scaled(1.0), registry=registry)), tmp_path / "once.safetensors")
    assert draw(run, tmp_path / "out", registry, guided_by(tmp_path / "once.safetensors"))


def test_a_run_is_guided_by_what_has_learned_latents_at_its_own_scale(tmp_path, registry, monkeypatch):
    """Which is known once its data is open."""
    monkeypatch.setattr(DigitsSource, "statistics", Statistics((0.5,), (0.25,)))
    for mean in (0.5, 0.0):
        given = f"data.normalize={{type: per_channel, mean: [{mean}], std: [0.25]}}"
        zoo.save(zoo.build(small(given, registry=registry)), tmp_path / f"{mean}.safetensors")
    own = ("data.normalize=per_channel", "train.steps=1")
    assert train(tmp_path / "guided", *own, guided_by(tmp_path / "0.5.safetensors")).is_used
    with pytest.raises(
        WeightsError, match=r"normalised otherwise .*: data.normalize.mean.*: 0.5 and 0.0; take weights of the same"
    ):
        train(tmp_path / "other", *own, guided_by(tmp_path / "0.0.safetensors"))


def test_by_a_scale_of_one_they_are_not_asked_for(run, tmp_path, registry):
    assert draw(run, tmp_path / "out", registry, guided_by("nowhere", scale=1.0))


def test_images_are_not_gone_on_with_by_other_weights(run, worse, tmp_path, registry, monkeypatch):
    def fail(self, *given):
        raise NumericError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr("zoo.sampling.sampler.Sampler.images", fail)
        with pytest.raises(NumericError, match="stopped"):
            draw(run, tmp_path / "out", registry, guided_by(worse))
    other = zoo.load(worse, registry=registry)
    randomise(other, 1, std=0.2)
    worse.unlink()
    zoo.save(other, worse)
    with pytest.raises(
        WeightsError, match=r"sample\.guidance\.weights: holds other weights than those that the images"
    ):
        draw(run, tmp_path / "out", registry, guided_by(worse), resume=True)


def test_figures_and_pictures_of_a_run_are_guided(worse, tmp_path, registry):
    folder = train(tmp_path / "guided", guided_by(worse))
    assert list(Path(folder.samples).glob("*.png"))
    recipe = small("evaluate.count=6", guided_by(worse), registry=registry)
    found = evaluate(open_weights(folder.path, registry), recipe, ALONE, registry=registry).to_dict()
    assert found["second_weights"]["weights_sha256"] == open_weights(worse, registry).source["weights_sha256"]
    RunFolder(folder.path).write_evaluation(found)
    assert json.dumps(found)
