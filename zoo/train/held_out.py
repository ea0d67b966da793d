"""Held-out samples, and the loss of a run's weights on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.callbacks import HeldOut
from zoo.data.stream import Batch, Order, Reader, Share
from zoo.evaluate.judging import RealImages
from zoo.flow import Objective, objective_of, total
from zoo.shell import Commands
from zoo.train.matching import refuse_labels_in, refuse_labels_of, refuse_other_latents
from zoo.train.stages import by_stage
from zoo.train.trainer import Trainer
from zoo.weights import Weights, Which, filled


class RunHeldOut(HeldOut):
    """Held-out samples of a run's dataset, of classes that it is trained on as far as that is known.

    Products of matrices depend on the batch in their last bits: every pass has ``sample.batch`` samples, whichever
    process makes it, and the last one the first samples again.

    Args:
        trainer: what trains.
        commands: what goes on with the run, for advice.
        count: how many at most.
        seed: of their choice and of their noise.

    Raises:
        MissingSplitError: the dataset holds none out.
        DataError: they cannot be read.
        ZooError: they are not such as the backbone takes.
    """

    def __init__(self, trainer: Trainer, commands: Commands, count: int, seed: int) -> None:
        self._trainer = trainer
        job, recipe = trainer.job, trainer.job.recipe
        with trainer.world.together():
            found = RealImages(job.dataset, "held_out", seed, count, leave_out=recipe.data.leave_out)
            found.without_other_classes(job.classes)
            refuse_labels_of(recipe, trainer.backbone.conditioner, found.source, found.left_out)
            refuse_other_latents(recipe, found.source, found.left_out)
        self._count, self._batch = len(found), recipe.sample.batch
        self._passes = -(-self._count // self._batch)
        places = self._passes * self._batch
        self._reader = Reader(
            found.source,
            job.normalize,
            _Chosen(len(found.source), places, seed, found.left_out, found.indices),
            Share(pieces=self._passes),
            _AnyLevel(),
            num_classes=recipe.backbone.num_classes,
            extra=trainer.objective.extra,
        )
        self._reader.of_run(commands)

    def __len__(self) -> int:
        """How many."""
        return self._count

    def stages(self, levels: Sequence[float]) -> list[int]:
        """Of noise levels."""
        dtype = next(self._trainer.backbone.parameters()).dtype
        found: list[int] = self._trainer.backbone.stage_of(torch.tensor(levels, dtype=dtype)).tolist()
        return found

    def losses(self, which: Sequence[Which], levels: Sequence[float]) -> Float[Tensor, "which levels n"]:
        """The loss of each sample at each noise level."""
        if isinstance(which, str):
            raise ValueError(f"it asks for the loss of {which!r}; let it ask for that of a list, such as [{which!r}]")
        if beyond := [level for level in levels if not 0 < level < 1]:
            raise ValueError(f"it asks for the loss at noise level {beyond[0]}; let it lie between 0 and 1")
        trainer, world, batch = self._trainer, self._trainer.world, self._batch
        of_losses = trainer.state.weights_of_losses(world)
        objectives = [self._objective(each, of_losses) for each in which]
        found = torch.zeros(len(which), len(levels), self._passes * batch, dtype=torch.float64)
        with world.together(), world.busy():
            for number in range(world.rank, self._passes, world.size):
                piece = self._reader.read(0, number)  # whose noise is a function of the place among all samples
                refuse_labels_in(piece, trainer.backbone.conditioner, self._reader)
                own = slice(number * batch, (number + 1) * batch)
                for each, objective in zip(found, objectives, strict=True):
                    for row, level in enumerate(levels):
                        each[row, own] = self._losses(objective, piece, level)
        return world.sum(found)[:, :, : self._count]  # exact: of each number all others are zero

    def _objective(self, which: Which, of_losses: dict[str, Tensor]) -> Objective:
        """A copy of what is trained, which draws no number from a global generator."""
        recipe, world = self._trainer.job.recipe, self._trainer.world
        tensors = self._trainer.state.weights(which, world, everywhere=True)
        with world.together(), world.busy():  # what fails on one process alone would leave the others waiting
            backbone = filled(Weights(recipe, tensors, {}), world.device)
            with torch.random.fork_rng(devices=[world.device] if world.device.type == "cuda" else []):
                objective = objective_of(recipe, backbone)
            objective.losses.load_state_dict(of_losses)
            return objective.eval()

    @torch.no_grad()
    def _losses(self, objective: Objective, piece: Batch, level: float) -> Float[Tensor, " B"]:
        device, count = self._trainer.world.device, len(piece.t)
        backbone, bfloat16 = objective.backbone, self._trainer.options.precision == "bfloat16"
        counts = [0] * len(backbone.stages)
        counts[self.stages([level])[0]] = count
        dtype = next(backbone.parameters()).dtype
        piece = replace(piece, t=torch.full((count,), level, dtype=dtype), counts=tuple(counts))
        piece = piece.moved(lambda tensor: tensor.to(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            values = objective(by_stage(piece, backbone))
        return total(objective.terms, values, piece.share, piece.weight).double().cpu()


@dataclass(frozen=True)
class _Chosen(Order):
    """Some samples in turn, and again from the first."""

    chosen: Int[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, np.int64), compare=False)

    def indices(self, step: int, places: Sequence[int]) -> Int[np.ndarray, " B"]:
        found: Int[np.ndarray, " B"] = self.chosen[np.asarray(places) % len(self.chosen)]
        return found


class _AnyLevel:
    """Leaves the noise level to whoever has read the samples."""

    def by_stage(self, places: Iterable[int]) -> list[list[int]]:
        return [list(places)]

    def draw(self, places: Tensor, batch: int, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return torch.zeros(len(places)), torch.ones(len(places)), torch.ones(len(places))
