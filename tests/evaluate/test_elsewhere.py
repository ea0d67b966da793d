"""Pictures and moments that another program has written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.errors import DataError
from zoo.evaluate import FID, FeatureSet, SpatialFID
from zoo.evaluate.base import BATCH, Gaussian
from zoo.evaluate.elsewhere import digest_at, pictures_at, read_moments
from zoo.evaluate.judging import Judge
from zoo.evaluate.pca import PCAFeatures

RANDOM = np.random.default_rng(0)


def pictures(count: int, channels: int = 3, side: int = 6) -> np.ndarray:
    return RANDOM.integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def written(path: Path, save=np.savez, **arrays: np.ndarray) -> Path:
    save(path, **arrays)
    return path


def folder_of(path: Path, images: np.ndarray) -> Path:
    (path / "below").mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray(image.squeeze()).save(path / ("below" if index % 2 else ".") / f"{index:05}.png")
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_an_array_are_read_some_at_a_time(tmp_path, save, channels):
    images = pictures(BATCH + 3, channels)
    found = pictures_at(written(tmp_path / "a.npz", save, arr_0=images, mu=np.zeros(2)), channels)
    batches = list(found.batches())
    assert [len(each) for each in batches] == [BATCH, 3]
    assert np.array_equal(np.concatenate([each.images for each in batches]), images)
    assert all(each.labels is None for each in batches)
    assert np.array_equal(found.in_memory().images, images)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_a_folder_are_read_as_they_are_by_name(tmp_path, channels):
    images = pictures(5, channels)
    found = pictures_at(folder_of(tmp_path / "f", images), channels)
    assert len(found) == 5
    (batch,) = found.batches()
    assert np.array_equal(batch.images, images[[0, 2, 4, 1, 3]])  # below/ comes after digits


@pytest.mark.parametrize("kind", ["folder", "array"])
def test_ranks_share_the_batches(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("zoo.evaluate.elsewhere.BATCH", 2)
    images = pictures(7)
    path = folder_of(tmp_path / "f", images) if kind == "folder" else written(tmp_path / "a.npz", arr_0=images)
    found = pictures_at(path, 3)
    whole = [each.images for each in found.batches()]
    shares = [[each.images for each in found.batches(rank, 3)] for rank in range(3)]
    assert [len(each) for each in shares] == [2, 1, 1]
    assert np.array_equal(np.concatenate([shares[n % 3][n // 3] for n in range(4)]), np.concatenate(whole))


@pytest.mark.parametrize("kind", ["folder", "array"])
def test_other_pictures_have_another_digest(tmp_path, kind):
    def digest(name: str, images: np.ndarray) -> str:
        own = tmp_path / name
        path = folder_of(own, images) if kind == "folder" else written(own.with_suffix(".npz"), arr_0=images)
        return digest_at(path)

    first = pictures(3)
    assert digest("a", first) != digest("b", first[:2])


def test_a_frechet_distance_beside_moments_is_that_beside_the_pictures(tmp_path):
    """What numpy finds of features is what zoo finds of the pictures."""
    real, drawn = pictures(60, 1), pictures(50, 1) // 2
    features = PCAFeatures(components=8)
    judged = pictures_at(written(tmp_path / "a.npz", arr_0=real), 1).in_memory()
    features.fit(judged)
    of_real, of_drawn = features.of(real, None), features.of(drawn, None)
    own = {"mu": of_real.pooled.mean(0), "sigma": np.cov(of_real.pooled, rowvar=False)}
    moments = read_moments(written(tmp_path / "b.npz", **own))
    beside, _ = Judge(features, [FID()], of_real).figures(of_drawn)
    by_moments, _ = Judge(features, [FID()], of_real.rows(np.arange(2)), moments).figures(of_drawn)
    assert beside["fid"] > 1e-3
    assert by_moments == pytest.approx(beside, rel=1e-6)


def test_moments_of_features_with_places(tmp_path):
    def gaussian(width: int) -> Gaussian:
        return Gaussian(np.zeros(width), np.eye(width))

    pooled, spatial = gaussian(3), gaussian(4)
    own = {"mu": pooled.mean, "sigma": pooled.covariance}
    places = {"mu_s": spatial.mean, "sigma_s": spatial.covariance}
    drawn = FeatureSet(RANDOM.normal(size=(9, 3)), spatial=RANDOM.normal(size=(9, 4)))
    found = read_moments(written(tmp_path / "a.npz", **own, **places))
    assert SpatialFID().measure_moments(found, drawn)["sfid"] > 0
    without = read_moments(written(tmp_path / "b.npz", **own))
    assert without.spatial is None
    assert SpatialFID().measure_moments(without, drawn) is None
    assert read_moments(written(tmp_path / "c.npz", arr_0=pictures(1))) is None
    assert pictures_at(tmp_path / "b.npz", 3) is None


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"arr_1": pictures(1)}, "holds arr_1;"),
        ({"arr_0": pictures(1).astype(float)}, r"arr_0 is float64 \[1, 6, 6, 3\], and pictures are uint8"),
        ({"arr_0": pictures(1, 2)}, "and pictures are uint8"),
        ({"arr_0": pictures(0)}, r"arr_0 is uint8 \[0, 6, 6, 3\]"),
        ({"arr_0": np.array([{}], dtype=object)}, "arr_0 is of Python objects"),
        ({"arr_0": np.asfortranarray(pictures(2))}, "arr_0 is of columns first"),
        ({"mu": np.zeros(2)}, "holds mu, and no sigma"),
        ({"mu": np.zeros(2), "sigma": np.eye(3)}, r"mu \[2\] and sigma \[3, 3\], which are no mean"),
        ({"mu": np.zeros((2, 2)), "sigma": np.eye(2)}, "which are no mean"),
        ({"mu": np.full(2, np.nan), "sigma": np.eye(2)}, "mu is not finite"),
        ({"mu": np.zeros(2, dtype=int), "sigma": np.eye(2)}, "mu is int64, and should be of floating-point numbers"),
    ],
)
def test_what_is_no_such_file_is_told_in_a_line(tmp_path, arrays, says):
    path = written(tmp_path / "a.npz", **arrays)
    read = pictures_at if "arr_0" in arrays or "mu" not in arrays else lambda path, _: read_moments(path)
    with pytest.raises(DataError, match=says) as caught:
        read(path, 3)
    assert str(caught.value).startswith(f"{path}: ")
    assert "; give a folder of pictures" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_told_in_a_line(tmp_path):
    whole = written(tmp_path / "a.npz", arr_0=pictures(40)).read_bytes()
    for count, damaged in enumerate((b"", whole[:100], whole[:-400], whole[:60] + b"\0" * 40 + whole[100:])):
        path = tmp_path / f"{count}.npz"
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"damaged|cannot be read") as caught:
            list(pictures_at(path, 3).batches())
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("place", "value"), [(0, b"XX"), (6, b"\x01"), (8, b"\x63")])
def test_headers_that_zipfile_cannot_read_are_told_in_a_line(tmp_path, place, value):
    """The local one's signature; one that says it is encrypted, or compressed as nobody does."""
    content = bytearray(written(tmp_path / "a.npz", arr_0=pictures(3)).read_bytes())
    central = content.index(b"PK\x01\x02")
    content[place : place + len(value)] = value
    if place:
        content[central + place + 2 : central + place + 2 + len(value)] = value
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"arr_0 cannot be read") as caught:
        pictures_at(tmp_path / "a.npz", 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [BATCH * 2 + 3, 1000, 1001])
