"""``zoo eval --samples``: pictures that are there, beside real ones."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.commands import done, refused, zoo
from tests.distributed.ranks import run_ranks
from tests.train.small import ALONE, train
from zoo import load_recipe
from zoo.evaluate.beside import Beside
from zoo.evaluate.of_pictures import evaluate_pictures

COUNT = 40


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "run", f"evaluate.count={COUNT}", "evaluate.labels=balanced", f"sample.batch={COUNT // 2}")
    done("sample", "--run", folder / "run", "--count", COUNT, "--npz", "--out", folder / "drawn")
    return folder


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch, runs):
    monkeypatch.chdir(tmp_path)
    for name in ("run", "drawn"):
        Path(name).symlink_to(runs / name)


def judged(*options):
    done("eval", *options, "--out", "found.json")
    found = json.loads(Path("found.json").read_text())
    Path("found.json").unlink()
    return found


def test_pictures_of_another_run_have_the_figures_that_drawing_them_gives():
    """From its folder, whose grid is none of them, or its array; but for those that need the classes."""
    drawn = judged("--run", "run")
    for place in ("drawn", "drawn/samples.npz"):
        for whose in (("--run", "run"), ("--recipe", "run/recipe.yaml")):
            found = judged("--samples", place, *whose)
            assert found["counts"] == {"real": 1198, "generated": COUNT, "held-out real": COUNT}
            own, wanted = found["figures"]["generated"], drawn["figures"]["generated"]
            assert {"fid", "precision", "recall", "novelty"} <= set(own)
            assert {name: own[name] for name in own} == pytest.approx({name: wanted[name] for name in own}, rel=1e-6)
            assert "accuracy" not in own
            assert all(map(math.isfinite, own.values()))
            assert found["samples"] == place
            assert found["samples_digest"]
            assert found["real_data"] == drawn["real_data"]
            assert "asks for classes" in found["left_out"]["accuracy of generated"]
            assert not {"count", "labels"} & found["evaluate"].keys()
            assert "weights" not in found
            assert "sample" not in found
    assert len(list(Path("run/evaluations").iterdir())) == 1  # of the images that were drawn


def test_the_table_and_the_controls_stand_as_of_a_run():
    result = done("eval", "--samples", "drawn", "--recipe", "run/recipe.yaml", "--controls", "--seed", 1)
    for word in ("small", "beside 1198 real images", "generated", "held-out real", "noise", "copy", "precision"):
        assert word in result.stdout
    assert f"compares {COUNT} images of drawn with 1198 real ones" in result.stderr


def figures(world):
    return evaluate_pictures(Path("drawn"), load_recipe("run/recipe.yaml"), world).figures


def test_processes_share_the_pictures():
    one = figures(ALONE)
    assert run_ranks(figures, 2) == [one, one]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "give --run, a run's folder or a weight file; or --samples and --recipe"),
        (("--recipe", "digits_dit"), "--recipe goes with --samples"),
        (("--samples", "drawn"), "--samples goes with --recipe, or --run, and one of them"),
        (("--samples", "drawn", "--run", "run", "--recipe", "digits_dit"), "--samples goes with --recipe, or --run"),
        (
            ("--samples", "drawn", "--run", "run", "--count", 3),
            "--count is of images that are drawn, and --samples draws none",
        ),
        (("--samples", "drawn", "--run", "run", "--resume"), "--resume is of images that are drawn"),
        (("--samples", "drawn", "--run", "run", "--weights", "raw"), "--weights is of images that are drawn"),
        (("--samples", "drawn", "--run", "run", "--set", "sample.steps=1"), "only `data` and `evaluate` may be other"),
        (("--samples", "drawn", "--run", "run", "--step", "best"), "--step is of images that are drawn"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_a_line(options, told):
    assert told in refused(zoo("eval", *options))


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        ("nothing", "nothing: there is no such folder or .npz file"),
        ("small.npz", "features pca: the images and the real ones are 5 x 5 x 1 and 8 x 8 x 1"),
        ("moments.npz", "moments.npz: holds moments, and no pictures"),
    ],
)
def test_pictures_that_cannot_be_compared_are_refused_before_any_is_looked_at(samples, told, monkeypatch):
    monkeypatch.setattr(Beside, "look_at", lambda *_: pytest.fail("looked at"))
    np.savez("small.npz", arr_0=np.zeros((3, 5, 5, 1), np.uint8))
    np.savez("moments.npz", mu=np.zeros(32), sigma=np.eye(32))
    assert told in refused(zoo("eval", "--samples", samples, "--run", "run"), 3)


def test_metrics_that_all_ask_for_classes_are_refused():
    result = zoo("eval", "--samples", "drawn", "--run", "run", "--set", "evaluate.metrics=[accuracy]")
    assert "evaluate.metrics: all of them ask for classes" in refused(result, told=True)
