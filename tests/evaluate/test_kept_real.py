"""Features of real images are computed once on a machine, and anew where anything is another."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from tests.distributed.ranks import run_ranks
from tests.evaluate.test_evaluation import judge
from tests.train.small import ALONE
from zoo.data.digits import Digits
from zoo.evaluate import kept_real
from zoo.evaluate.beside import Beside
from zoo.evaluate.judging import RealImages
from zoo.evaluate.kept_real import identity
from zoo.plugins import zoo_version

REAL, HELD_OUT = "real images", "held-out images"


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_real, "KEPT_FROM", 12)
    return tmp_path / "cache" / "zoo"


@pytest.fixture
def looked_at(monkeypatch):
    """What features were computed of, but for what was drawn."""
    seen, look_at = [], Beside.look_at

    def look(self, images, what):
        seen.append(what)
        return look_at(self, images, what)

    monkeypatch.setattr(Beside, "look_at", look)
    return seen


def test_they_are_computed_once(trained, cache, looked_at):
    one = judge(ALONE, trained)
    assert looked_at == [REAL, HELD_OUT]
    assert len(list(cache.iterdir())) == 2
    assert judge(ALONE, trained).figures == one.figures
    assert looked_at == [REAL, HELD_OUT]
    assert [each.figures for each in run_ranks(judge, 2, trained)] == [one.figures] * 2


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ("evaluate.features.components=8", [REAL, HELD_OUT]),
        ("evaluate.real=300", [REAL, HELD_OUT]),  # to which the features are fitted
        ("evaluate.count=14", [HELD_OUT]),
        ("evaluate.metrics=[fid]", []),
        ("sample.steps=1", []),
    ],
)
def test_they_are_computed_anew_where_anything_is_another(trained, cache, looked_at, change, anew):
    judge(ALONE, trained)
    looked_at.clear()
    judge(ALONE, trained, change)
    assert looked_at == anew


@pytest.mark.parametrize("kind", ["folder", "array"])
def test_pictures_that_were_edited_are_others_if_of_the_same_size(trained, cache, looked_at, tmp_path, kind):
    pictures = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    place = tmp_path / ("real" if kind == "folder" else "real.npz")

    def write():
        if kind == "array":
            np.savez(place, arr_0=pictures)
            return
        place.mkdir(exist_ok=True)
        for index, picture in enumerate(pictures):
            Image.fromarray(picture.squeeze()).save(place / f"{index}.bmp")  # as long whatever is in it

    def figures():
        return judge(ALONE, trained, f"evaluate.reference={place}").figures

    write()
    one = figures()
    looked_at.clear()
    assert figures() == one
    assert looked_at == []
    pictures[0] ^= 255
    write()
    for path in place.iterdir() if kind == "folder" else ():
        os.utime(path, ns=(0, 1))
    assert figures() != one
    assert REAL in looked_at


def test_what_is_damaged_is_computed_anew_and_told(trained, cache, looked_at):
    one = judge(ALONE, trained)
    for file in cache.iterdir():
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    looked_at.clear()
    with pytest.warns(UserWarning, match=r"cannot be used, and is made anew: its SHA-256 differs"):
        assert judge(ALONE, trained).figures == one.figures
    assert looked_at == [REAL, HELD_OUT]


def test_a_cache_that_cannot_be_written_is_told_and_not_in_the_way(trained, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(kept_real, "KEPT_FROM", 12)
    with pytest.warns(UserWarning, match="features of real images are computed every time"):
        assert judge(ALONE, trained).figures


class OtherPictures(Digits):
    def to_images(self, latents):
        return 255 - super().to_images(latents)


def test_what_decodes_them_tells_images_apart():
    """A VAE's path does not say what it holds."""
    same, one, other = (RealImages(each(1, (8, 8), 10), "train", 0) for each in (Digits, Digits, OtherPictures))
    assert identity(one) == identity(same) != identity(other)


def test_those_of_parts_in_no_package_are_not_kept(trained, cache, monkeypatch):
    """Nothing tells their code from other code."""
    monkeypatch.setattr(kept_real, "UNPACKAGED", zoo_version())
    judge(ALONE, trained)
    assert not cache.exists()


def test_few_images_are_not_kept(trained, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_real, "identity", lambda _: pytest.fail("looks at images that are too few"))
    judge(ALONE, trained)
    assert not (tmp_path / "cache").exists()
