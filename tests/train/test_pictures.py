"""Pictures: grids to the pixel, PNG files and arrays that others read, and a curve of any number of points."""

import gc

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.train.small import train
from zoo.pictures import COLUMNS, GAP, extremes, grid, read_png, write_loss_curve, write_npz, write_png
from zoo.runs.metrics_file import read_metrics
from zoo.train import records


def pictures(count, shape=(3, 5, 1)):
    return [np.random.default_rng(index).integers(0, 255, shape, dtype=np.uint8) for index in range(count)]


def test_a_grid_has_every_picture_at_its_place_and_white_in_between():
    images = pictures(5, (30, 50, 1))
    sheet = grid(images, columns=3)
    assert (sheet.shape, sheet.dtype) == ((2 * (30 + GAP) + GAP, 3 * (50 + GAP) + GAP, 1), np.uint8)
    left = np.ones(sheet.shape[:2], dtype=bool)
    for index, image in enumerate(images):
        row, column = divmod(index, 3)
        top, start = GAP + row * (30 + GAP), GAP + column * (50 + GAP)
        assert (sheet[top : top + 30, start : start + 50] == image).all()
        left[top : top + 30, start : start + 50] = False
    assert (sheet[left] == 255).all()


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (4, 2, 2), (5, 2, 3), (9, 3, 3), (10, 3, 4)]
)
def test_a_grid_is_nearly_square(count, rows, columns):
    assert grid(pictures(count, (40, 40, 3))).shape == (rows * (40 + GAP) + GAP, columns * (40 + GAP) + GAP, 3)


def test_small_pictures_are_shown_so_large_that_they_can_be_seen():
    (image,) = pictures(1, (9, 16, 1))
    sheet = grid([image])[GAP:-GAP, GAP:-GAP]
    assert sheet.shape == (36, 64, 1)
    assert (sheet[1::4, 1::4] == image).all()
    assert (sheet[::4, 3::4] == image).all()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_png_is_read_back_in_rgb(channels, mode, tmp_path):
    (image,) = pictures(1, (4, 7, channels))
    write_png(image, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        assert (opened.mode, opened.size) == (mode, (7, 4))
    assert (read_png(tmp_path / "a.png") == np.broadcast_to(image, (4, 7, 3))).all()


@pytest.mark.parametrize("count", [1, 5])
def test_the_array_is_one_that_numpy_reads(count, tmp_path):
    images = pictures(count, (4, 7, 3))
    write_npz(iter(images), count, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert archive.files == ["arr_0"]
        array = archive["arr_0"]
    assert (array.shape, array.dtype) == ((count, 4, 7, 3), np.uint8)
    assert (array == np.stack(images)).all()


def test_the_array_takes_pictures_that_are_not_contiguous(tmp_path):
    image = np.arange(4 * 7 * 3, dtype=np.uint8).reshape(3, 7, 4).T
    write_npz([image, image[::-1]], 2, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        assert (archive["arr_0"] == np.stack([image, image[::-1]])).all()


@pytest.mark.parametrize("count", [0, 1, 2, 49, 50, 99, 100, 1234, 5678])
def test_a_curve_of_any_number_of_points(count, tmp_path):
    """None: a run may draw samples before it has written a line of metrics."""
    write_loss_curve(range(1, count + 1), list(np.random.default_rng(0).random(count)), tmp_path / "loss.png")
    with Image.open(tmp_path / "loss.png") as image:
        assert image.size == (840, 480)


def test_a_curve_shows_its_points(tmp_path):
    empty, falling, rising = (tmp_path / f"{name}.png" for name in ("empty", "falling", "rising"))
    write_loss_curve([], [], empty)
    write_loss_curve([1, 2, 3], [3.0, 2.0, 1.0], falling)
    write_loss_curve([1, 2, 3], [1.0, 2.0, 3.0], rising)
    shown = [read_png(path).tobytes() for path in (empty, falling, rising)]
    assert len(set(shown)) == 3


@pytest.mark.parametrize(
    ("count", "told"), [(0, []), (1, []), (99, []), (100, ["mean of 2 lines"]), (150, ["mean of 3 lines"])]
)
def test_a_curve_says_of_what_it_is_a_mean_where_it_is_one(count, told, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure.axes[0].get_legend()))
    write_loss_curve(range(count), [1.0] * count, tmp_path / "loss.png")
    assert [text.get_text() for legend in drawn if legend for text in legend.get_texts()] == told
    drawn.clear()


def test_a_run_draws_the_curve_of_its_metrics(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(records, "write_loss_curve", lambda *given: drawn.append(given))
    folder = train(tmp_path / "run")
    lines = read_metrics(folder.metrics)
    assert len(lines) == 3
    assert drawn == [([line["step"] for line in lines], [line["loss"] for line in lines], folder.loss_curve)]


def test_a_long_curve_has_few_points_and_keeps_its_peaks():
    losses = np.random.default_rng(0).random(54_321)
    losses[777], losses[-1] = 9.0, -9.0
    steps, shown = extremes(range(1, len(losses) + 1), losses.tolist())
    assert len(steps) == len(shown) <= 2 * (COLUMNS + 1) + 100
    assert (shown.min(), shown.max()) == (-9.0, 9.0)
    assert abs(steps[shown.argmax()] - 778) <= len(losses) / COLUMNS
    assert [each.tolist() for each in extremes([1, 2], [4.0, 3.0])] == [[1, 1, 2, 2], [4, 4, 3, 3]]


def test_curves_leave_nothing_in_memory(tmp_path):
    """Python's collector would wait until hundreds of MB of figures are there."""
    for _ in range(3):
        write_loss_curve([1, 2, 3], [3.0, 2.0, 1.0], tmp_path / "loss.png")
    assert not [each for each in gc.get_objects() if issubclass(type(each), Figure)]  # a dead proxy has no __class__
