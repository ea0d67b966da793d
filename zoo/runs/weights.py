"""Weights to start from or to draw with: a weight file's, or a run's."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from zoo.assembly import OtherParts, RecipeLike, as_recipe, build, check_recorded
from zoo.backbone import Backbone
from zoo.classes import read_classes
from zoo.devices import check_dtype, usable_device
from zoo.errors import RunError, WeightsError, ZooError
from zoo.loose_parts import PartsLike
from zoo.recipe import Overrides, holds_run, no_run
from zoo.recipe.averages import Average, average_named
from zoo.recipe.options import TrainOptions
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.made import data_in, made_with
from zoo.runs.run_folder import RunFolder, load_run
from zoo.runs.state import AVERAGE, MODEL, average_files
from zoo.weights import Weights, Which, filled, read_weights, refuse_misfits, refuse_non_finite, refuse_other_backbone


@dataclass(frozen=True)
class WeightsSource:
    """Where weights are.

    Attributes:
        path: a weight file, or the folder of a run.
        checkpoint: of a run, the newest sound one.
        weights: of a run, which: averaged or last.
        name: what a checkpoint calls the file of these.
        problems: of a run, what is wrong with newer checkpoints.
    """

    path: Path
    checkpoint: checkpoints.Checkpoint | None
    weights: Which
    name: str
    problems: tuple[str, ...]

    @property
    def where(self) -> str:
        """For messages."""
        return str(self.checkpoint.path if self.checkpoint else self.path)

    def passed_over(self) -> Iterator[str]:
        """What to say of newer checkpoints that are not sound."""
        for problem in self.problems:
            yield f"{problem}; {Path(self.where).name} is taken"

    def read(self, registry: Registry, *, other_parts: OtherParts = "refused") -> Weights:
        """The weights, with their recipe.

        Args:
            registry: the parts to choose from.
            other_parts: see ``zoo.assembly.check_recorded``.

        Raises:
            WeightsError: the file cannot be used.
            RunError: the checkpoint cannot be read, any more.
            NumericError: weights that are not finite.
            PluginError: the backbone is of a plug-in that is not installed.
            RecipeError: the run's recipe cannot be built here.
        """
        if self.checkpoint is None:
            weights = read_weights(self.path, registry, other_parts=other_parts)
        else:
            weights = self._of_run(self.checkpoint, registry, other_parts)
        refuse_misfits(weights, build(weights.recipe, device="meta").state_dict(), self.where)
        refuse_non_finite(weights.tensors, self.where)
        return weights

    def _of_run(self, checkpoint: checkpoints.Checkpoint, registry: Registry, other_parts: OtherParts) -> Weights:
        state = checkpoint.state()
        source: dict[str, Any] = {
            "run": str(self.path),
            "checkpoint": checkpoint.path.name,
            "weights": self.weights,
            "weights_sha256": checkpoint.digest(self.name),
        }
        made = made_with(checkpoint, state)
        recorded = replace(load_run(self.path).read_recipe(), made=made)
        recipe = check_recorded(recorded, registry, needs=("backbone",), other_parts=other_parts)
        data = data_in(state, checkpoint.path)
        return Weights(recipe, checkpoint.tensors(self.name), source, read_classes(state), made.versions, data)


def find_weights(path: Path, *, weights: Which = "ema", step: int | None = None) -> WeightsSource:
    """Find the weights of a file that zoo wrote, or of the newest sound checkpoint of a run.

    Args:
        path: a weight file, or the folder of a run.
        weights: of a run, the averaged ones (``ema``; of several the first, and ``ema:0.9999`` another) or the last
            (``raw``).
        step: of a run, take the checkpoint of this step.

    Raises:
        WeightsError: there is no such file or folder.
        ZooError: the folder holds no run; ``raw``, an average by its decay or ``step`` of a file, which holds one set
            of weights; the run has no such average; or there are no such ``weights``.
        RunError: the run has no sound checkpoint, or none of this step.
    """
    average = average_named(weights)
    if not path.exists():
        raise WeightsError(str(no_run(path, or_file=True)))
    if path.is_file():
        if weights != "ema":
            raise ZooError(f"{path}: a weight file holds one set of weights; only of a run can {weights} ones be taken")
        if step is not None:
            raise ZooError(f"{path}: a weight file holds one set of weights; only of a run can --step be taken")
        return WeightsSource(path, None, weights, AVERAGE, ())
    if not holds_run(path):
        raise no_run(path, or_file=True)
    folder = RunFolder(path)
    if average is None:
        name = {"ema": AVERAGE, "raw": MODEL}[weights]
    else:
        name = _file_of(average, folder)
        weights = "ema" if name == AVERAGE else f"ema:{average}"  # the same on record, however it was asked for
    if step is not None:
        return WeightsSource(path, checkpoints.at_step(folder.checkpoints, step, [name]), weights, name, ())
    found, problems = checkpoints.latest(folder.checkpoints, [name])
    if found is None:
        if missing := folder.missing_checkpoints():
            raise RunError(missing)
        raise RunError(f"{path}: there is no sound checkpoint: {'; '.join(problems) or 'none has been written yet'}")
    return WeightsSource(path, found, weights, name, tuple(problems))


def _file_of(average: Average, folder: RunFolder) -> str:
    """What the checkpoints of a run call one of its averages.

    Raises:
        ZooError: it keeps no such average; the message has those that it keeps.
        RunError: its recipe does not say which these are.
    """
    files = average_files(averages_of(folder))
    for name, each in files.items():
        if each == average:
            return name
    there = ", ".join(f"ema:{each}" for each in files.values())
    raise ZooError(
        f"{folder.path}: keeps no average ema:{average}, only {there}, as its train.ema says; take one of these"
    )


def averages_of(folder: RunFolder) -> tuple[Average, ...]:
    """The averages that a run keeps, as its recipe has them.

    Raises:
        RunError: it does not say which.
    """
    try:
        said = folder.read_recipe().tree.plain()["train"]["ema"]
        return TrainOptions.model_validate_json(json.dumps({"ema": said})).averages
    except (LookupError, TypeError, ValidationError) as error:
        where = folder.recipe
        raise RunError(f"{where}: its train.ema is not what zoo wrote; put the file back as it was") from error


def open_weights(
    path: Path,
    registry: Registry,
    *,
    weights: Which = "ema",
    step: int | None = None,
    other_parts: OtherParts = "refused",
    tell: Callable[[str], object] = warnings.warn,
) -> Weights:
    """The weights of a file or of a run, as ``find_weights`` finds them.

    Args:
        path: a weight file, or the folder of a run.
        registry: the parts to choose from.
        weights: as ``find_weights`` takes them.
        step: of a run, take the checkpoint of this step.
        other_parts: see ``zoo.assembly.check_recorded``.
        tell: is told of newer checkpoints that are passed over.
    """
    found = find_weights(path, weights=weights, step=step)
    for problem in found.passed_over():
        tell(problem)
    return found.read(registry, other_parts=other_parts)


def load(
    path: str | Path,
    recipe: RecipeLike | None = None,
    overrides: Overrides = (),
    *,
    weights: Which = "ema",
    registry: Registry | None = None,
    parts: PartsLike = (),
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Backbone:
    """The backbone of a weight file or of a run, with its weights, in evaluation mode. It needs no recipe.

    Args:
        path: a safetensors file that zoo wrote, or the folder of a run.
        recipe: what it should be; another backbone than the file's is refused.
        overrides: of ``recipe``, as ``zoo.build`` takes them.
        weights: as ``find_weights`` takes them.
        registry: the parts to choose from; all installed ones if left out.
        parts: more of them, in no package: classes marked by ``@zoo.part``, or paths of Python files with such.
        device: where to; PyTorch's default if left out.
        dtype: of the parameters; the file's if left out.

    Raises:
        WeightsError: the file cannot be read, is damaged, or is of another backbone than ``recipe``.
        RunError: the run has no sound checkpoint.
        NumericError: weights that are not finite.
        PluginError: the backbone is of a plug-in that is not installed; or see ``zoo.build``.
        RecipeError: ``recipe``, or the run's own, cannot be read or built.
        ZooError: the folder holds no run, or no such ``weights``; others than ``ema`` of a file, which holds one set;
            or no such device.
        ValueError: overrides without a recipe or of a validated one, or what is no dtype.
    """
    check_dtype(dtype)
    place = usable_device(device)
    if recipe is None and list(overrides):
        raise ValueError("overrides: of a recipe, and none is given; a weight file's own is not changed")
    registry = (registry or Registry.installed()).with_parts(parts)
    given = open_weights(Path(path), registry, weights=weights)
    if recipe is not None:
        refuse_other_backbone(path, given.recipe, as_recipe(recipe, overrides, registry))
    return filled(given, place, dtype)
