"""Sample grids as pictures inside a page."""

import base64
import io
import itertools

import numpy as np
from PIL import Image

from zoo.report.page.grids import SMALL, Grid, read_grids


def save(folder, step, size, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"step_{step:08d}.png")
    return pixels


def pixels_of(grid: Grid) -> np.ndarray:
    kind, _, data = grid.uri.partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image)


def test_the_newest_is_large_and_the_pixels_are_the_files(tmp_path):
    first, last = save(tmp_path, 2, 74), save(tmp_path, 100_000_000, 74, seed=1)
    large, small = read_grids(tmp_path)
    assert [large.step, small.step] == [100_000_000, 2]
    assert [large.width, small.width] == [4 * 74, 2 * 74]
    assert large.enlarged
    assert (pixels_of(large) == last).all()
    assert (pixels_of(small) == first).all()


def test_large_pictures_stay_whole_only_where_they_are_seen(tmp_path):
    save(tmp_path, 1, 1034), save(tmp_path, 2, 1034)
    large, small = read_grids(tmp_path)
    assert (large.width, large.enlarged, len(pixels_of(large))) == (1034, False, 1034)
    assert (small.width, small.height, len(pixels_of(small))) == (SMALL, SMALL, 2 * SMALL)


def test_a_file_that_is_cut_off_is_told(tmp_path):
    save(tmp_path, 1, 74)
    save(tmp_path, 2, 74)
    cut = tmp_path / "step_00000002.png"
    cut.write_bytes(cut.read_bytes()[:200])
    (tmp_path / "step_x.png").write_text("mine")
    assert [(grid.step, grid.uri is None) for grid in read_grids(tmp_path)] == [(2, True), (1, False)]


def test_no_folder_has_no_grids(tmp_path):
    assert read_grids(tmp_path / "samples") == []


def test_many_grids_are_thinned_evenly_and_the_ends_stay(tmp_path):
    for step in range(1, 101):
        Image.new("L", (4, 4)).save(tmp_path / f"step_{step:08d}.png")
    steps = [grid.step for grid in read_grids(tmp_path)]
    assert len(steps) == 13
    assert (steps[0], steps[1], steps[-1]) == (100, 99, 1)
    gaps = [one - other for one, other in itertools.pairwise(steps[1:])]
    assert max(gaps) - min(gaps) <= 1
    assert read_grids(tmp_path / "nothing") == []
