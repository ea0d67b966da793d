"""What samples are compared with: either split, or pictures and moments from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.distributed.ranks import run_ranks
from tests.evaluate.test_evaluation import judge
from tests.train.small import ALONE, small
from zoo import load_recipe
from zoo.assembly import create_part
from zoo.errors import DataError, ZooError
from zoo.evaluate.judging import RealImages
from zoo.runs.judged import GENERATED, HELD_OUT


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """Pictures of the training split."""
    return RealImages(create_part(small(), "dataset"), "train", 0).in_memory().images


def figures(found):
    return found.figures[GENERATED]


def test_pictures_of_the_dataset_through_a_file_or_a_folder_give_its_figures(trained, digits, tmp_path):
    """But for those that need classes, which such pictures have none of."""
    np.savez(tmp_path / "digits.npz", arr_0=digits)
    for index, picture in enumerate(digits):
        Image.fromarray(picture.squeeze()).save(tmp_path / f"{index:05}.png")
    here = judge(ALONE, trained)
    for place in (tmp_path / "digits.npz", tmp_path):
        found = judge(ALONE, trained, f"evaluate.reference={place}")
        for name in ("fid", "precision", "recall"):
            assert figures(found)[name] == pytest.approx(figures(here)[name], rel=1e-6)
        assert "accuracy" not in figures(found)
        assert found.record["counts"]["real"] == 1198
        assert found.record["evaluate"]["reference"] == str(place)
        assert found.figures[HELD_OUT].keys() >= {"fid"}
    assert found.record["real_data"] != here.record["real_data"]


def test_moments_that_numpy_has_found_give_the_same_distance(trained, digits, tmp_path):
    features = create_part(small(), "features")
    real = RealImages(create_part(small(), "dataset"), "train", 0)
    features.fit(real)
    of = features.of(digits, None).pooled.astype(float)
    moments = {"mu": of.mean(0), "sigma": np.cov(of, rowvar=False)}
    np.savez(tmp_path / "moments.npz", **moments)
    np.savez(tmp_path / "both.npz", **moments, arr_0=digits[:40])
    here = figures(judge(ALONE, trained))
    alone = judge(ALONE, trained, f"evaluate.reference={tmp_path / 'moments.npz'}")
    assert figures(alone)["fid"] == pytest.approx(here["fid"], rel=1e-6)
    assert "precision" not in figures(alone)
    assert alone.record["unfed"]["precision_recall"] == ["pictures"]
    assert not [each for each in alone.record["doubts"] if "real" in each.split(" are rough")[0]]
    with pytest.raises(ZooError, match=r"evaluate.metrics: none of them can be told"):
        judge(ALONE, trained, f"evaluate.reference={tmp_path / 'moments.npz'}", "evaluate.metrics=[precision_recall]")
    both = judge(ALONE, trained, f"evaluate.reference={tmp_path / 'both.npz'}")
    assert both.record["counts"]["real"] == 40
    assert "precision" in figures(both)


def test_moments_of_other_features_are_not_gone_by(trained, digits, tmp_path):
    moments = {"mu": np.zeros(5), "sigma": np.eye(5)}
    np.savez(tmp_path / "moments.npz", **moments)
    np.savez(tmp_path / "both.npz", **moments, arr_0=digits)
    with pytest.raises(ZooError, match=r"mean and covariance are of 5 features, and pca gives 32; take"):
        judge(ALONE, trained, f"evaluate.reference={tmp_path / 'moments.npz'}")
    found = judge(ALONE, trained, f"evaluate.reference={tmp_path / 'both.npz'}")
    assert figures(found)["fid"] == pytest.approx(figures(judge(ALONE, trained))["fid"], rel=1e-6)
    assert "are of 5 features, and pca gives 32: the figures are of its pictures alone" in found.record["doubts"][0]


def test_what_is_held_out_can_be_compared_with_and_has_no_floor(trained):
    found = judge(ALONE, trained, "evaluate.reference=held_out")
    assert found.record["counts"]["real"] == 599
    assert HELD_OUT not in found.figures
    assert any("no floor" in each for each in found.record["doubts"])


def test_processes_share_the_pictures(trained, digits, tmp_path):
    np.savez(tmp_path / "digits.npz", arr_0=digits)
    reference = f"evaluate.reference={tmp_path / 'digits.npz'}"
    wanted = judge(ALONE, trained, reference)
    for found in run_ranks(judge, 2, trained, reference):
        assert found.figures == wanted.figures


def test_what_is_not_there_is_told_before_anything_is_drawn(trained, tmp_path):
    with pytest.raises(DataError, match=r"evaluate.reference: .*none.npz: there is no such folder or .npz file"):
        judge(ALONE, trained, f"evaluate.reference={tmp_path / 'none.npz'}")


def test_a_path_is_relative_to_the_recipe_that_says_it_and_a_split_is_none(tmp_path):
    path = tmp_path / "mine.yaml"
    for value, wanted in (("real.npz", str(tmp_path / "real.npz")), ("held_out", "held_out"), ("train", "train")):
        path.write_text(f"extends: digits_dit\nevaluate: {{reference: {value}}}\n")
        assert load_recipe(path).evaluate.reference == wanted
