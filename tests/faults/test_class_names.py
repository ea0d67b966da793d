"""Classes keep their names from the data to the picture; and no class is drawn, or judged, that has no samples."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from tests.faults.test_changed_data import draw, train
from tests.train.small import ALONE, small
from zoo.cli import app
from zoo.evaluate.evaluation import evaluate
from zoo.registry import Registry
from zoo.runs.weights import open_weights
from zoo.sampling.sampler import Sampler

NAMES = ["2", "10", "11"]
WARNING = (
    "warning: backbone.num_classes is 10, and the data has samples of 3 classes; the other 7 are not trained, and are"
    " drawn only by --labels"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten classes on pictures of three, whose names are numbers, and a weight file of it."""
    root = tmp_path_factory.mktemp("names")
    for label, name in enumerate(NAMES):
        for place in range(4 - label):
            draw(root / "pictures" / name / f"{place}.png", 10 * label + place)
    asked: list[list[int]] = []
    with pytest.MonkeyPatch.context() as patch:
        listen(patch, asked)
        where = ("data.dataset.type=images", f"data.dataset.folder={root / 'pictures'}")
        assert train(root / "run", *where) == [WARNING]
    assert asked == [[0, 1, 2] * 5 + [0]]  # the grid
    told = zoo("export", root / "run", "--to", "zoo", "--out", root / "file.safetensors")
    assert told.endswith("file.safetensors\n")
    return root


def listen(patch: pytest.MonkeyPatch, asked: list[list[int]]) -> None:
    images = Sampler.images

    def heard(self: Sampler, backbone: Any, labels: Any, *rest: Any) -> Any:
        asked.append(labels.tolist())
        return images(self, backbone, labels, *rest)

    patch.setattr(Sampler, "images", heard)


def zoo(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == code, result.stderr
    return result.stderr


def sample(of: Path, out: Path, *options: object, code: int = 0) -> tuple[dict[str, Any], str]:
    said = zoo("sample", "--run", of, "--out", out, *options, code=code)
    return (json.loads((out / "samples.json").read_text()) if code == 0 else {}), said


def test_names_are_kept_in_the_run_its_state_and_weight_files(root: Path) -> None:
    assert json.loads((root / "run" / "run.json").read_text())[-1]["classes"] == NAMES
    state = json.loads((root / "run" / "checkpoints" / "step_00000003" / "state.json").read_text())
    assert (state["classes"], state["data"]["counts"]) == (NAMES, [4, 3, 2])
    with safe_open(root / "file.safetensors", "pt") as file:
        assert json.loads(file.metadata()["classes"]) == NAMES


@pytest.mark.parametrize("of", ["run", "file.safetensors"])
def test_a_number_is_always_a_label(root: Path, tmp_path: Path, of: str) -> None:
    record, said = sample(root / of, tmp_path / "out", "--labels", "2", "--labels", "0")
    assert record["labels"] == [2, 0]
    assert record["class_names"] == {"0": "2", "2": "11"}
    assert said.startswith("note: --labels 2 is class 2, '11'; the class called '2' is 0\n")


@pytest.mark.parametrize("of", ["run", "file.safetensors"])
@pytest.mark.parametrize("choice", ["balanced", "random"])
def test_only_classes_that_have_samples_are_drawn(root: Path, tmp_path: Path, of: str, choice: str) -> None:
    record, _ = sample(root / of, tmp_path / "out", "--count", 40, "--set", f"sample.labels={choice}")
    assert set(record["classes"]) == {"0", "1", "2"}


def test_a_class_without_samples_is_drawn_if_asked_for(root: Path, tmp_path: Path) -> None:
    record, said = sample(root / "run", tmp_path / "out", "--labels", "7,1")
    assert record["labels"] == [7, 1]
    assert "warning: --labels: class 7 had no samples in training; its images mean nothing\n" in said


def test_a_class_that_there_is_not(root: Path, tmp_path: Path) -> None:
    _, said = sample(root / "run", tmp_path / "out", "--labels", "cat", code=2)
    assert said == "error: --labels cat: no class is called 'cat'; there are '2', '10', '11'\n"


@pytest.mark.parametrize("choice", ["balanced", "random"])
def test_only_classes_that_have_samples_are_judged(root: Path, choice: str) -> None:
    registry = Registry()
    where = ("data.dataset.type=images", f"data.dataset.folder={root / 'pictures'}", "data.dataset.flip=false")
    recipe = small(*where, f"evaluate.labels={choice}", "evaluate.count=30", registry=registry)
    found = evaluate(open_weights(root / "run", registry), recipe, ALONE)
    assert set(found.record["classes"]["generated"]) == {"0", "1", "2"}


def test_data_whose_classes_are_called_otherwise_is_a_doubt(root: Path, tmp_path: Path) -> None:
    """Its labels are of other classes than the model knows."""
    shutil.copytree(root / "pictures", tmp_path / "pictures")
    (tmp_path / "pictures" / "2").rename(tmp_path / "pictures" / "12")
    registry = Registry()
    where = ("data.dataset.type=images", f"data.dataset.folder={tmp_path / 'pictures'}", "data.dataset.flip=false")
    recipe = small(*where, "evaluate.count=30", registry=registry)
    found = evaluate(open_weights(root / "run", registry), recipe, ALONE)
    assert found.record["doubts"][0] == (
        "the classes are not those of training: class 0 was '2', and is '10'; figures by class compare what is not"
        " alike"
    )
    assert found.record["class_names"] == {"0": "2", "1": "10", "2": "11"}


@pytest.mark.parametrize("of", ["run", "file.safetensors"])
def test_starting_from_weights_of_other_classes_is_warned_of(root: Path, tmp_path: Path, of: str) -> None:
    shutil.copytree(root / "pictures", tmp_path / "pictures")
    where = ("data.dataset.type=images", f"data.dataset.folder={tmp_path / 'pictures'}", f"train.init={root / of}")
    assert train(tmp_path / "same", *where) == [WARNING, f"starting from {root / of}"]
    (tmp_path / "pictures" / "10").rename(tmp_path / "pictures" / "cat")
    other = f"warning: {root / of}: has learned other classes than those of the data: class 0 was '2', and is '11'"
    assert train(tmp_path / "other", *where) == [WARNING, other, f"starting from {root / of}"]


def test_weights_that_are_adapted_by_number_are_warned_of_too(root: Path, tmp_path: Path) -> None:
    """Also where other lines say what was made of them, and none is of classes."""
    shutil.copytree(root / "pictures", tmp_path / "pictures")
    for name in NAMES:
        (tmp_path / "pictures" / name).rename(tmp_path / "pictures" / f"a{name}")
    where = ("data.dataset.type=images", f"data.dataset.folder={tmp_path / 'pictures'}")
    larger = (f"train.init={{weights: {root / 'run'}, fit: adapt}}", "backbone.latent.size=[24, 24]")
    told = train(tmp_path / "other", *where, *larger)
    other = f"warning: {root / 'run'}: has learned other classes than those of the data: class 0 was '2', and is 'a10'"
    assert [line for line in told if "class" in line] == [WARNING, other]
