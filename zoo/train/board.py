"""Metrics as TensorBoard shows them; an optional extra."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.errors import RunError


class Board:
    """Writes TensorBoard's event files.

    Args:
        folder: to write into.
        step: after which lines come; what a run that was cut off wrote of later steps is hidden.

    Raises:
        RunError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RunError(
                "train.tensorboard: TensorBoard is not installed; pip install 'diffusion-zoo[tensorboard]'"
            ) from error
        # Its names are made of the time, the machine and the process: one that nobody can guess replaces no file.
        self._writer = SummaryWriter(str(folder), purge_step=step + 1, filename_suffix=f".{uuid.uuid4().hex}")

    def write(self, line: Mapping[str, Any]) -> None:
        """A line of the metrics; lists and mappings become a curve for each item."""
        for name, value in line.items():
            items = dict(enumerate(value)) if isinstance(value, list) else value
            own = {f"{name}/{key}": each for key, each in items.items()} if isinstance(items, dict) else {name: value}
            for key, each in own.items():
                self._writer.add_scalar(key, each, line["step"])

    def close(self) -> None:
        """Bring everything to the disk."""
        self._writer.close()
