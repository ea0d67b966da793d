"""Which checkpoint of a run is the best one so far, by a figure of its samples. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.checkpoint_folders import checkpoints_in, step_of, steps_in
from zoo.errors import RunError, ZooError
from zoo.files import write_whole
from zoo.json_files import read_json

FILE = "best.json"
"""In the folder of a run."""


@dataclass(frozen=True)
class Best:
    """The best checkpoint.

    Attributes:
        step: its own.
        figure: what it was chosen by.
        value: of the figure.
        run: the id of the run.
    """

    step: int
    figure: str
    value: float
    run: str

    def write(self, folder: Path) -> None:
        """Keep it in the folder of the run.

        Raises:
            RunError: the disk refuses.
        """
        write_whole(folder / FILE, json.dumps(asdict(self), indent=1, allow_nan=False) + "\n", RunError)


def best_of(folder: Path, run: str | None = None) -> Best | None:
    """What a run keeps as its best checkpoint; None where there is none, or its record is damaged.

    Args:
        folder: of the run.
        run: its id; of whichever run if left out.
    """
    with suppress(OSError, ValueError, TypeError, KeyError):
        values: Mapping[str, Any] = read_json(folder / FILE)
        found = Best(int(values["step"]), str(values["figure"]), float(values["value"]), str(values["run"]))
        return found if run in (None, found.run) else None
    return None


def best_step(folder: Path) -> int:
    """The step of a run's best checkpoint, as ``--step best`` asks for.

    Raises:
        ZooError: none has been kept, or it is not there.
    """
    best = best_of(folder)
    if best is None:
        raise ZooError(
            f"{folder}: --step best: no checkpoint has been kept as the best one; let train.callbacks hold"
            " {type: evaluate, best: FIGURE}, or give a number"
        )
    there = [step_of(path) for path in checkpoints_in(folder / "checkpoints")]
    if best.step not in there:
        behind = there and there[-1] < best.step
        why = ": the run went on from an earlier step, and has not come to it again" if behind else ""
        raise ZooError(
            f"{folder}: --step best: step {best.step} had the best {best.figure}, and its checkpoint is not there{why};"
            f" give the number of one that is: {steps_in(folder / 'checkpoints')}"
        )
    return best.step
