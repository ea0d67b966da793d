"""The labels that a run and others after it draw images of."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.train.small import ALONE
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.runs.run_folder import RunFolder
from zoo.sampling.images import SampleRun, draw_samples
from zoo.sampling.sampler import Sampler
from zoo.train.run import Run, Silent


def spy(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Keep the labels that images are drawn of from now on."""
    asked, images = [], Sampler.images

    def spied(self, backbone, labels, *rest):
        asked.append(labels)
        return images(self, backbone, labels, *rest)

    monkeypatch.setattr(Sampler, "images", spied)
    return asked


def trained_on(recipe: Recipe, registry: Registry, path: Path) -> tuple[Path, list[Any]]:
    """A run, and the labels of the grids that it drew."""
    with pytest.MonkeyPatch.context() as patch:
        asked = spy(patch)
        Run(recipe, RunFolder(path), registry, ALONE, Silent()).train()
    return path, asked


def sample(path: Path, out: Path, recipe: Recipe, registry: Registry) -> dict[str, Any]:
    """Eight images of a run, and what is recorded of them."""
    draw_samples(SampleRun(path, out, "ema", (), 8, 0, npz=False), recipe, registry, ALONE)
    return json.loads((out / "samples.json").read_text())
