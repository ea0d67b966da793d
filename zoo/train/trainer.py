"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from zoo.backbone import Backbone
from zoo.data.stream import Batch, stream
from zoo.data_parallel import data_parallel
from zoo.errors import AllNotFiniteError, DataError, NumericError, ZooError, listed
from zoo.flow import prediction_errors
from zoo.labels import drop, move
from zoo.optim.updates import Updates
from zoo.recipe.options import TrainOptions
from zoo.shards import total_norm
from zoo.train.distributed import World
from zoo.train.job import Job
from zoo.train.optimizer import ema_decay, learning_rate
from zoo.train.state import TrainState, random_state

WORKERS_SHARE = 0.8
"""Of ``train.timeout``, in which data workers have to answer: their process says so before others give it up."""


@dataclass(frozen=True)
class Step:
    """What came out of an update.

    Attributes:
        step: updates done.
        loss: weighted mean of the squared error of the prediction over the global batch.
        stage_errors: plain means of it, stage by stage.
        grad_norm: before clipping.
        learning_rate: of this update.
        ema_decay: after this update.
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

    def metrics(self) -> dict[str, Any]:
        """What a line of the metrics says, but for the time that it took."""
        if self.skipped:
            return {"step": self.step, "skipped": self.skipped}
        values = asdict(self)
        del values["stop"], values["skipped"]
        return {**values, "stage_errors": list(self.stage_errors)}


class Trainer:
    """Trains a backbone, one update after another, on one process or on all that a job has.

    Args:
        job: what to train it with.
        backbone: with the same weights on every process, on the device of ``world``.
        world: this process among those of the job.

    Attributes:
        step: updates done or left out.
        skipped: updates that have been left out in a row, up to now.
        random: PyTorch's random states after the last step, which the next one draws from.
        whole: whether weights, averages and moments are those after the last step; not so within an update.
        alone: whether what fails now fails on this process alone, for all it knows; unless all have agreed on it.
    """

    def __init__(self, job: Job, backbone: Backbone, world: World) -> None:
        self.job, self.backbone, self.world = job, backbone, world
        self.options = job.recipe.train
        self.dtype = next(backbone.parameters()).dtype
        self.step = self.skipped = 0
        self.model = _wrapped(backbone, self.options, world)
        self.updates = Updates(job.optimizer, backbone, backbone.blocks, self.options.learning_rate)
        self.state = TrainState(backbone, self.updates)
        self.random = random_state(world.device)
        self.whole = self.alone = True

    def run(self, last: int, stop: Callable[[], bool] = lambda: False) -> Iterator[Step]:
        """Train to step ``last``, and tell every update; ends early, its step done, where ``stop`` says so on any rank.

        Raises:
            NumericError: a loss or a gradient is not finite, on any process, and the options do not have it left out;
                nothing has been updated by it.
            DataError: samples cannot be read, on any process; the updates before it are whole.
        """
        self.random = random_state(self.world.device)
        stop = _lasting(stop)
        with closing(self._batches(last, stop)) as batches:
            pieces, error = _next(batches)
            self._agree(error)
            if self.world.sum(torch.tensor([int(stop())])).item():  # while samples were waited for, or before
                return
            while self.step < last:
                with self.world.meeting("gradients"):
                    losses = self._accumulate(pieces)
                    norm = self._clip()
                pieces, error = _next(batches)  # while a GPU is still at work
                errors, weights = self._at_their_places(losses)
                told = torch.tensor([not norm.isfinite(), stop(), error is not None], dtype=torch.float64)
                told = self.world.sum(torch.cat([errors, weights, told]))
                errors, weights, (infinite, stopped, failed) = torch.split(told, [len(errors), len(weights), 3])
                problem = self._problem(errors, bool(infinite))
                with self.world.busy():
                    if not problem:
                        self._update()
                    else:
                        self.alone = False  # since all have the same numbers
                        self._skip(problem, errors)
                        self.alone = True
                    self.step += 1
                    self.whole, self.random = True, random_state(self.world.device)
                yield self._told(errors, weights, norm, stop=bool(stopped), skipped=problem)
                if stopped:
                    return
                if failed:
                    self._agree(error)

    def _agree(self, error: DataError | None) -> None:
        """Raise on all processes what keeps any of them from its samples."""
        try:
            self.world.agree(error)
        except ZooError:  # anything else is of the exchange, which other processes may have left
            self.alone = False
            raise

    def _batches(self, last: int, stop: Callable[[], bool]) -> Generator[list[Batch], None, None]:
        """This process's samples of every step to come."""
        return stream(
            self.job.reader,
            self.step,
            last,
            workers=self.job.recipe.data.workers,
            pin_memory=self.world.device.type == "cuda",
            limit=WORKERS_SHARE * self.options.timeout,
            stop=stop,
        )

    def _accumulate(self, pieces: list[Batch]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Gradients of this process's part of the batch; places, errors and weights of its pieces."""
        self.model.train()
        self.updates.zero_grad()
        losses = []
        for index, piece in enumerate(pieces):
            with self._gradients_stay_here(index + 1 < len(pieces)):
                error, weight = self._loss(piece)
                # Gradients are averaged over processes, each of which has its part of the batch.
                loss = (weight * error).sum() * (self.world.size / self.options.batch)
                loss.backward()  # type: ignore[no-untyped-call]
            losses.append((piece.places, error.detach(), weight))
        return losses

    def _at_their_places(self, losses: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Errors and weights of the whole batch [batch], zero where they are another process's."""
        errors, weights = torch.zeros(2, self.options.batch, dtype=torch.float64)
        for places, error, weight in losses:
            errors[places], weights[places] = error.cpu().double(), weight.cpu().double()
        return errors, weights

    def _update(self) -> None:
        self.whole = False
        self.updates.step(learning_rate(self.step, self.job.schedule, self.options))
        self.state.ema.update(self.state.parameters, ema_decay(self.step, self.options))
        self.skipped = 0

    def _skip(self, problem: str, errors: Tensor) -> None:
        """Leave an update out: nothing changes but the step, and with it the samples to come.

        Args:
            problem: why.
            errors: of the whole batch.
        """
        of_all = len(errors) > 1 and not errors.isfinite().any()
        kind = AllNotFiniteError if of_all else NumericError
        if self.options.on_non_finite == "stop":
            raise kind(problem)
        if self.skipped >= self.options.max_skipped:
            raise kind(f"{problem}; the {self.skipped} updates before it are left out already")
        self.skipped += 1

    def _told(self, errors: Tensor, weights: Tensor, norm: Tensor, *, stop: bool, skipped: str) -> Step:
        """What there is to tell of the update that has just been done, or left out."""
        return Step(
            step=self.step,
            loss=float((weights * errors).mean()),
            stage_errors=self._by_stage(errors),
            grad_norm=float(norm),
            learning_rate=learning_rate(self.step - 1, self.job.schedule, self.options),
            ema_decay=ema_decay(self.step - 1, self.options),
            stop=stop,
            skipped=skipped,
        )

    def _loss(self, piece: Batch) -> tuple[Tensor, Tensor]:
        """Squared error [B] of a piece's samples, and the weight [B] of each."""
        device, dtype = self.world.device, self.dtype
        t, share = self.job.plan.noise_levels(piece.places, self.options.batch, piece.u, dtype)
        path, prediction = self.backbone.path, self.backbone.prediction
        weight = (share * self.job.weighting.weight(t, path.snr(t))).to(device)
        data, noise = (each.to(device, dtype, non_blocking=True) for each in (piece.latents, piece.noise))
        dropped, t = (each.to(device, non_blocking=True) for each in (piece.drop, t))
        labels = move(piece.labels, device, non_blocking=True)
        scores = None if piece.scores is None else piece.scores.to(device, non_blocking=True)
        labels = drop(labels, self.backbone.conditioner.null(labels), dropped)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.options.precision == "bfloat16"):
            return prediction_errors(self.model, path, prediction, data, noise, t, labels, scores), weight

    def _clip(self) -> Tensor:
        """The gradient's norm, after which it is clipped."""
        parameters = list(self.state.parameters.values())
        silent = [name for name, each in self.state.parameters.items() if each.grad is None]
        if silent:  # DDP would leave the processes' weights to drift apart
            names = ", ".join(silent[:5])
            raise ZooError(
                f"the forward pass does not use {names}; a part must use all of its parameters, or freeze them"
            )
        norm = total_norm([each.grad for each in parameters if each.grad is not None])
        if self.options.clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.options.clip, norm)
        return norm.detach()

    def _problem(self, errors: Tensor, gradient: bool) -> str:
        """What is not finite, with its samples, or nothing; ``errors`` are those of the whole batch everywhere."""
        bad = (~errors.isfinite()).nonzero().flatten().tolist()
        if not (bad or gradient):
            return ""
        if len(bad) == self.options.batch > 1:  # of one alone, its sample may be at fault as well
            return f"step {self.step + 1}: the loss of all {len(bad)} samples is not finite"
        indices = self.job.reader.order.indices(self.step, range(self.options.batch))
        ids = [self.job.reader.source.id(int(indices[place])) for place in bad or range(len(indices))]
        what = "the loss" if bad else "the gradient"
        return f"step {self.step + 1}: {what} is not finite; samples: {listed(ids, 20)}"

    def _by_stage(self, errors: Tensor) -> tuple[float, ...]:
        stages = self.job.plan.stage_of(torch.arange(len(errors)))
        return tuple(float(errors[stages == stage].mean()) for stage in range(len(self.backbone.stages)))

    def _gradients_stay_here(self, wanted: bool) -> AbstractContextManager[Any]:
        """Gradients are summed over processes once a step, with its last piece."""
        if isinstance(self.model, DistributedDataParallel):
            return self.model.no_sync() if wanted else nullcontext()
        if self.options.parallel == "fsdp":
            self.model.set_requires_gradient_sync(not wanted)  # type: ignore[operator]
        return nullcontext()


def _wrapped(backbone: Backbone, options: TrainOptions, world: World) -> nn.Module:
    """The backbone as the options want it to compute: compiled, checkpointed, spread over processes."""
    for block in backbone.blocks:
        forward = block.forward
        if options.compile:
            forward = torch.compile(forward, backend=options.compile_backend)
        if options.checkpoint_activations:
            forward = partial(checkpoint, forward, use_reentrant=False)
        block.forward = forward
    if options.parallel == "fsdp":
        mesh = init_device_mesh(world.device.type, (world.size,))
        for block in backbone.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(backbone, mesh=mesh)
        return backbone
    if world.size > 1:
        return data_parallel(backbone, world.device)
    return backbone


def _next(batches: Iterator[list[Batch]]) -> tuple[list[Batch], DataError | None]:
    """The next step's samples, none after the last, or what failed."""
    try:
        return next(batches, []), None
    except DataError as error:
        return [], error


def _lasting(stop: Callable[[], bool]) -> Callable[[], bool]:
    """The same, and once it has said so it does not take it back: a run's folder that was gone may be seen again."""
    said = False

    def lasting() -> bool:
        nonlocal said
        said = said or stop()
        return said

    return lasting
