"""Metrics and pictures as TensorBoard shows them; an optional extra."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from zoo.callbacks.base import Callback
from zoo.callbacks.training import Training, numbers
from zoo.errors import RunError
from zoo.registry import part


@part("callback", "tensorboard")
class TensorBoard(Callback):
    """The lines of the metrics as event files for TensorBoard, a curve for each number, and the pictures shown."""

    def __init__(self) -> None:
        self._writer: Any = None
        self._after = 0

    def begin(self, training: Training) -> None:
        """What a run that was cut off wrote of later steps, or of one that is told again, is hidden.

        Raises:
            RunError: TensorBoard is not installed.
        """
        self._after = training.step - training.tells_again
        _writer_class()

    def log(self, training: Training, line: Mapping[str, Any]) -> None:
        """Numbers of the line; lists and mappings become a curve for each item."""
        with self._open(training) as writer:
            for name, value in numbers(line):
                writer.add_scalar(name, value, line["step"])

    def show(self, training: Training, name: str, image: np.ndarray) -> None:
        """A picture of the step."""
        with self._open(training) as writer:
            writer.add_image(name, image, training.step, dataformats="HWC")

    def end(self, training: Training, error: Exception | None) -> None:
        """Bring everything to the disk."""
        if self._writer is not None:
            self._writer.close()

    @contextmanager
    def _open(self, training: Training) -> Iterator[Any]:
        """The writer; if what is done with it fails, the next is a new one. A run that is killed does not close it."""
        writer, self._writer = self._writer or self._new(training), None
        try:
            yield writer
            writer.flush()
        except BaseException:
            with suppress(Exception):  # it closes its file, and its thread ends
                writer.close()
            raise
        self._writer, self._after = writer, training.step

    def _new(self, training: Training) -> Any:
        # Its names are made of the time, the machine and the process: one that nobody can guess replaces no file.
        suffix = f".{uuid.uuid4().hex}"
        return _writer_class()(str(training.folder), purge_step=self._after + 1, filename_suffix=suffix)


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RunError("TensorBoard is not installed; pip install 'diffusion-zoo[tensorboard]'") from error
    return SummaryWriter
