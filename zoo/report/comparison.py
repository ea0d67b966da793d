"""Assemblies side by side: what each costs, and what runs of it came to."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

from zoo.assembly import build, check_recorded
from zoo.audit import activation_memory, audit_backbone, held_memory
from zoo.devices import set_aside
from zoo.distributed.distributed import Distributed
from zoo.errors import AuditError, PluginError, ZooError
from zoo.recipe import Overrides, Recipe, fingerprint
from zoo.registry import Registry
from zoo.runs.judged import GENERATED, HELD_OUT
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder, step_of
from zoo.train.trial import judge_run


@dataclass(frozen=True)
class StageCost:
    """A stage at batch 1: its noise levels (low, high), multiply-adds of a pass, and tokens at every level."""

    noise: tuple[float, float]
    macs: int
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """What an assembly costs.

    Attributes:
        params: parameters, fixed ones included.
        macs: multiply-adds of a pass, mean over uniform noise levels.
        stages: noisiest first.
        image_macs: multiply-adds of an image by the recipe's ``sample`` section; None where a solver of adaptive steps
            decides, or is not here.
        passes: through the backbone for an image; None likewise.
        sampling: solver, updates and guidance, in words; and why the passes are not known.
        activation_bytes: estimated, what a sample adds to the peak of a training step, mean over uniform noise levels;
            None where a part does not run on fake tensors.
        held_bytes: what training holds whatever the batch; None where the optimizer does not run on fake tensors, or is
            not here.
        memory_problem: why one of both is None.
        training_macs: multiply-adds of a forward pass in training, where a router leaves out tokens; None for ``macs``.
    """

    params: int
    macs: int
    stages: tuple[StageCost, ...]
    image_macs: int | None
    passes: int | None
    sampling: str
    activation_bytes: int | None
    held_bytes: int | None = None
    memory_problem: str = ""
    training_macs: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        run: its folder.
        step: of the checkpoint that was judged.
        images: how many were drawn.
        figures: of the generated images, by name.
        metrics: that told them, by the names of the parts.
        trained_per_second: images, the median over the lines of the metrics; None without a line.
        drawn_per_second: images, while it was judged.
        has_floor: there are figures of held-out real images to hold these against.
        doubts: why the figures may not mean what they seem to, a line each.
    """

    run: str
    step: int
    images: int
    figures: Mapping[str, float]
    metrics: tuple[str, ...]
    trained_per_second: float | None
    drawn_per_second: float
    has_floor: bool
    doubts: tuple[str, ...] = ()


class Problem(NamedTuple):
    """Why a run cannot be judged, beginning with the run; and the exit code that a command ends with."""

    words: str
    exit_code: int


class Spread(NamedTuple):
    """Mean and standard deviation over runs; None for a single one."""

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class Entry:
    """An assembly with its runs."""

    name: str
    cost: Cost
    outcomes: tuple[Outcome, ...] = ()

    def figures(self) -> dict[str, Spread]:
        """Every figure that all runs have, and their speeds."""
        if not self.outcomes:
            return {}
        names = [name for name in self.outcomes[0].figures if all(name in each.figures for each in self.outcomes)]
        values = {name: [each.figures[name] for each in self.outcomes] for name in names}
        trained = [each.trained_per_second for each in self.outcomes if each.trained_per_second is not None]
        if len(trained) == len(self.outcomes):
            values["trained images/s"] = trained
        values["drawn images/s"] = [each.drawn_per_second for each in self.outcomes]
        return {name: _spread(found) for name, found in values.items()}


@set_aside()
def cost_of(recipe: Recipe) -> Cost:
    """Count an assembly without allocating it.

    Raises:
        AuditError: its multiply-adds cannot be counted exactly.
    """
    backbone = build(recipe, device="meta")
    report = audit_backbone(backbone, recipe)
    activation_bytes, held_bytes, problem = None, None, ""
    try:
        held_bytes = held_memory(backbone, recipe).total
        activation_bytes = activation_memory(backbone, recipe).mean_bytes
    except (AuditError, PluginError) as error:
        problem = str(error)
    image = report.image
    return Cost(
        params=report.params.total,
        macs=report.macs,
        stages=tuple(
            StageCost(stage.noise, stage.macs, tuple(level.tokens for level in stage.levels)) for stage in report.stages
        ),
        image_macs=image.macs,
        passes=None if image.passes is None else sum(image.passes),
        sampling=image.words,
        activation_bytes=activation_bytes,
        held_bytes=held_bytes,
        memory_problem=problem,
        training_macs=None if report.training_macs == report.macs else report.training_macs,
    )


