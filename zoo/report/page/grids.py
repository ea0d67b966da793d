"""The sample grids of a run as pictures that a page holds in itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

EARLIER = 12
"""Grids besides the newest one, at most."""

MOST_PIXELS = 2**26
"""Of a grid that is shown: 16 samples of 2048 x 2048. A stranger's few kilobytes can be a picture of gigabytes."""

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
    """The newest grid of a folder, large, and earlier ones, small: all, or as many as a page has room for."""
    names = {path.stem.removeprefix("step_"): path for path in folder.glob("step_*.png")}
    paths = {int(number): path for number, path in names.items() if number.isdecimal()}
    if not paths:
        return []
    newest, *earlier = sorted(paths, reverse=True)
    if len(earlier) > EARLIER:  # evenly, from the first one on
        earlier = [earlier[round(place * (len(earlier) - 1) / (EARLIER - 1))] for place in range(EARLIER)]
    return [_read(newest, paths[newest], LARGE), *(_read(step, paths[step], SMALL) for step in earlier)]


def _read(step: int, path: Path, room: int) -> Grid:
    try:
        if not path.is_file():  # of a pipe nothing may ever come
            return Grid(step)
        with Image.open(path, formats=("PNG",)) as file:
            if file.width * file.height > MOST_PIXELS:
                return Grid(step)
            image = file.copy()
    except Exception:  # cut off, or being written; decoders raise many kinds
        return Grid(step)
    if room == SMALL:
        image.thumbnail((2 * SMALL, 2 * SMALL))  # twice, for screens with small pixels
    scale = room // image.width or min(1.0, room / image.width if room == SMALL else 1.0)
    return Grid(step, _uri(image), round(scale * image.width), round(scale * image.height), enlarged=scale > 1)


def _uri(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
