"""What a researcher writes beside a backbone, by the manual alone: a part of each kind, and a weight format."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

import zoo
from zoo.callbacks import Callback, Step, Training
from zoo.flow import AffinePath, Guidance, Loss, LossInputs
from zoo.optim import Optimizer, Schedule, Weight
from zoo.weights import Entry, Turn, WeightFormat


@zoo.part("loss", "huber")
class Huber(Loss):
    """Huber's of the velocity, whose outliers pull no harder than others (Huber, 1964), and calm tokens behind a block.

    Options:
        delta: size of an error from which on it counts in a line.
        tap: block whose tokens' mean square is added.
        calm: weight of that.
    """

    def __init__(
        self,
        block_dims: tuple[int, ...],
        *,
        delta: Annotated[float, Field(gt=0.0, le=100.0)] = 1.0,
        tap: Annotated[int, Field(ge=0)] = 0,
        calm: Annotated[float, Field(ge=0.0)] = 0.01,
    ) -> None:
        super().__init__()
        if tap >= len(block_dims):
            raise ValueError(f"tap {tap} is none of {len(block_dims)} blocks")
        self.delta, self.calm = delta, calm
        self.taps = (tap,)

    def forward(self, inputs: LossInputs) -> Tensor:
        errors = F.huber_loss(inputs.velocity, inputs.target_velocity, reduction="none", delta=self.delta)
        (tap,) = (inputs.taps[index] for index in self.taps)
        return errors.flatten(1).mean(dim=1) + self.calm * tap.tokens.square().flatten(1).mean(dim=1)


@zoo.part("optimizer", "nesterov")
class Nesterov(Optimizer):
    """Stochastic gradient descent with Nesterov's momentum (Sutskever et al., 2013), and matrices alone decay.

    Options:
        momentum: decay of the mean of gradients.
        weight_decay: of matrices.
    """

    def __init__(
        self,
        *,
        momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9,
        weight_decay: Annotated[float, Field(ge=0.0)] = 0.0,
    ) -> None:
        self.momentum, self.weight_decay = momentum, weight_decay

    def build(self, weights: Sequence[Weight], learning_rate: float) -> list[torch.optim.Optimizer]:
        """One for matrices and one for all else, of those that there are."""
        matrices = [each.parameter for each in weights if each.role == "matrix"]
        others = [each.parameter for each in weights if each.role != "matrix"]
        defaults = {"lr": learning_rate, "momentum": self.momentum}
        shares = ((matrices, self.weight_decay), (others, 0.0))
        return [Descent(share, {**defaults, "weight_decay": decay}) for share, decay in shares if share]


class Descent(torch.optim.Optimizer):
    """Keeps a sum of gradients that fades, and looks a step ahead."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update all weights."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                gradient = weight.grad + group["weight_decay"] * weight
                state = self.state[weight]
                if not state:
                    state["velocity"] = torch.zeros_like(weight)
                state["velocity"].mul_(group["momentum"]).add_(gradient)
                weight.sub_(gradient + group["momentum"] * state["velocity"], alpha=group["lr"])


@zoo.part("schedule", "inverse_sqrt")
class InverseSqrt(Schedule):
    """Flat, then by the inverse square root of the updates (EDM2: Karras et al., 2024, arXiv 2312.02696).

    Options:
        flat: updates until it begins to fall.
    """

    def __init__(self, *, flat: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000) -> None:
        self.flat = flat

    def factor(self, step: int, steps: int) -> float:
        """It knows of no end."""
        return 1 / math.sqrt(max(step / self.flat, 1.0))


@zoo.part("callback", "table")
class Table(Callback):
    """A row of figures of every so many steps, in ``table.csv``.

    Options:
        every: steps from row to row.
    """

    def __init__(self, *, every: Annotated[int, Field(ge=1)] = 1) -> None:
        self.every = every

    def begin(self, training: Training) -> None:
        """Rows of steps that come again go."""
        self.path, rows = training.file("table.csv"), list[list[str]]()
        if self.path.exists():
            with self.path.open(newline="") as file:
                rows = [row for row in list(csv.reader(file))[1:] if int(row[0]) <= training.step]
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerows([["step", "loss", "gradient", "learning_rate"], *rows])

    def step(self, training: Training, step: Step) -> None:
        if step.step % self.every == 0:
            with self.path.open("a", newline="") as file:
                csv.writer(file).writerow([step.step, step.loss, step.grad_norm, step.learning_rate])


