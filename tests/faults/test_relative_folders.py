"""A run finds its data, and what it starts from, wherever it goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.train.small import ALONE, VALUES, train
from zoo.assembly import load_recipe
from zoo.errors import DataError
from zoo.recipe import read_tree
from zoo.registry import Registry
from zoo.runs.run_folder import RunFolder
from zoo.train.run import Run, Silent
from zoo.train.same_data import where_it_moved


def go_on(recipe: Path, run: Path, *overrides: str, resume: bool = True) -> int:
    registry = Registry()
    session = Run(load_recipe(recipe, overrides, registry), RunFolder(run), registry, ALONE, Silent())
    return session.train(resume=resume).step


def test_a_run_goes_on_from_another_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(16):
        path = tmp_path / "own" / "pictures" / "ab"[index % 2] / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    start = train(tmp_path / "own" / "start")
    data = {"dataset": {"type": "images", "folder": "pictures"}, "leave_out": "list.txt"}
    (tmp_path / "own" / "list.txt").write_text("a/00.png\n")
    own, run = tmp_path / "own" / "own.yaml", tmp_path / "runs" / "run"
    own.write_text(yaml.safe_dump({**VALUES, "data": data, "train": {**VALUES["train"], "init": "start"}}))
    (tmp_path / "shell").mkdir()
    run.parent.mkdir()

    monkeypatch.chdir(tmp_path / "shell")
    assert go_on(own, run, "train.steps=2", resume=False) == 2
    recorded = read_tree(run / "recipe.yaml").plain()
    assert recorded["data"]["dataset"]["folder"] == str(tmp_path / "own" / "pictures")
    assert recorded["data"]["leave_out"] == ["a/00.png"]
    assert recorded["train"]["init"] == str(start.path)

    monkeypatch.chdir(run)
    assert go_on(run / "recipe.yaml", run, "train.steps=3") == 3
    assert go_on(own, run, "train.steps=4") == 4

    moved, gone = tmp_path / "moved", tmp_path / "own" / "pictures"
    gone.rename(moved)
    with pytest.raises(DataError) as caught:
        go_on(own, run, "train.steps=5")
    way = f"zoo train --resume --run-dir {run} --set data.dataset.folder="
    assert str(caught.value) == f"{gone}: there is no such folder; if it was moved: {way}FOLDER"
    assert go_on(own, run, "train.steps=5", f"data.dataset.folder={moved}") == 5


def test_what_set_says_is_where_the_shell_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        train(tmp_path / "run", "data.dataset={type: images, folder: pictures}")
    assert str(caught.value) == f"{tmp_path}/pictures: there is no such folder"


def test_a_name_on_a_hub_is_no_folder_that_was_moved(tmp_path: Path) -> None:
    def ways(**options: str) -> str:
        part = {"type": "latents", "folder": str(tmp_path), "vae": "stabilityai/sd-vae-ft-ema", **options}
        return where_it_moved(load_recipe("dit_b", {"data.dataset": part}), "zoo train --resume")

    assert ways() == ""
    assert ways(folder="/gone").endswith("zoo train --resume --set data.dataset.folder=FOLDER")
