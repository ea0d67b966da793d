"""Weights & Biases: https://docs.wandb.ai/ref/python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

import zoo
from zoo.callbacks import Callback, Training, numbers
from zoo_trackers.common import Every, is_due, is_stopped, library

SECONDS = 60.0
"""That the end of training waits for what is not uploaded yet; ``wandb sync`` uploads the rest."""

STOPPED = 75
"""The exit code of a run that was asked to stop, as of ``zoo train``."""


@zoo.part("callback", "wandb")
class WandB(Callback):
    """Metrics, pictures and the resolved recipe as a run of Weights & Biases, which goes on when the run does.

    The run's id is W&B's too. W&B takes no step twice, so that those which come again after a crash change nothing.

    Options:
        project: of W&B.
        name: of its run; null for that of the run's folder.
        every: steps between the lines of updates that are sent; null for every line of the metrics.
        tags: of its run.
        mode: online, offline (files in the run's ``wandb/``, for ``wandb sync``) or disabled; null for what W&B's own
            settings say, such as WANDB_MODE.
    """

    def __init__(
        self,
        *,
        project: str = "zoo",
        name: str | None = None,
        every: Every = None,
        tags: tuple[str, ...] = (),
        mode: Literal["online", "offline", "disabled"] | None = None,
    ) -> None:
        self.project, self.name, self.every, self.tags, self.mode = project, name, every, tags, mode
        self._run: Any = None

    def begin(self, training: Training) -> None:
        """Begin a run of W&B, or go on with it; where W&B cannot, say so.

        Raises:
            ImportError: W&B is not installed.
        """
        wandb = library("wandb")
        mode = self.mode or wandb.setup().settings.mode
        online = mode == "online"
        try:
            if online and not wandb.login(prompt=False):  # or it would ask, and wait, where there is a terminal
                raise wandb.Error("not logged in: wandb login, or mode: offline")
            self._run = self._begun(wandb, training, resume="allow" if online else None)
        except wandb.Error as error:
            training.say(f"warning: W&B: {error}; the run goes on without it")
        else:
            if mode != "disabled":
                training.say(f"note: W&B: {self._run.url if online else self._run.settings.sync_dir}")

    def log(self, training: Training, line: Mapping[str, Any]) -> None:
        """The numbers of a line, each by its name."""
        if self._run is not None and is_due(training, line, self.every):
            self._run.log(dict(numbers(line)), step=line["step"])

    def show(self, training: Training, name: str, image: np.ndarray) -> None:
        """A picture."""
        if self._run is not None:
            self._run.log({name: library("wandb").Image(image)}, step=training.step)

    def end(self, training: Training, error: Exception | None) -> None:
        """Upload what is left, and say how it ended."""
        if self._run is None:
            return
        stopped = is_stopped(training, error)
        if stopped:
            self._run.mark_preempting()
        self._run.finish(exit_code=STOPPED if stopped else int(error is not None))

    def _begun(self, wandb: Any, training: Training, resume: str | None) -> Any:
        return wandb.init(
            project=self.project,
            id=training.run,
            resume=resume,
            name=self.name or training.name,
            tags=list(self.tags),
            config=training.recipe.resolved(),
            allow_val_change=True,
            mode=self.mode,
            dir=training.folder.parent,  # where W&B makes a folder "wandb", which is this callback's own
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True, finish_timeout=SECONDS),
        )