def outcome_of(run: RunFolder, found: Mapping[str, Any]) -> Outcome:
    """What a run came to.

    Args:
        run: the folder.
        found: what ``judge_run`` found.
    """
    told = [line.get("images_per_second") for line in read_metrics(run.metrics)]
    speeds = [each for each in told if isinstance(each, int | float)]
    return Outcome(
        run=str(run.path),
        step=step_of(found),
        images=found["counts"][GENERATED],
        figures=found["figures"][GENERATED],
        metrics=tuple(each["type"] for each in found["evaluate"]["metrics"]),
        trained_per_second=median(speeds) if speeds else None,
        drawn_per_second=found["drawing"]["images_per_second"],
        has_floor=HELD_OUT in found["figures"],
        doubts=tuple(found["doubts"]),
    )


class Comparison:
    """Every recipe with the runs of it, seeds aside, and then every other recipe that a run is of.

    Args:
        recipes: to be counted; equal ones count once.
        runs: to be judged, unless they have been.
        overrides: of the runs' recipes: of the sections that training does not depend on.
        registry: the parts to choose from.
        world: where to draw.

    Attributes:
        problems: runs that could not be judged, and why; known when all entries are.

    Raises:
        PluginError: a run has a part of a plug-in that is not installed.
        RecipeError: the recipe of a run cannot be built here.
    """

    def __init__(
        self,
        recipes: Iterable[Recipe],
        runs: Iterable[RunFolder],
        overrides: Overrides,
        registry: Registry,
        world: Distributed,
    ) -> None:
        self.registry, self.world = registry, world
        self._found: dict[str, tuple[str, Recipe, list[tuple[RunFolder, Recipe]]]] = {}
        for recipe in recipes:
            self._found.setdefault(_identity(recipe), (recipe.name, recipe, []))
        self.problems: list[Problem] = []
        known: dict[tuple[str, str], RunFolder] = {}
        for run in {each.path.resolve(): each for each in runs}.values():
            recipe = check_recorded(run.read_recipe(overrides), registry, ("backbone", "data", "sample", "evaluate"))
            identity = _identity(recipe)
            # Copies are no repetitions; one that went on by another recipe, to other weights, has a row of its own.
            first = known.setdefault((run.recorded_run() or str(run.path.resolve()), identity), run)
            if first is not run:
                told = f"{run.path}: is of the same run as {first.path}, and no repetition of it; it is left out"
                warnings.warn(told, stacklevel=2)
                continue
            is_taken = recipe.name in (name for name, _, _ in self._found.values())
            name = str(run.path) if is_taken else recipe.name
            self._found.setdefault(identity, (name, recipe, []))[2].append((run, recipe))

    def __len__(self) -> int:
        return len(self._found)

    def entries(self) -> Iterator[Entry]:
        """Each of them, when it has been counted and judged.

        A run that cannot be judged is among the ``problems``, and keeps nothing from the others.

        Raises:
            AuditError: an assembly cannot be counted exactly.
        """
        for name, recipe, runs in self._found.values():
            yield Entry(name, cost_of(recipe), tuple(self._outcomes(runs)))

    def _outcomes(self, runs: Iterable[tuple[RunFolder, Recipe]]) -> Iterator[Outcome]:
        for run, recipe in runs:
            try:
                yield outcome_of(run, judge_run(run, recipe, self.registry, self.world))
            except ZooError as error:
                words = "; ".join(str(error).splitlines())
                where = "" if words.startswith(f"{run.path}") else f"{run.path}: "
                self.problems.append(Problem(where + words, error.exit_code))


def _identity(recipe: Recipe) -> str:
    """The same for runs that are to be averaged: seed and recorded statistics of the data may differ."""
    resolved: dict[str, Any] = recipe.resolved()
    resolved["train"]["seed"] = 0
    resolved["data"]["normalize"] = recipe.data.normalize.type
    return fingerprint(resolved) + repr((resolved["sample"], resolved["data"]["leave_out"]))


def _spread(values: Sequence[float]) -> Spread:
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None)