@zoo.part("path", "offset_cosine")
class OffsetCosine(AffinePath):
    """The cosine of improved DDPM, whose noise begins less slowly (Nichol and Dhariwal, 2021, arXiv 2102.09672, 3.2).

    Options:
        offset: share of the cosine that is left out before t = 0; with none it is SiT's GVP.
    """

    def __init__(self, *, offset: Annotated[float, Field(ge=0.0, le=0.05)] = 0.008) -> None:
        self.offset = offset

    def alpha(self, t: Tensor) -> Tensor:
        start, way = self._angles(t)
        return torch.cos(start + way).clamp(min=0.0) / math.cos(start)

    def sigma(self, t: Tensor) -> Tensor:
        """``sqrt(1 - alpha^2)`` as a product, which is exact near t = 0."""
        start, way = self._angles(t)
        return torch.sqrt(torch.sin(way) * torch.sin(2 * start + way)) / math.cos(start)

    def _angles(self, t: Tensor) -> tuple[float, Tensor]:
        """Where the cosine starts, and how far it is from there."""
        quarter = math.pi / 2 / (1 + self.offset)
        return self.offset * quarter, t * quarter


@zoo.part("guidance", "rising")
class Rising(Guidance):
    """Classifier-free guidance that rises from none at noise to all at data (Wang et al., 2024, arXiv 2404.13040).

    Options:
        scale: at t = 0.
        power: how late it rises.
    """

    def __init__(
        self,
        *,
        scale: Annotated[float, Field(ge=0.0)] = 1.0,
        power: Annotated[float, Field(ge=0.25, le=4.0)] = 1.0,
    ) -> None:
        self.strength, self.power = scale, power
        self.is_none = scale == 1.0

    def scale(self, stage: int, t: float) -> float:
        return 1.0 + (self.strength - 1.0) * (1.0 - t) ** self.power

    def join(self, stage: int, t: float, first: Tensor, second: Tensor | None, z: Tensor, path: AffinePath) -> Tensor:
        assert second is not None  # as it was asked for
        return second + self.scale(stage, t) * (first - second)


NAMES = (
    ("patch_embedders.2x2.proj.", "stem."),
    ("positions.2x2.table", "places"),
    ("time_embedder.layers.0.", "clock.first."),
    ("time_embedder.layers.1.", "clock.second."),
    ("class_conditioner.embedding.", "classes."),
    ("modulation.blocks.", "steering."),
    ("modulation.head.", "steering.last."),
    ("blocks.", "layers."),
    ("heads.2x2.proj.", "out."),
)
"""How tensors' names begin: in zoo, and in Lanes."""


class Lanes(WeightFormat):
    """A DiT by other names: queries, keys and values one by one, a stem that is a convolution, and data - noise."""

    name = "lanes"
    prediction: Literal["velocity"] = "velocity"
    path = "offset_cosine"

    def recognises(self, keys: Collection[str]) -> bool:
        return "layers.0.attention.key.weight" in keys

    def entries(self, recipe: Any, backbone: Any) -> Iterator[Entry]:
        for own in backbone.state_dict():
            begins, name = next(each for each in NAMES if own.startswith(each[0]))
            theirs = name + own.removeprefix(begins)
            if own == "patch_embedders.2x2.proj.weight":
                yield Entry(theirs, own, Turn("d c p q", "d (c p q)", (("p", 2), ("q", 2))))
            elif ".qkv." in own:
                for index, word in enumerate(("query", "key", "value")):
                    yield Entry(theirs.replace("qkv", word), own, share=(index, 3))
            else:
                yield Entry(theirs, own, Turn(sign=-1 if name == "out." else 1))

    def misfits(self, recipe: Any, backbone: Any) -> Iterator[str]:
        yield from super().misfits(recipe, backbone)
        for own in backbone.state_dict():
            if not any(own.startswith(begins) for begins, _ in NAMES):
                yield f"backbone: {self.name} has no place for {own}"


@zoo.hookimpl
def zoo_weight_formats() -> list[type[WeightFormat]]:
    return [Lanes]


PARTS = (Huber, Nesterov, InverseSqrt, Table, OffsetCosine, Rising)
