"""What callbacks see of a run, and may ask of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from zoo.assembly import create_parts
from zoo.attributes import TAKEN
from zoo.backbone import Backbone
from zoo.best import Best, best_of
from zoo.callbacks import Callback, HeldOut, Step, Training
from zoo.errors import RunError, shortened, with_article
from zoo.evaluate import Metric
from zoo.evaluate.beside import Evaluation
from zoo.evaluate.evaluation import evaluate
from zoo.files import reason_of
from zoo.hooks import brief
from zoo.pictures import write_png
from zoo.runs import checkpoint as checkpoints
from zoo.runs.judged import GENERATED
from zoo.runs.state import AVERAGE
from zoo.sampling.labels import labels_for
from zoo.sampling.sampler import prepare_sampler
from zoo.sampling.tracking import untold
from zoo.train.held_out import RunHeldOut
from zoo.train.records import Records
from zoo.train.trainer import Trainer
from zoo.weights import Weights, Which, filled

T = TypeVar("T")

AT_ONCE = 16
"""Images of a pass, where ``sample.batch`` asks for fewer."""

OWN_FIGURES = frozenset({each.name for each in fields(Step)} | {"images_per_second"})
"""What lines of the metrics hold whatever callbacks log."""


class RunTraining(Training):
    """A run, as one of its callbacks sees it.

    Args:
        name: of the callback.
        callback: that sees it.
        trainer: what trains.
        records: writes the lines of the metrics.
        tell: takes a line for the user, on the main process.
    """

    def __init__(
        self, name: str, callback: Callback, trainer: Trainer, records: Records, tell: Callable[[str], None]
    ) -> None:
        self.recipe, self.run = trainer.job.recipe, records.folder.run
        self.name = records.folder.path.resolve().name
        self.steps = self.recipe.train.steps
        self.rank, self.ranks, self.device = trainer.world.rank, trainer.world.size, trainer.world.device
        self.makes_images, self.tells_again = trainer.job.dataset.makes_images, False
        self._name, self._callback, self._trainer, self._records = name, callback, trainer, records
        self._tell, self._since = tell, time.perf_counter()
        self._doubts = set[str]()

    @property
    def step(self) -> int:
        """Updates done, or left out."""
        return self._trainer.step

    @property
    def seconds(self) -> float:
        """Seconds since ``begin``."""
        return time.perf_counter() - self._since

    @property
    def folder(self) -> Path:
        """The callback's own folder."""
        run, name = self._records.folder, self._callback.writes_to or self._name
        if name in TAKEN:
            raise ValueError(f"{name} is a folder of the run's own; let writes_to name another")
        if lost := run.lost():
            raise RunError(f"{run.path}: {lost}")
        own = run.path / name
        try:
            own.mkdir(exist_ok=True)
        except FileExistsError:
            raise RunError(f"{own}: is no folder; move it elsewhere") from None
        except OSError as error:
            raise RunError(f"{own}: cannot be made: {reason_of(error)}") from error
        return own

    def file(self, name: str) -> Path:
        """A file in it; nothing is written through a link that is there."""
        if name in ("", "..") or Path(name).name != name:
            raise ValueError(f"{name!r} is no name of a file in its own folder; let it be one, without folders")
        path = self._records.folder.own(self.folder / name)
        if path.is_symlink():
            path.unlink()
        return path

    def log(self, figures: Mapping[str, Any]) -> None:
        """A line of the metrics."""
        if self._name in OWN_FIGURES:
            raise ValueError(f"the metrics have a figure {self._name!r} of the run's own; call the callback otherwise")
        for name, value in _values(figures):
            if not _is_finite(value):
                what = f"its figure {name} is {brief(value)}, {with_article(type(value).__name__)}"
                raise ValueError(f"{what}; let it be a finite int or float, or a list or mapping of such")
        if self.is_main:
            self._records.append({"step": self.step, self._name: dict(figures)})

    def show(self, image: np.ndarray) -> None:
        """A picture in the callback's folder."""
        given = np.asarray(image)
        if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] not in (1, 3):
            what = f"an array {list(given.shape)} of {given.dtype}"
            raise ValueError(f"it shows {what}; let it be one [H, W, 1 or 3] of uint8")
        if self.is_main:
            path = self.file(f"step_{self.step:08d}.png")
            write_png(given, path)
            self._records.see(path.parent.name, given)

    def say(self, text: str) -> None:
        """A line for the user."""
        self._tell(shortened(text))

    def backbone(self, which: Which = "ema") -> Backbone | None:
        """A copy of the backbone."""
        self._refuse_alone("weights")
        world = self._trainer.world
        tensors = self._trainer.state.weights(which, world)
        with world.together(), world.busy():  # what fails on the main process alone would leave the others waiting
            return filled(Weights(self.recipe, tensors, {}), self.device) if self.is_main else None

    def images(self, count: int) -> list[np.ndarray] | None:
        """Pictures of the averaged weights; the other processes wait while the main one draws."""
        self._refuse_alone("images")
        _refuse_none("images", count)
        if not self.makes_images:
            return None
        backbone = self.backbone()
        found: list[np.ndarray] = []
        self._trainer.world.first(lambda: found.extend(self._drawn(backbone, count)) if backbone else None)
        return found if self.is_main else None

    def evaluate(self) -> dict[str, float]:
        """Figures of the checkpoint of this step."""
        self._refuse_alone("figures")
        with untold():
            found = self._evaluated()
        for doubt in found.record["doubts"]:
            if doubt not in self._doubts:
                self._tell(f"note: {self._name}: {doubt}")
        self._doubts.update(found.record["doubts"])
        return dict(found.figures[GENERATED])

    def _evaluated(self) -> Evaluation:
        """An evaluation of the averaged weights; the run keeps it, where it has saved a checkpoint of this step."""
        trainer, run = self._trainer, self._records.folder
        world, job = trainer.world, trainer.job
        tensors = trainer.state.weights("ema", world, everywhere=True)

        def find() -> dict[str, str]:
            run.wait()
            if not checkpoints.path_of(run.checkpoints, trainer.step).is_dir():
                return {"run": str(run.path), "weights": "ema"}
            checkpoint = checkpoints.at_step(run.checkpoints, trainer.step, [AVERAGE])
            digest = checkpoint.digest(AVERAGE)
            return {
                "run": str(run.path),
                "checkpoint": checkpoint.path.name,
                "weights": "ema",
                "weights_sha256": digest,
            }

        source = world.first(find)
        weights = Weights(job.recipe, tensors, source, job.classes, job.recipe.versions(), job.data)
        write = (lambda each: run.write_evaluation(each.to_dict())) if "checkpoint" in source else None
        before = np.random.get_state()  # which scikit-learn's classifiers draw from
        try:
            return evaluate(weights, job.recipe, world, write=write)
        finally:
            np.random.set_state(before)

    def keep_if_best(self, figure: str, value: float) -> bool:
        """Have the best checkpoint stay."""
        if not math.isfinite(value):
            raise ValueError(
                f"its figure {figure} is {value}, and only a finite number is better than another; leave the others out"
            )
        folder = self._records.folder
        best = best_of(folder.path, folder.run)
        if best is None or best.figure != figure or best.step > self.step or self._is_better(figure, value, best.value):
            best = Best(self.step, figure, value, folder.run)
            best.write(folder.path)
        return best.step == self.step

    def _is_better(self, figure: str, value: float, than: float) -> bool:
        metrics: list[Metric] = create_parts(self.recipe, "metric")
        more = any(figure in metric.more_is_better for metric in metrics)
        return value > than if more else value < than

    def held_out(self, count: int, seed: int) -> HeldOut:
        """Held-out samples."""
        self._refuse_alone("held-out samples")
        _refuse_none("held-out samples", count)
        return RunHeldOut(self._trainer, self._records.folder.commands, count, seed)

    def first(self, work: Callable[[], T]) -> T:
        """Let the main process work while the others wait."""
        self._refuse_alone("all processes")
        return self._trainer.world.first(work)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        self._refuse_alone("all processes")
        return self._trainer.world.sum(values.clone())

    def _refuse_alone(self, what: str) -> None:
        if not self._callback.everywhere:
            raise ValueError(f"it asks for {what}, which takes all processes; let it say everywhere = True")

    def _drawn(self, backbone: Backbone, count: int) -> Iterator[np.ndarray]:
        job, seed = self._trainer.job, self.recipe.train.seed
        second = None if job.second is None else filled(job.second, self.device)
        at_once = min(count, max(AT_ONCE, self.recipe.sample.batch))
        sampler = prepare_sampler(self.recipe, seed, at_once, second)
        there = job.classes.with_samples
        labels = labels_for(backbone.conditioner, count, "balanced", seed, sampler.samples, there)
        for batch in range(math.ceil(count / at_once)):
            yield from sampler.images(backbone, labels.values, batch)


def _refuse_none(what: str, count: int) -> None:
    if count < 1:
        raise ValueError(f"it asks for {count} {what}; let it ask for 1 or more")


def _values(figures: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in lists and mappings of them, and where it stands."""
    if isinstance(figures, list | Mapping):
        for key, each in figures.items() if isinstance(figures, Mapping) else enumerate(figures):
            yield from _values(each, f"{name}/{key}".removeprefix("/"))
    else:
        yield name, figures


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
