"""Latents of one and of three axes through a whole run: trained, gone on with, drawn, shown and told."""

from typing import Any

import pytest
import torch

import zoo
from tests.data.waves import CLASSES, Waves
from tests.train.small import ALONE, VALUES
from zoo.audit import audit
from zoo.errors import Preempted
from zoo.pictures import read_png
from zoo.recipe import Recipe
from zoo.report.page import run_page
from zoo.report.tables import way_table
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder
from zoo.sampling.images import SampleRun, draw_samples
from zoo.train.run import Run, Silent

AXES = {"one": ((16,), [4], [2]), "three": ((2, 4, 8), [1, 2, 2], [1, 1, 2])}


@zoo.part("dataset", "spectra")
class Spectra(Waves):
    """Waves that have a picture: their first channel, a row for each step of the first axis."""

    def to_images(self, latents: torch.Tensor) -> torch.Tensor:
        rows = latents[:, 0].flatten(2) if latents.ndim > 3 else latents[:, 0, :, None]
        return rows.sigmoid().mul(255).to(torch.uint8)[..., None].cpu()


REGISTRY = zoo.Registry().with_parts([Waves, Spectra])


def recipe(axes: str, *overrides: str, dataset: str = "waves") -> Recipe:
    size, coarse, fine = AXES[axes]
    levels = [{"patch": patch, "blocks": 1} for patch in (coarse, fine)]
    backbone = {
        "latent": {"channels": 2, "size": list(size)},
        "num_classes": CLASSES,
        "dim": 24,
        "depth": 2,
        "heads": 2,
    }
    values: dict[str, Any] = {
        **VALUES,
        "backbone": {**backbone, "patch_schedule": {"type": "by_depth", "levels": levels}},
        "data": {"dataset": dataset, "normalize": "per_channel"},
    }
    return zoo.load_recipe(values, overrides, REGISTRY)


def session(folder, *given: str, **options: Any) -> Run:
    return Run(recipe(*given, **options), RunFolder(folder), REGISTRY, ALONE, Silent())


def losses(folder) -> list[float]:
    return [line["loss"] for line in read_metrics(RunFolder(folder).metrics)]


@pytest.mark.parametrize("axes", AXES)
def test_a_run_trains_and_goes_on_as_if_it_had_not_stopped(axes, tmp_path):
    session(tmp_path / "whole", axes).train()
    with pytest.raises(Preempted):
        session(tmp_path / "cut", axes).train(stop_at=2)
    session(tmp_path / "cut", axes).train(resume=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    one, other = (zoo.load(tmp_path / name, registry=REGISTRY).state_dict() for name in ("cut", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in other)
    latents = zoo.sample(zoo.load(tmp_path / "cut", registry=REGISTRY), labels=[2, 0], steps=2)
    assert latents.shape == (2, 2, *AXES[axes][0])
    assert "Latent 2 " in run_page(RunFolder(tmp_path / "cut"), REGISTRY)


@pytest.mark.parametrize(("axes", "shape"), [("one", (16, 1, 3)), ("three", (2, 32, 3))])
def test_what_has_pictures_is_shown(axes, shape, tmp_path):
    session(tmp_path / "run", axes, dataset="spectra").train()
    assert [path.name for path in (tmp_path / "run" / "samples").iterdir()] == ["step_00000003.png"]
    own = zoo.load_recipe((tmp_path / "run" / "recipe.yaml"), registry=REGISTRY)
    request = SampleRun(tmp_path / "run", tmp_path / "out", "ema", (), 4, 0, npz=False)
    assert draw_samples(request, own, REGISTRY, ALONE) == 4
    assert read_png(tmp_path / "out" / "000003.png").shape == shape


def test_the_way_of_the_tokens_has_a_number_for_each_axis():
    own = {axes: recipe(axes) for axes in AXES}
    tables = {axes: way_table(audit(each), each.backbone.dim).rows for axes, each in own.items()}
    tables = {axes: [row[2:4] for row in rows[:2]] for axes, rows in tables.items()}
    assert tables == {"one": [("4", "4"), ("2", "8")], "three": [("1x2x2", "2x2x4"), ("1x1x2", "2x4x4")]}
