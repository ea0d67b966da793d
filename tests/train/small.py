"""A hybrid on digits that trains in a second, and runs of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from zoo.assembly import load_recipe
from zoo.callbacks import Step
from zoo.distributed.distributed import Distributed
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.runs.run_folder import RunFolder
from zoo.runs.writing import WRITING
from zoo.train.run import Run, Silent

ALONE = Distributed(0, 1, torch.device("cpu"))
STAGES = [
    {"noise_above": 0.5, "levels": [{"patch": 8, "blocks": 1}, {"patch": 4, "blocks": 1}]},
    {"noise_above": 0.0, "levels": [{"patch": 4, "blocks": 2}]},
]
SIZE: dict[str, Any] = {
    "latent": {"channels": 1, "height": 8, "width": 8},
    "num_classes": 10,
    "dim": 16,
    "depth": 2,
    "heads": 2,
}
"""How large a backbone is that digits pass through in milliseconds."""

VALUES = {
    "name": "small",
    "backbone": {
        **SIZE,
        "patch_schedule": {"type": "by_depth_and_timestep", "stages": STAGES},
        "class_conditioner": {"type": "class_tokens", "tokens": 2, "std": 1.0},
        "stage_embedder": "learned",
    },
    "train": {"steps": 3, "batch": 8, "learning_rate": 0.01, "log_every": 1, "checkpoint_every": 2, "clip": 1.0},
    "sample": {"steps": 2, "batch": 6},
}


def written() -> None:
    """Wait until checkpoints that are being written are there, or what is done to their folder meets them half way."""
    for each in threading.enumerate():
        if each.name == WRITING:
            each.join()


class Said(Silent):
    """Keeps what is said, and does something when a step has been done."""

    def __init__(self, at: int = 0, work: Callable[[], object] = lambda: None) -> None:
        self.at, self.work = at, work
        self.said: list[str] = []
        self.steps: list[int] = []

    def step(self, step: Step, images_per_second: float | None) -> None:
        self.steps.append(step.step)
        if step.step == self.at:
            self.work()

    def say(self, text: str) -> None:
        self.said.append(text)

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.said if line.startswith("warning: ")]


def small(*overrides: str, registry: Registry | None = None) -> Recipe:
    """The recipe, with ``key.path=value`` overrides."""
    return load_recipe(VALUES, overrides, registry or Registry())


def train(path: Path, *overrides: str, **options: Any) -> RunFolder:
    """A run of the recipe in a folder."""
    registry = Registry()
    folder = RunFolder(path)
    Run(small(*overrides, registry=registry), folder, registry, ALONE, Silent()).train(**options)
    return folder
