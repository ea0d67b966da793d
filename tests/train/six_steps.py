"""Runs of six steps."""

from __future__ import annotations

from pathlib import Path

from tests.train.small import small
from zoo.distributed.distributed import Distributed
from zoo.registry import Registry
from zoo.runs.run_folder import RunFolder
from zoo.train.run import Run, Silent

STEPS = 6


def run(world: Distributed, path: Path, watcher: Silent, *overrides: str) -> int:
    """Train a backbone that draws from PyTorch's generator, or go on; gives the steps that were done."""
    registry = Registry()
    recipe = small(f"train.steps={STEPS}", *overrides, registry=registry)
    folder = RunFolder(path)
    return Run(recipe, folder, registry, world, watcher).train(resume=folder.is_used).step


def steps_in(path: Path) -> list[int]:
    return [int(each.name.removeprefix("step_")) for each in sorted((path / "checkpoints").glob("step_*"))]
