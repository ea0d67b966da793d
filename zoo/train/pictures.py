"""Pictures of a run: samples as PNG files and as a grid, the array that ADM's evaluation reads, and the loss curve."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

GAP = 2


def write_png(image: np.ndarray, path: Path) -> None:
    """Write an 8-bit picture [H, W, 1 or 3]."""
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)


def read_png(path: Path) -> np.ndarray:
    """What ``write_png`` wrote, always in RGB [H, W, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def grid(images: Sequence[np.ndarray], columns: int | None = None, scale: int = 1) -> np.ndarray:
    """Pictures [H, W, channels] of one size side by side, row by row, white in between."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    height, width, channels = images[0].shape
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
    """
    each = iter(images)
    first = next(each)
    with zipfile.ZipFile(path, "w") as archive, archive.open("arr_0.npy", "w", force_zip64=True) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *first.shape)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(first).tobytes())
        for image in each:
            file.write(np.ascontiguousarray(image).tobytes())


def write_loss_curve(steps: Sequence[int], losses: Sequence[float], path: Path) -> None:
    """Draw the loss against steps, and its running mean."""
    from matplotlib.figure import Figure  # half a second, for the end of a run

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="step", ylabel="loss (weighted squared velocity error)")
    axes.grid(alpha=0.3)
    if losses:  # none where samples are drawn before the first line of the metrics
        axes.plot(steps, losses, color="tab:blue", alpha=0.3, linewidth=0.8)
        window = max(1, len(losses) // 50)
        means = np.convolve(losses, np.full(window, 1 / window), mode="valid")
        axes.plot(steps[window - 1 :], means, color="tab:blue", label=f"mean of {window} lines")
        axes.legend()
    figure.savefig(path)
