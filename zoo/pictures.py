"""Pictures of a run: samples as PNG files and as a grid, the array that ADM's evaluation reads, and the loss curve."""

from __future__ import annotations

import gc
import math
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from zoo.errors import RunError
from zoo.files import write_whole

GAP = 2
SEEN = 64  # pixels of the longer side of a picture in a grid, or nearly so many, at least


def write_png(image: np.ndarray, path: Path) -> None:
    """Write an 8-bit picture [H, W, 1 or 3]; it may be one of 50,000, so that nobody waits for the disk.

    Raises:
        RunError: it cannot be written.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    write_whole(path, lambda file: picture.save(file, "png"), RunError, synced=False)


def read_png(path: Path) -> np.ndarray:
    """What ``write_png`` wrote, always in RGB [H, W, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def grid(images: Sequence[np.ndarray], columns: int | None = None) -> np.ndarray:
    """Pictures [H, W, channels] of one size side by side, row by row, white in between; small ones some times as large.

    Each of their pixels is then a square, so that digits of 16 x 16 can be seen.
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    height, width, channels = images[0].shape
    scale = max(1, SEEN // max(height, width))
    height, width = height * scale, width * scale
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        top = index // columns * (height + GAP) + GAP
        left = index % columns * (width + GAP) + GAP
        sheet[top : top + height, left : left + width] = image.repeat(scale, axis=0).repeat(scale, axis=1)
    return sheet


def write_npz(images: Iterable[np.ndarray], count: int, path: Path) -> None:
    """Write RGB pictures as ``arr_0`` [count, H, W, 3], 8-bit: what ADM's evaluation suite reads.

    One picture at a time, since 50,000 of 256 x 256 are 10 GB.

    Raises:
        RunError: it cannot be written.
    """
    each = iter(images)
    first = next(each)

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w") as archive, archive.open("arr_0.npy", "w", force_zip64=True) as array:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, *first.shape)}
            np.lib.format.write_array_header_1_0(array, header)
            for image in chain((first,), each):
                array.write(np.ascontiguousarray(image).tobytes())

    write_whole(path, write, RunError)


COLUMNS = 1000
"""Of a loss curve; of more lines of the metrics, each shows the least and the largest loss of some."""


def write_loss_curve(steps: Sequence[int], losses: Sequence[float], path: Path) -> None:
    """Draw the loss against steps, and its running mean.

    A run draws it again and again, so it takes the same memory for a long one, and leaves none of it behind.

    Raises:
        RunError: it cannot be written.
    """
    with _collected_at_once():
        _draw_loss_curve(steps, losses, path)


def _draw_loss_curve(steps: Sequence[int], losses: Sequence[float], path: Path) -> None:
    from matplotlib.figure import Figure  # half a second, for the end of a run

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="step", ylabel="loss (weighted squared velocity error)")
    axes.grid(alpha=0.3)
    if losses:  # none where samples are drawn before the first line of the metrics
        axes.plot(*extremes(steps, losses), color="tab:blue", alpha=0.3, linewidth=0.8)
        window = max(1, len(losses) // 50)
        means = np.convolve(losses, np.full(window, 1 / window), mode="valid")
        at = [*range(0, len(means), max(1, len(losses) // COLUMNS)), len(means) - 1]
        label = f"mean of {window} lines" if window > 1 else None  # of so few, the curve itself
        axes.plot(np.asarray(steps[window - 1 :])[at], means[at], color="tab:blue", label=label)
        if label is not None:
            axes.legend()
    write_whole(path, lambda file: figure.savefig(file, format="png"), RunError)


@contextmanager
def _collected_at_once() -> Iterator[None]:
    """Give back what is made here and refers to itself, as a figure does: Python waits until hundreds of MB are there.

    Meanwhile it collects nothing, so that all of that is young: to look through all of torch too takes half a second.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect(0)
        if enabled:
            gc.enable()


def extremes(steps: Sequence[int], losses: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Steps and losses [points] of a curve that looks the same, in at most 4 x ``COLUMNS`` points."""
    starts = np.arange(0, len(losses), max(1, len(losses) // COLUMNS))
    ends = [each.reduceat(losses, starts) for each in (np.minimum, np.maximum)]
    return np.repeat(np.asarray(steps)[starts], 2), np.stack(ends, axis=1).ravel()
