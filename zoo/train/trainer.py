"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from zoo.callbacks import Step
from zoo.compiling import compile_blocks, recompute_blocks
from zoo.data.stream import Batch, stream
from zoo.data_parallel import data_parallel
from zoo.distributed.distributed import Distributed, patience
from zoo.distributed.failures import ending_nothing
from zoo.errors import AllNotFiniteError, DataError, NumericError, PluginError, RunError, ZooError, listed
from zoo.flow import Objective, total
from zoo.fully_sharded import fully_sharded, hold_back
from zoo.optim.updates import Updates
from zoo.recipe.options import TrainOptions
from zoo.runs.optimizer import ema_decays, learning_rate
from zoo.runs.state import TrainState, random_state
from zoo.shards import total_norm
from zoo.train.figures import BatchLosses
from zoo.train.job import Job
from zoo.train.late import Late
from zoo.train.matching import refuse_labels_in
from zoo.train.stages import by_stage

WORKERS_SHARE = 0.8
"""Of ``train.timeout``, in which data workers have to answer: their process says so before others give it up."""
PATIENCE = 10.0
"""Seconds in which a GPU ends an update, unless it waits for another."""


class Trainer:
    """Trains a backbone, one update after another, on one process or on all that a job has.

    Args:
        job: what to train it with.
        objective: the backbone and the losses, with the same weights on every process, on the device of ``world``.
        world: this process among those of the job.

    Attributes:
        step: updates done or left out.
        skipped: updates that have been left out in a row, up to now.
        random: PyTorch's random states after the last step, which the next one draws from.
        whole: whether weights, averages and moments are those after the last step; not so within an update.
        ahead: whether an update is asked of the device before this process knows the losses of all, so that the device
            has something to do meanwhile; it leaves out by itself what is not finite.
        alone: whether what fails now fails on this process alone, for all it knows; unless all have agreed on it.
    """

    def __init__(self, job: Job, objective: Objective, world: Distributed) -> None:
        self.job, self.objective, self.backbone, self.world = job, objective, objective.backbone, world
        self.options = job.recipe.train
        self.step = self.skipped = 0
        self.model = _wrapped(objective, self.options, world)
        self.updates = Updates(
            job.optimizer,
            objective,
            self.backbone.blocks,
            self.options.learning_rate,
            self.options.learning_rate_of,
        )
        self.state = TrainState(objective, self.updates, self.options.averages)
        self.random = random_state(world.device)
        self.whole = self.alone = True
        self.ahead = _goes_ahead(world) and self.updates.can_leave_out
        self._asked: Late | None = None  # whether the update that was asked for ahead is made []

    def run(self, last: int, stop: Callable[[], bool] = lambda: False) -> Iterator[Step]:
        """Train to step ``last``, and tell every update; ends early, its step done, where ``stop`` says so on any rank.

        Raises:
            NumericError: a loss or a gradient is not finite, on any process, and the options do not have it left out;
                nothing has been updated by it.
            DataError: samples cannot be read, or have labels that the class conditioner does not take, on any process;
                the updates before it are whole.
        """
        self.random = random_state(self.world.device)
        stop = _lasting(stop)
        with closing(self._batches(last, stop)) as batches:
            pieces, error = _next(batches, self._check)
            self._agree(error)
            if self.world.sum(torch.tensor([int(stop())])).item():  # while samples were waited for, or before
                return
            while self.step < last:
                with ending_nothing():
                    with self.world.meeting("gradients"):
                        found = self._accumulate(pieces)
                        norm = self._clip()
                    late = Late([norm, *(each for terms in found for each in terms.values())])
                    if self.ahead:
                        self._step_ahead(found, norm)
                    read, (pieces, error) = pieces, _next(batches, self._check)  # while a GPU is still at work
                norm, *values = late.read()
                losses = BatchLosses(self.objective.terms, self.options.batch)
                for piece, terms in zip(read, found, strict=True):
                    losses.take(piece, {name: values.pop(0) for name in terms})
                told = torch.tensor([not norm.isfinite(), stop(), error is not None], dtype=torch.float64)
                told = self.world.sum(torch.cat([losses.values.flatten(), told]))
                losses.values = told[:-3].view_as(losses.values)
                infinite, stopped, failed = told[-3:]
                problem = self._problem(losses, bool(infinite))
                with ending_nothing(), self.world.busy():
                    self._asked = None
                    if not problem:
                        self._update()
                    else:
                        self.whole = True  # what was asked for ahead has been left out
                        self.alone = False  # since all have the same numbers
                        self._skip(problem, losses)
                        self.alone = True
                    self._done()
                yield self._told(losses, norm, stop=bool(stopped), skipped=problem)
                if stopped:
                    return
                if failed:
                    self._agree(error)

    def settle(self) -> None:
        """End an update that was asked for ahead where other processes will not say how theirs went.

        All of them make it, or leave it out, by the same numbers. Nobody is told of such a step: there is no line of
        metrics for it, since losses of the others are not known. For the one thread that holds ``world.busy()``.

        Raises:
            RunError: a GPU waits for those of other processes.
        """
        if self._asked is None:
            return
        if not self._asked.comes(PATIENCE):
            raise RunError(
                "the GPU does not end its update, which waits for other processes; go on from the newest checkpoint"
            )
        (made,), self._asked = self._asked.read(), None
        if made:
            self._update_averages()
            self._done()
        self.whole = True

    def _done(self) -> None:
        self.step += 1
        self.whole, self.random = True, random_state(self.world.device)

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

    def _check(self, piece: Batch) -> None:
        """Refuse labels that the class conditioner does not take, while they are where nothing waits for the device."""
        refuse_labels_in(piece, self.backbone.conditioner, self.job.reader)

    def _accumulate(self, pieces: list[Batch]) -> list[dict[str, Tensor]]:
        """Gradients of this process's part of the batch; the terms of the loss of its pieces."""
        self.model.train()
        self.updates.zero_grad()
        found = []
        for index, piece in enumerate(pieces):
            with self._gradients_stay_here(index + 1 < len(pieces)):
                values, losses = self._losses(piece)
                # Gradients are averaged over processes, each of which has its part of the batch.
                loss = losses.sum() * (self.world.size / self.options.batch)
                if not loss.requires_grad:
                    names = ", ".join(term.name for term in self.objective.terms)
                    raise PluginError(
                        f"no gradient comes out of the losses ({names}); let them compute with gradients, and detach()"
                        " nothing that the weights predict"
                    )
                loss.backward()  # type: ignore[no-untyped-call]
            found.append({name: each.detach() for name, each in values.items()})
        return found

    def _losses(self, piece: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """The terms of the loss of a piece's samples, and the loss of each [B]."""
        device, bfloat16 = self.world.device, self.options.precision == "bfloat16"
        piece = piece.moved(lambda tensor: tensor.to(device, non_blocking=True))
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            values = self.model(by_stage(piece, self.backbone))
        return values, total(self.objective.terms, values, piece.share, piece.weight)

    def _step_ahead(self, found: list[dict[str, Tensor]], norm: Tensor) -> None:
        """Have the device update the weights, gradients clipped, unless any process's norm or term is not finite."""
        sound = torch.stack([norm.isfinite(), *(each.isfinite().all() for own in found for each in own.values())]).all()
        sound = self.world.hold(sound)
        with self.world.busy():
            self.whole, self._asked = False, Late([sound])
            self.updates.step_if(sound, norm, self._rate(), self.options.clip)

    def _update(self) -> None:
        self.whole = False
        if not self.ahead:
            self.updates.step(self._rate())
        self._update_averages()

    def _update_averages(self) -> None:
        self.state.average_in(ema_decays(self.step, self.options))
        self.skipped = 0

    def _rate(self) -> float:
        return learning_rate(self.step, self.job.schedule, self.options)

    def _skip(self, problem: str, losses: BatchLosses) -> None:
        """Leave an update out: nothing changes but the step, and with it the samples to come and averages by profile.

        Args:
            problem: why.
            losses: of the whole batch.
        """
        of_all = self.options.batch > 1 and not losses.finite.all(dim=0).any()
        kind = AllNotFiniteError if of_all else NumericError
        if self.options.on_non_finite == "stop":
            raise kind(problem)
        if self.skipped >= self.options.max_skipped:
            raise kind(f"{problem}; the {self.skipped} updates before it are left out already")
        self.skipped += 1
        self.whole = False
        self.state.average_in(ema_decays(self.step, self.options, skipped=True))

    def _told(self, losses: BatchLosses, norm: Tensor, *, stop: bool, skipped: str) -> Step:
        """What there is to tell of the update that has just been done, or left out."""
        stage_of = self.job.plan.stage_of(torch.arange(self.options.batch))
        return Step(
            step=self.step,
            loss=losses.loss(),
            stage_errors=losses.by_stage(stage_of, len(self.backbone.stages)),
            terms=losses.means(),
            grad_norm=float(norm),
            learning_rate=learning_rate(self.step - 1, self.job.schedule, self.options),
            ema_decay=ema_decays(self.step - 1, self.options)[0],
            stop=stop,
            skipped=skipped,
        )

    def _clip(self) -> Tensor:
        """The gradient's norm, after which it is clipped, unless the update does it."""
        parameters = list(self.state.parameters.values())
        silent = [name for name, each in self.state.parameters.items() if each.grad is None]
        if silent:  # DDP would leave the processes' weights to drift apart
            names = ", ".join(silent[:5])
            raise ZooError(
                f"the forward pass does not use {names}; a part must use all of its parameters, or freeze them"
            )
        norm = total_norm([each.grad for each in parameters if each.grad is not None])
        if self.options.clip is not None and not self.ahead:
            nn.utils.clip_grads_with_norm_(parameters, self.options.clip, norm)
        return norm.detach()

    def _problem(self, losses: BatchLosses, gradient: bool) -> str:
        """What is not finite, with its samples, or nothing; ``losses`` are those of the whole batch everywhere."""
        bad = (~losses.finite.all(dim=0)).nonzero().flatten().tolist()
        if not (bad or gradient):
            return ""
        terms = f" ({', '.join(losses.not_finite())})" if len(losses.terms) > 1 else ""
        if len(bad) == self.options.batch > 1:  # of one alone, its sample may be at fault as well
            return f"step {self.step + 1}: the loss{terms} of all {len(bad)} samples is not finite"
        indices = self.job.reader.order.indices(self.step, range(self.options.batch))
        ids = [self.job.reader.source.id(int(indices[place])) for place in bad or range(len(indices))]
        what = f"the loss{terms}" if bad else "the gradient"
        return f"step {self.step + 1}: {what} is not finite; samples: {listed(ids, 20)}"

    def _gradients_stay_here(self, wanted: bool) -> AbstractContextManager[Any]:
        """Gradients are summed over processes once a step, with its last piece."""
        if isinstance(self.model, DistributedDataParallel):
            return self.model.no_sync() if wanted else nullcontext()
        if self.options.parallel == "fsdp":
            hold_back(self.model, wanted)
        return nullcontext()


def _wrapped(objective: Objective, options: TrainOptions, world: Distributed) -> nn.Module:
    """The objective as the options want it to compute: blocks compiled, checkpointed, all spread over processes."""
    blocks = objective.backbone.blocks
    anew = options.checkpoint_activations
    if options.compile:
        compile_blocks(blocks, options.compile_backend, kept=1.0 if isinstance(anew, bool) else anew)
    if anew is True:
        recompute_blocks(blocks)
    reduce = getattr(torch, options.reduce)
    if options.parallel == "fsdp":
        timeout = patience(options.timeout, nccl=world.device.type == "cuda")
        fully_sharded(objective, blocks, world.device, world.size, options.shares(world.size), timeout, reduce)
        return objective
    if world.size > 1:
        return data_parallel(objective, world.device, reduce)
    return objective


def _goes_ahead(world: Distributed) -> bool:
    return world.device.type == "cuda"


def _next(batches: Iterator[list[Batch]], check: Callable[[Batch], None]) -> tuple[list[Batch], DataError | None]:
    """The next step's samples, none after the last, or what failed."""
    try:
        pieces = next(batches, [])
        for piece in pieces:
            check(piece)
        return pieces, None
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
