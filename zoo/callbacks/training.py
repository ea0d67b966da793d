"""A run as callbacks see it: what came out of its updates, and what they may ask of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.recipe import Recipe

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """What came out of an update.

    Attributes:
        step: updates done.
        loss: weighted mean of the sum of its terms over the global batch.
        terms: mean of each term alone over the distribution of noise levels, by name.
        stage_errors: plain means of the sum of the terms, stage by stage.
        grad_norm: before clipping.
        learning_rate: of this update.
        ema_decay: after this update, of the first average.
        stop: whether any process has been asked to stop.
        skipped: why the update was left out, which its loss and gradient tell; empty where it was done.
    """

    step: int
    loss: float
    stage_errors: tuple[float, ...]
    grad_norm: float
    learning_rate: float
    ema_decay: float
    stop: bool
    skipped: str = ""
    terms: Mapping[str, float] = field(default_factory=dict)

    def metrics(self) -> dict[str, Any]:
        """What a line of the metrics says, but for the time that it took."""
        if self.skipped:
            return {"step": self.step, "skipped": self.skipped}
        values = asdict(self)
        del values["stop"], values["skipped"]
        return {**values, "stage_errors": list(self.stage_errors)}


class HeldOut(ABC):
    """Samples that a run is not trained on, each with noise that stays, for the loss of its weights."""

    @abstractmethod
    def __len__(self) -> int:
        """How many."""

    @abstractmethod
    def stages(self, levels: Sequence[float]) -> list[int]:
        """The stage that each noise level belongs to, 0 = noisiest."""

    @abstractmethod
    def losses(self, which: Sequence[str], levels: Sequence[float]) -> Float[Tensor, "which levels n"]:
        """The loss of each sample at each noise level; takes all processes, and each has a share of the work.

        Each sample is read once, for all weights, of which the device holds a copy each meanwhile.

        The backbone is in evaluation mode, no label is dropped and no token left out. It is the sum of the losses by
        their weights, without the weighting of noise levels.

        Args:
            which: whose losses, each as ``Training.backbone`` has it.
            levels: noise levels in (0, 1).

        Returns:
            float64 on the CPU, the same on all processes, and for any number of them.

        Raises:
            DataError: a sample cannot be read.
        """


class Training(ABC):
    """A run as a callback sees it: how far it has come, and what may be asked of it.

    What takes all processes may be asked by a callback alone that is ``everywhere``, by each process in the same order.

    Attributes:
        recipe: what is trained.
        run: the run's id, which it keeps when it goes on.
        name: of the run's folder.
        steps: updates that it is to do in all.
        rank: this process.
        ranks: number of processes.
        device: where this process computes.
        makes_images: whether latents are pictures.
        tells_again: whether the step that it goes on from is told again after ``begin``, with its lines and pictures.
    """

    recipe: Recipe
    run: str
    name: str
    steps: int
    rank: int
    ranks: int
    device: torch.device
    makes_images: bool
    tells_again: bool

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    @property
    @abstractmethod
    def step(self) -> int:
        """Updates done, or left out, since the run began; in ``begin`` those that it goes on from."""

    @property
    def samples(self) -> int:
        """Samples that it has been trained on since it began."""
        return self.step * self.recipe.train.batch

    @property
    @abstractmethod
    def seconds(self) -> float:
        """Seconds since ``begin``."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The callback's own folder in the run, which is made; see ``Callback.writes_to``.

        Raises:
            RunError: the run has lost its folder, or something else is in the place.
        """

    @abstractmethod
    def file(self, name: str) -> Path:
        """A file of the callback's own folder that it may write, or write again.

        Raises:
            RunError: as ``folder``; or the folder is a link, and there is such a file where it leads to.
            ValueError: that is no name of a file.
        """

    @abstractmethod
    def log(self, figures: Mapping[str, Any]) -> None:
        """Have a line in metrics.jsonl, under the callback's name; what other processes than the main one ask is lost.

        Args:
            figures: finite numbers by name; or lists or mappings of such.

        Raises:
            ValueError: they are not.
        """

    @abstractmethod
    def show(self, image: np.ndarray) -> None:
        """Have a picture in the own folder, called by its step, and every callback told of it; lost as in ``log``.

        Args:
            image: 8-bit [H, W, 1 or 3].

        Raises:
            RunError: as ``file``; or it cannot be written.
        """

    @abstractmethod
    def say(self, text: str) -> None:
        """A line for who watches, on the main process: ``note: ...``, ``warning: ...`` or ``step 500: ...``."""

    @abstractmethod
    def backbone(self, which: str = "ema") -> nn.Module | None:
        """A copy of the backbone, in evaluation mode, on this process's device; takes all processes.

        Args:
            which: averaged weights, of several the first or as ``ema:0.9999`` any; or the last ones, ``raw``.

        Returns:
            It on the main process; None on others.
        """

    @abstractmethod
    def images(self, count: int) -> list[np.ndarray] | None:
        """Draw images from the averaged weights, as ``sample`` says and always of the same noise; takes all processes.

        Args:
            count: of images, which are of the classes in turn.

        Returns:
            8-bit pictures [H, W, 1 or 3] on the main process; None on others, and where latents are no pictures.
        """

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Draw from the averaged weights, and compare with real images, as ``sample`` and ``evaluate`` say; takes all
        processes. Asked in ``checkpoint``, it is of that, and the run keeps it as what ``zoo eval`` finds. Who watches
        is told once of each doubt that there is about figures.

        Returns:
            The figures of generated images, by name, on all processes.

        Raises:
            ZooError: latents are no pictures, or there is no figure that the features allow.
            DataError: real images, or what the features need, cannot be read.
            RunError: the disk refuses.
        """

    @abstractmethod
    def keep_if_best(self, figure: str, value: float) -> bool:
        """Have the checkpoint of this step stay, whatever ``keep_last`` is, in place of the best one before.

        On the main process, in ``checkpoint``. It does where there was none, or the figure is better; one that is as
        good does not. More is better of what a metric of ``evaluate`` says so of.

        Returns:
            Whether it is the best one.
        """

    @abstractmethod
    def held_out(self, count: int, seed: int) -> HeldOut:
        """Samples that are held out of training; takes all processes.

        Args:
            count: of them at most, chosen at random.
            seed: of the choice, and of the noise of each.

        Raises:
            MissingSplitError: the dataset holds none out.
            DataError: they cannot be read.
        """

    @abstractmethod
    def first(self, work: Callable[[], T]) -> T:
        """Let the main process do what takes long while the others wait; takes all processes.

        Returns:
            What ``work`` returned, a plain value, on all processes. What it raises is raised on all.
        """

    @abstractmethod
    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor on the CPU over all processes; takes all of them."""


def numbers(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a line of the metrics but its step, those in lists and mappings by names with slashes."""
    for name, value in line.items():
        if isinstance(value, list | Mapping):
            below = value if isinstance(value, Mapping) else {str(index): each for index, each in enumerate(value)}
            yield from ((f"{name}/{key}", each) for key, each in numbers(below))
        elif isinstance(value, int | float) and name != "step":
            yield name, value
