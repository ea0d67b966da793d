"""Averages of a run's weights that nobody kept, made of those that were (EDM2, appendix C)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from zoo.assembly import build
from zoo.checkpoint_folders import checkpoints_in, run_of
from zoo.errors import RunError, ZooError, listed
from zoo.recipe.averages import Profile
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.checkpoint import Checkpoint
from zoo.runs.profiles import combination
from zoo.runs.run_folder import RunFolder, load_run
from zoo.runs.state import average_files
from zoo.runs.weights import WeightsSource, averages_of
from zoo.weight_patterns import freeze
from zoo.weights import Weights, refuse_non_finite

FURTHEST = 0.1
"""How far a profile may be from the one that is asked for, as a share of it: beyond it is another average."""


def combined(
    path: Path, profile: Profile, registry: Registry, step: int | None = None, tell: Callable[[str], None] = print
) -> tuple[Weights, float]:
    """The average of a run's weights by any profile, of the snapshots that it has kept of others.

    Args:
        path: the folder of the run.
        profile: of the average.
        registry: the parts to choose from.
        step: at which; that of the newest snapshot if left out.
        tell: is told of snapshots that are passed over.

    Returns:
        The weights; and how far their profile is from the one asked for, as a share of it.

    Raises:
        ZooError: the run keeps no averages by profile, or those that it has kept do not come near enough.
        RunError: there is no sound snapshot, or none of this step.
    """
    folder = load_run(path)
    files = {name: each for name, each in average_files(averages_of(folder)).items() if isinstance(each, Profile)}
    if not files:
        raise ZooError(
            f"{path}: its train.ema keeps no averages by std, of which others could be made; begin a run with such as"
            " train.ema=[{std: 0.05}, {std: 0.1}]"
        )
    snapshots = _snapshots(folder, list(files), step, tell)
    last = snapshots[-1]
    kept = [(each.std, snapshot.step) for snapshot in snapshots for each in files.values()]
    factors, distance = combination(kept, profile.std, last.step)
    if distance > FURTHEST:
        stds = ", ".join(str(each.std) for each in files.values())
        raise ZooError(
            f"{path}: of its {len(snapshots)} snapshots up to step {last.step} (std {stds}) the best mix is"
            f" {distance:.0%} off the profile of std {profile.std}, and {FURTHEST:.0%} is the limit; ask for a std"
            " nearer to these, or for a later --step, or keep more by train.snapshot_every"
        )
    given = WeightsSource(path, last, f"ema:{profile}", next(iter(files)), ()).read(registry)
    backbone = build(given.recipe, device="meta")
    freeze(backbone, given.recipe.train.freeze)
    averaged = [name for name, each in backbone.named_parameters() if each.requires_grad]
    sums = {name: torch.zeros(given.tensors[name].shape, dtype=torch.float64) for name in averaged}
    pairs = ((snapshot, file) for snapshot in snapshots for file in files)
    for (snapshot, file), factor in zip(pairs, factors.tolist(), strict=True):
        tensors = snapshot.tensors(file)
        for name, total in sums.items():
            total.add_(tensors[name].double(), alpha=factor)
    made: dict[str, Tensor] = {name: each.to(given.tensors[name].dtype) for name, each in sums.items()}
    refuse_non_finite(made, path)
    source = {key: given.source[key] for key in ("run", "weights")}
    source |= {
        "step": last.step,
        "snapshots": [each.step for each in snapshots],
        "std": sorted({std for std, _ in kept}),
    }
    return replace(given, tensors={**given.tensors, **made}, source=source), distance


def _snapshots(folder: RunFolder, files: list[str], step: int | None, tell: Callable[[str], None]) -> list[Checkpoint]:
    """Those up to a step that are sound and the run's own, by step; the last one is of that step."""
    run, found = folder.recorded_run(), []
    for path in checkpoints_in(folder.snapshots):
        problem = checkpoints.problem_of(path, files) if run_of(path) in (run, None) else "is of another run"
        if problem is None:
            found.append(Checkpoint(path))
        else:
            tell(f"{path}: {problem}; it is left out")
    if not found:
        raise RunError(f"{folder.snapshots}: there is no sound snapshot; the first comes with train.snapshot_every")
    if step is not None and step not in [each.step for each in found]:
        steps = listed([str(each.step) for each in found], 20)
        raise RunError(f"{folder.snapshots}: there is no sound snapshot of step {step}; there are: {steps}")
    return [each for each in found if step is None or each.step <= step]