def test_what_is_held_in_memory_is_spread_and_no_more_than_memory_is_for(tmp_path, monkeypatch, count):
    monkeypatch.setattr("zoo.evaluate.elsewhere.MOST_IN_MEMORY", 100)
    images = np.arange(count, dtype=np.uint32).view(np.uint8).reshape(count, 2, 2, 1)
    found = pictures_at(written(tmp_path / "a.npz", arr_0=images), 1).in_memory().images
    assert 80 <= len(found) <= 100
    step = -(-count // 100)
    assert np.array_equal(found, images[::step])
    assert found.base is None or found.base.nbytes == found.nbytes


def test_what_is_not_there_and_what_does_not_fit(tmp_path):
    folder = folder_of(tmp_path / "f", pictures(2))
    Image.fromarray(pictures(1, side=7)[0]).save(folder / "other.png")
    with pytest.raises(DataError, match=r"other.png: is 7 x 7, and the first picture of its folder 6 x 6"):
        list(pictures_at(folder, 3).batches())
    written(tmp_path / "there.npz", arr_0=pictures(1))
    with pytest.raises(DataError, match=r"thre.npz: there is no such folder or .npz file; did you mean .*there.npz"):
        pictures_at(tmp_path / "thre.npz", 3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no pictures"):
        pictures_at(tmp_path / "empty", 3)


def test_grey_pictures_may_stand_in_three_channels_and_coloured_ones_are_not_grey(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)
    path = written(tmp_path / "a.npz", arr_0=grey.repeat(3, axis=3))
    assert (pictures_at(path, 1).in_memory().images == grey).all()
    assert (pictures_at(written(tmp_path / "b.npz", arr_0=grey), 3).in_memory().images == grey.repeat(3, axis=3)).all()
    coloured = grey.repeat(3, axis=3)
    coloured[-1, -1, -1, 2] ^= 1
    with pytest.raises(DataError, match=r"c.npz: arr_0 has pictures in colour, and the data is grey; make"):
        list(pictures_at(written(tmp_path / "c.npz", arr_0=coloured), 1).batches())


def test_the_grid_of_zoos_samples_is_none_of_them(tmp_path):
    images = np.zeros((3, 4, 4, 1), np.uint8)
    folder = folder_of(tmp_path / "f", images)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "grid.png")
    with pytest.raises(DataError, match=r"grid.png: is 9 x 9|is 4 x 4, and the first picture of its folder 9 x 9"):
        list(pictures_at(folder, 1).batches())
    (folder / "samples.json").write_text("{}")
    found = pictures_at(folder, 1)
    assert (len(found), found.in_memory().images.shape) == (3, (3, 4, 4, 1))
