"""The metrics of a run: a line of JSON for every step that is told of. Lines that are cut off, or none of ours, go."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from zoo.errors import RunError
from zoo.files import reason_of, write_whole
from zoo.json_files import LARGEST, parse_json

LARGEST_NUMBER = 1e100
"""Of the metrics; what is larger, infinite or not a number is none of zoo's."""

NUMBERS = ("loss", "grad_norm", "learning_rate", "ema_decay", "images_per_second")
"""Of a line, where it has them."""

LONGEST_LINE = 2**20
"""Bytes of a line; what is longer is none of zoo's."""


def forget_after(path: Path, step: int, again: Collection[str] = ()) -> list[dict[str, Any]]:
    """Drop the lines of later steps, which will come again; however many there are.

    Args:
        path: the file.
        step: that training goes on from.
        again: callbacks whose lines of this step will come again too.

    Returns:
        The other lines of this step.

    Raises:
        RunError: the file cannot be read, or written.
    """
    others: list[dict[str, Any]] = []
    if not os.path.lexists(path):
        return others

    def write(file: BinaryIO) -> None:
        for line, values in _whole_lines(path) if path.exists() else ():
            of_step = values["step"] == step and not any(name in values for name in again)
            if of_step:
                others.append(values)
            if of_step or values["step"] < step:
                file.write(line + b"\n")

    write_whole(path, write, RunError)  # in the place of a link, too
    return others


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Every line that is whole; none where there is no file.

    Raises:
        RunError: the file cannot be read, or is too large for the memory.
    """
    return list(_metrics(path))


def read_losses(path: Path) -> tuple[list[int], list[float]]:
    """Steps, and the loss of each; a run reads them again and again, and holds nothing else of its lines.

    Raises:
        RunError: as ``read_metrics``.
    """
    steps, losses = [], []
    for values in _metrics(path):
        if "loss" in values:
            steps.append(values["step"])
            losses.append(values["loss"])
    return steps, losses


def _metrics(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    if path.stat().st_size > LARGEST:  # metrics of millions of steps are smaller
        raise RunError(f"{path}: cannot be read: it has more than {LARGEST // 2**20} MiB")
    for _, values in _whole_lines(path):
        yield values


def _whole_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # of a pipe nothing may ever come
            raise RunError(f"{path}: cannot be read: it is no plain file")
        with path.open("rb") as file:
            while line := file.readline(LONGEST_LINE):
                values = _values_of(line)
                if values is not None:
                    yield line.rstrip(b"\n"), values
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {reason_of(error)}") from error


def _values_of(line: bytes) -> dict[str, Any] | None:
    try:
        values = parse_json(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) and _is_step(values.get("step")) and _is_ours(values) else None


def _is_step(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def _is_ours(values: Mapping[str, Any]) -> bool:
    """Whether what zoo writes is of the kind that it writes, and every number is one that training can come to."""
    errors, terms = values.get("stage_errors", []), values.get("terms", {})
    numbers = [values[key] for key in NUMBERS if key in values] + (errors if isinstance(errors, list) else [None])
    numbers += terms.values() if isinstance(terms, dict) else [None]
    others = [value for value in values.values() if isinstance(value, int | float)]
    return all(type(each) in (int, float) for each in numbers) and all(
        abs(each) < LARGEST_NUMBER for each in (*numbers, *others)
    )
