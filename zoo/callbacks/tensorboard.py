"""Metrics as TensorBoard shows them; an optional extra."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from zoo.callbacks.base import Callback, Training
from zoo.errors import RunError
from zoo.registry import part


@part("callback", "tensorboard")
class TensorBoard(Callback):
    """The lines of the metrics as event files for TensorBoard, a curve for each number."""

    def __init__(self) -> None:
        self._writer: Any = None
        self._after = 0

    def begin(self, training: Training) -> None:
        """What a run that was cut off wrote of later steps is hidden.

        Raises:
            RunError: TensorBoard is not installed.
        """
        self._after = training.step
        _writer_class()

    def log(self, training: Training, line: Mapping[str, Any]) -> None:
        """Numbers of the line; lists and mappings become a curve for each item."""
        writer, self._writer = self._writer or self._open(training), None  # a new one if this fails
        for name, value in _numbers(line):
            writer.add_scalar(name, value, line["step"])
        self._writer, self._after = writer, line["step"]

    def end(self, training: Training, error: Exception | None) -> None:
        """Bring everything to the disk."""
        if self._writer is not None:
            self._writer.close()

    def _open(self, training: Training) -> Any:
        # Its names are made of the time, the machine and the process: one that nobody can guess replaces no file.
        suffix = f".{uuid.uuid4().hex}"
        return _writer_class()(str(training.folder), purge_step=self._after + 1, filename_suffix=suffix)


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RunError("TensorBoard is not installed; pip install 'diffusion-zoo[tensorboard]'") from error
    return SummaryWriter


def _numbers(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a line but its step, by names with slashes."""
    for name, value in line.items():
        if isinstance(value, list | Mapping):
            below = value if isinstance(value, Mapping) else {str(index): each for index, each in enumerate(value)}
            yield from ((f"{name}/{key}", each) for key, each in _numbers(below))
        elif isinstance(value, int | float) and name != "step":
            yield name, value
