"""Runs and samples that would come to lie among the data, and be trained on, are refused before anything is made."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.train.small import ALONE, small, train
from zoo.data.folders import list_images
from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.runs.checkpoint import latest
from zoo.sampling.beside_data import refuse_inside_data
from zoo.sampling.images import SampleRun, draw_samples

REGISTRY = Registry()


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Of two classes, and the working folder."""
    for index in range(16):
        path = tmp_path / "pictures" / "ab"[index % 2] / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    (tmp_path / "link").symlink_to(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path / "pictures")
    return tmp_path / "pictures"


def data(folder):
    return f"data.dataset={{type: images, folder: '{folder}'}}"


@pytest.mark.parametrize("folder", [".", "../link", ".."])
@pytest.mark.parametrize("run", ["runs/small", "../link/small"])
def test_a_run_in_the_folder_of_its_data_is_refused(folder, run, pictures):
    before = sorted(os.walk(pictures))
    with pytest.raises(
        ZooError, match=r"small: lies in .*, the data\.dataset\.folder, and would be .*another --run-dir"
    ):
        train(pictures / run, data(folder))
    assert sorted(os.walk(pictures)) == before


def test_what_no_split_would_read_is_no_part_of_the_data(pictures, tmp_path):
    whole = tmp_path / "whole"
    shutil.copytree(pictures, whole / "train")
    recipe = small(data(whole))
    with pytest.raises(ZooError, match="would be taken for a part of the data"):  # or there would be no split
        refuse_inside_data(whole / "runs" / "x", recipe, "")
    shutil.copytree(pictures, whole / "held_out")
    for path in (whole / "runs" / "x", whole / "train" / ".runs" / "x", whole / ".x"):
        refuse_inside_data(path, recipe, "")
    for path in (whole, whole / "train" / "x", whole / "held_out" / "a" / "x"):
        with pytest.raises(ZooError, match="would be taken for a part of the data"):
            refuse_inside_data(path, recipe, "")
    train(whole / "runs" / "x", data(whole), "train.steps=1")
    assert len(list_images(whole)) == len(list_images(whole, "held_out")) == 16


def test_a_run_beside_latents_that_an_index_names_is_no_part_of_them(tmp_path):
    folder = tmp_path / "latents"
    (folder / "train").mkdir(parents=True)
    latents = small(f"data.dataset={{type: latents, folder: '{folder}'}}")
    refuse_inside_data(folder / "train" / "x", latents, "")
    with pytest.raises(ZooError, match="would be taken for a part of the data"):
        refuse_inside_data(folder / "runs", latents, "")
    (folder / "held_out").mkdir()
    refuse_inside_data(folder / "runs", latents, "")
    (folder / "held_out").rmdir()
    (folder / "train").rmdir()
    refuse_inside_data(folder / "runs" / "train", latents, "")
    with pytest.raises(ZooError, match="would be taken for a part of the data"):
        refuse_inside_data(folder / "train" / "x", latents, "")


def test_a_run_that_was_moved_among_its_data_goes_on_as_far_as_the_data_is_the_same(pictures, tmp_path):
    train(tmp_path / "run", data(pictures), "train.steps=1")
    shutil.move(tmp_path / "run", pictures / ".run")
    moved = train(pictures / ".run", data(pictures), "train.steps=2", resume=True)
    checkpoint, _ = latest(moved.checkpoints)
    assert checkpoint is not None
    assert checkpoint.step == 2


def test_samples_in_the_folder_of_the_data_are_refused(pictures, tmp_path):
    run = train(tmp_path / "run", data(pictures), "train.steps=1").path
    request = SampleRun(run=run, out=pictures / "drawn", weights="ema", labels=(), count=2, seed=0, npz=False)
    with pytest.raises(ZooError, match=r"drawn: lies in .*pictures, the data\.dataset\.folder.*; choose another --out"):
        draw_samples(request, small(data(pictures), "train.steps=1", registry=REGISTRY), REGISTRY, ALONE)
    assert not (pictures / "drawn").exists()
