"""The sample grids of a run as pictures that a page holds in itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

LARGE, SMALL = 320, 160
"""Pixels of the page that a grid should take: it is enlarged by a whole factor up to there."""


@dataclass(frozen=True)
class Grid:
    """A grid of samples.

    Attributes:
        step: that drew it.
        uri: ``data:``, with the whole picture; None if the file cannot be read.
        width: on the page, in pixels.
        height: likewise.
        enlarged: whether that is more than the picture has.
    """

    step: int
    uri: str | None = None
    width: int = 0
    height: int = 0
    enlarged: bool = False


def read_grids(folder: Path) -> list[Grid]:
    """Every grid of a folder, the newest first and large; earlier ones small."""
    names = {path.stem.removeprefix("step_"): path for path in folder.glob("step_*.png")}
    paths = {int(number): path for number, path in names.items() if number.isdecimal()}
    steps = sorted(paths, reverse=True)
    return [_read(step, paths[step], LARGE if step == steps[0] else SMALL) for step in steps]


def _read(step: int, path: Path, room: int) -> Grid:
    try:
        with Image.open(path) as file:
            image = file.copy()
    except OSError:  # cut off, or being written
        return Grid(step)
    if room == SMALL:
        image.thumbnail((2 * SMALL, 2 * SMALL))  # twice, for screens with small pixels
    scale = room // image.width or min(1.0, room / image.width if room == SMALL else 1.0)
    return Grid(step, _uri(image), round(scale * image.width), round(scale * image.height), enlarged=scale > 1)


def _uri(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
