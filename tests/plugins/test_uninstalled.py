"""Runs and weight files that were made while a plug-in was installed, and are used without it."""

from __future__ import annotations

import shutil
import warnings

import pytest
import torch

from tests.plugins.site import block, fake
from tests.train.small import ALONE, small
from zoo.errors import PluginError
from zoo.registry import Registry
from zoo.runs.metrics_file import read_losses
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import load, open_weights
from zoo.train.run import Run, Silent
from zoo.weights import write_weights


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs with the plug-in installed, one that uses it and one that does not; and a weight file of each."""
    folder = tmp_path_factory.mktemp("made")
    site = fake(folder / "site", "passing", {"zoo.parts": "block/passing = passing:Fake"}, block("passing"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        registry = Registry.installed()
        for name, own in {"theirs": "passing", "ours": "dit"}.items():
            recipe = small(f"backbone.block={own}", registry=registry)
            Run(recipe, RunFolder(folder / name), registry, ALONE, Silent()).train()
            given = open_weights(folder / name, registry)
            write_weights(folder / f"{name}.safetensors", given.tensors, given.recipe, versions=given.versions)
    return folder


@pytest.mark.parametrize("name", ["ours", "ours.safetensors"])
def test_what_does_not_use_it_loads_as_before(made, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backbone = load(made / name)
    assert all(torch.equal(*pair) for pair in zip(backbone.parameters(), load(made / "ours").parameters(), strict=True))


def test_and_a_run_goes_on(made, tmp_path):
    registry = Registry.installed()
    run = RunFolder(shutil.copytree(made / "ours", tmp_path / "ours"))
    Run(small("train.steps=4", registry=registry), run, registry, ALONE, Silent()).train(resume=True)
    assert len(read_losses(run.metrics)[0]) == 4


@pytest.mark.parametrize("name", ["theirs", "theirs.safetensors"])
def test_what_uses_it_is_refused_in_a_line(made, name):
    with pytest.raises(PluginError) as caught:
        load(made / name)
    assert str(caught.value) == (
        f"{made / name}: block 'passing' comes from passing 1.0, which is not installed; pip install passing==1.0"
    )


def test_or_says_that_it_is_left_out(made, monkeypatch):
    monkeypatch.syspath_prepend(made / "site")
    monkeypatch.setenv("ZOO_PLUGINS", "none")
    with pytest.raises(PluginError, match=r"block 'passing' comes from passing .*, which ZOO_PLUGINS=none leaves out$"):
        load(made / "theirs")
