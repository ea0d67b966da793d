"""Runs that start from weights of another backbone: train.init with fit: adapt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.distributed.ranks import run_ranks
from tests.train.small import ALONE, STAGES, VALUES, Said, small, train
from zoo.assembly import load_recipe
from zoo.distributed.distributed import Distributed
from zoo.errors import RecipeError, WeightsError
from zoo.recipe import Recipe, absolute, differences, fingerprint
from zoo.recipe.json_schema import recipe_schema
from zoo.registry import Registry
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import open_weights
from zoo.train.run import Run

STILL = "train.learning_rate=1e-30"
"""So that weights are after training what they were before."""
SIX = ({"noise_above": 0.75, "levels": [{"patch": 8, "blocks": 2}]}, *STAGES)


@pytest.fixture(scope="module")
def donor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("runs") / "donor", "train.seed=5", "train.steps=3").path


def adapting(donor: Path, *overrides: str) -> Recipe:
    return small(f"train.init={{weights: {donor}, fit: adapt}}", STILL, "train.steps=2", *overrides)


def begun(recipe: Recipe, path: Path, world: Distributed = ALONE, **options: bool) -> tuple[RunFolder, list[str]]:
    said, folder = Said(), RunFolder(path)
    Run(recipe, folder, Registry(), world, said).train(**options)
    return folder, said.said


def test_a_run_starts_from_what_fits_and_says_what_became_of_the_rest(donor: Path, tmp_path: Path) -> None:
    recipe = adapting(donor, f"backbone.patch_schedule.stages={json.dumps(SIX)}")
    folder, said = begun(recipe, tmp_path / "run")
    lines = [line.removeprefix("train.init: ") for line in said if line.startswith("train.init: ")]
    assert lines == ["head: of patch 8x8 from the donor's 4x4: of the pixels' mean"]
    assert f"starting from {donor}" in said
    own, theirs = (open_weights(each, Registry(), weights="raw").tensors for each in (tmp_path / "run", donor))
    averaged = open_weights(donor, Registry()).tensors
    for name, tensor in averaged.items():
        if name != "stage_embedder.embedding.weight":
            torch.testing.assert_close(own[name], tensor, rtol=0.0, atol=1e-6)
    assert not torch.equal(theirs["blocks.0.mlp.fc1.weight"], averaged["blocks.0.mlp.fc1.weight"])
    (start,) = json.loads(folder.versions.read_text())
    assert start["init"]["adapted"] == lines
    _, again = begun(recipe, tmp_path / "run", resume=True)
    assert not [line for line in again if line.startswith(("train.init: ", "starting from"))]


def test_weights_of_the_same_backbone_are_taken_as_they_are(donor: Path, tmp_path: Path) -> None:
    folder, said = begun(adapting(donor), tmp_path / "run")
    assert not [line for line in said if line.startswith("train.init: ")]
    (start,) = json.loads(folder.versions.read_text())
    assert "adapted" not in start["init"]


def started_by_many(world: Distributed, recipe: Recipe, path: Path) -> list[str]:
    return begun(recipe, path, world)[1]


def test_processes_start_from_the_same(donor: Path, tmp_path: Path) -> None:
    """Also where classes that the donor has not known are drawn."""
    recipe = adapting(donor, "backbone.num_classes=12", "backbone.latent={channels: 1, height: 16, width: 16}")
    _, said = begun(recipe, tmp_path / "one")
    told = [line for line in said if line.startswith("train.init: ")]
    assert (
        "train.init: class_conditioner: 12 classes (10 in the donor): 10 are the donor's of the same name, 2 start anew"
        in told
    )
    (first, _) = run_ranks(started_by_many, 2, recipe, tmp_path / "two")
    assert [line for line in first if line.startswith("train.init: ")] == told
    one, two = (open_weights(tmp_path / each, Registry(), weights="raw").tensors for each in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0.0, atol=1e-20)


def test_exact_weights_of_another_backbone_are_refused_with_the_way_to_take_them(donor: Path, tmp_path: Path) -> None:
    recipe = small(f"train.init={donor}", "backbone.num_classes=12")
    with pytest.raises(WeightsError) as refused:
        begun(recipe, tmp_path / "run")
    assert f"; train.init={{weights: {donor}, fit: adapt}} takes of them what fits; the file's values" in str(
        refused.value
    )
    assert not (tmp_path / "run").exists()


def test_a_start_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone: there is no such weight file or run; train.init of small starts"):
        begun(adapting(tmp_path / "gone"), tmp_path / "run")


def test_exact_is_written_in_one_way() -> None:
    plain, mapping = small("train.init=/a/w.safetensors"), small("train.init={weights: /a/w.safetensors, fit: exact}")
    assert plain.resolved() == mapping.resolved()
    assert mapping.train.init == "/a/w.safetensors"
    with pytest.raises(RecipeError, match=r"classes are of weights that are adapted; set fit: adapt"):
        small("train.init={weights: /a/w.safetensors, classes: [0, null]}")


def test_the_weights_may_have_moved_and_how_they_are_fitted_counts() -> None:
    one, moved, other, exact = (
        small(f"train.init={init}").resolved()
        for init in (
            "{weights: /a/w, fit: adapt}",
            "{weights: /b/w, fit: adapt}",
            "{weights: /b/v, fit: adapt}",
            "/a/w",
        )
    )
    assert fingerprint(one) == fingerprint(moved)
    assert differences(one, other) == ['train.init.weights: "w" and "v"']
    assert fingerprint(one) != fingerprint(exact)


def test_a_path_in_the_mapping_is_relative_to_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({**VALUES, "train": {"init": {"weights": "w.safetensors", "fit": "adapt"}}})
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    found = load_recipe(tmp_path / "r.yaml").train.start
    assert found is not None
    assert (found.weights, found.fit) == (str(tmp_path / "w.safetensors"), "adapt")
    monkeypatch.chdir(tmp_path)
    start = absolute(small("train.init={weights: x/w.safetensors, fit: adapt}")).train.start
    assert start is not None
    assert start.weights == str(tmp_path / "x" / "w.safetensors")


@pytest.mark.parametrize(
    ("init", "told"),
    [
        ("{weights: w, fit: some}", "train.init.fit: "),
        ("{fit: adapt}", "train.init.weights: missing"),
        ("{from: w}", "train.init.from: unknown option"),
        ("3", "train.init: should be text, got 3"),
    ],
)
def test_what_is_no_start_is_told(init: str, told: str) -> None:
    with pytest.raises(RecipeError) as refused:
        small(f"train.init={init}")
    assert told in str(refused.value)


def test_the_schema_knows_the_forms_of_options() -> None:
    schema = recipe_schema(Registry())
    references = {each for each in json.dumps(schema).split('"') if each.startswith("#/$defs/")}
    assert {"#/$defs/Start", "#/$defs/Profile"} <= references
    for each in references:
        name, *below = each.removeprefix("#/$defs/").split("/")
        found = schema["$defs"][name]
        for key in below:
            found = found[key]
