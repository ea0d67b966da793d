"""A training run before it is begun: how long, on how much, and what fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from zoo.assembly import build, create_part
from zoo.audit import HeldMemory, activation_memory, audit_backbone, held_memory, training_macs
from zoo.backbone import Backbone
from zoo.devices import set_aside
from zoo.flow import Guidance, Solver
from zoo.flow.sampling import passes_of
from zoo.plan.devices import Device
from zoo.plan.model import Time, time_of
from zoo.plan.operations import Operation
from zoo.plan.passes import sampling_pass, training_step
from zoo.recipe import Recipe
from zoo.train.job import check_training

HIDDEN = 0.9
"""Of a pass, behind which an exchange may hide: gradients of the last block come first, and weights of the first."""
ROOM = 0.92
"""Of a device's memory, what may be asked for: the rest goes to its driver, and to gaps."""
WRITTEN = 0.6
"""GB a second that a checkpoint is copied, written and hashed with: taken, not measured."""
DRAWN = 50_000
"""Images that papers judge by."""


@dataclass(frozen=True)
class Memory:
    """Bytes on each GPU at the peak of a step.

    Attributes:
        weights: parameters and tables.
        gradients: of what is trained.
        averages: all that ``train.ema`` asks for.
        optimizer: what it keeps.
        copies: of the weights: in bfloat16, and under FSDP the whole ones, which are gathered once a step.
        activations: of a pass.
        sample: what one more sample of a pass adds to them.
    """

    weights: int
    gradients: int
    averages: int
    optimizer: int
    copies: int
    activations: int
    sample: int

    @property
    def held(self) -> int:
        """Of it, what does not grow with the batch."""
        return self.weights + self.gradients + self.averages + self.optimizer + self.copies

    @property
    def total(self) -> int:
        """All of it."""
        return self.held + self.activations


@dataclass(frozen=True)
class Sampling:
    """What drawing takes on one GPU.

    Attributes:
        batch: images of a pass.
        way: in words: updates, solver, guidance.
        seconds: of a batch.
    """

    batch: int
    way: str
    seconds: float

    @property
    def images_s(self) -> float:
        """Images a second."""
        return self.batch / self.seconds


@dataclass(frozen=True)
class Plan:
    """What a recipe's training takes, by the model of a device.

    Attributes:
        recipe: its name.
        device: on which.
        gpus: how many.
        batch: samples of an update, over all of them.
        piece: samples of a pass on one of them.
        passes: forward and backward pass of all its pieces.
        update: of the weights.
        exchange: seconds of exchanging gradients, or weights, that nothing hides.
        flops: of a step on all of them, two for each multiply-add.
        memory: on each.
        fits: the largest piece that its memory holds; 0 if none does.
        steps: updates in all.
        checkpoint_bytes: of one.
        checkpoints: how many are written.
        sampling: where the number of passes is known.
    """

    recipe: str
    device: Device
    gpus: int
    batch: int
    piece: int
    passes: Time
    update: Time
    exchange: float
    flops: float
    memory: Memory
    fits: int
    steps: int
    checkpoint_bytes: int
    checkpoints: int
    sampling: Sampling | None

    @property
    def step(self) -> float:
        """Seconds of an update."""
        return (self.passes + self.update).total + self.exchange

    @property
    def images_s(self) -> float:
        """Images a second on all GPUs."""
        return self.batch / self.step

    @property
    def mfu(self) -> float | None:
        """Model FLOPs, as a share of what the data sheet promises."""
        return None if self.device.peak is None else self.flops / self.step / (self.gpus * self.device.peak * 1e12)

    @property
    def checkpoint(self) -> float:
        """Seconds of writing one."""
        return self.checkpoint_bytes / (WRITTEN * 1e9)

    @property
    def seconds(self) -> float:
        """Of the whole training, with its checkpoints."""
        return self.steps * self.step + self.checkpoints * self.checkpoint

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``zoo plan --json`` prints them."""
        plain = asdict(self) | {"device": self.device.model_dump()}
        for name in ("step", "images_s", "mfu", "checkpoint", "seconds"):
            plain[name] = getattr(self, name)
        plain["passes"]["total"], plain["update"]["total"] = self.passes.total, self.update.total
        plain["memory"]["total"] = self.memory.total
        if self.sampling is not None:
            plain["sampling"]["images_s"] = self.sampling.images_s
        return plain


@dataclass(frozen=True)
class Work:
    """What a recipe's training does, on whatever device.

    Attributes:
        recipe: what trains.
        gpus: how many it is shared out to.
        group: samples after which the pattern of stages repeats.
        piece: samples of a pass on one of them.
        passes: the operators of a forward and backward pass.
        update: those of the update.
        held: what one process holds whatever the batch.
        sample: bytes that one more sample of a pass adds.
        macs: of a step's mean sample, forward and backward.
        drawing: operators of a pass of sampling, and how many such passes a batch takes; None where that is not known.
    """

    recipe: Recipe
    gpus: int
    group: int
    piece: int
    passes: Sequence[Operation]
    update: Sequence[Operation]
    held: HeldMemory
    sample: int
    macs: int
    drawing: tuple[tuple[Sequence[Operation], int], ...] | None


def work_of(recipe: Recipe, gpus: int = 1) -> Work:
    """Run a step on tensors without values.

    Args:
        recipe: a validated recipe.
        gpus: how many share its batch.

    Raises:
        ZooError: it cannot be trained, the batch cannot be split so, or the solver refuses its number of steps.
        AuditError: the assembly cannot be counted, or does not run on fake tensors.
    """
    with set_aside():
        backbone = build(recipe, device="meta")
        stages = check_training(recipe, backbone, create_part(recipe, "optimizer"), gpus)
        piece = recipe.train.batch // (gpus * recipe.train.accumulate)
        passes, update = training_step(backbone, recipe, [count * piece // stages.group for count in stages.counts])
        return Work(
            recipe,
            gpus,
            stages.group,
            piece,
            passes,
            update,
            held_memory(backbone, recipe),
            activation_memory(backbone, recipe).mean_bytes,
            training_macs(audit_backbone(backbone, recipe), stages),
            _drawing(backbone, recipe),
        )


def plan(work: Work, device: Device, *, images: float | None = None) -> Plan:
    """Tell how long it takes.

    Args:
        work: a recipe's.
        device: on which.
        images: samples to train on in all, each counted as often as it comes; by default ``train.steps`` batches.
    """
    recipe, options, gpus = work.recipe, work.recipe.train, work.gpus
    tf32 = options.matmul == "tf32"
    passes, update = (time_of(each, device, compiled=options.compile, tf32=tf32) for each in (work.passes, work.update))
    memory = _memory(work)
    room = device.memory * 1e9 * ROOM - memory.held
    steps = options.steps if images is None else max(1, round(images / options.batch))
    return Plan(
        recipe=recipe.name,
        device=device,
        gpus=gpus,
        batch=options.batch,
        piece=work.piece,
        passes=passes.times(options.accumulate),
        update=update.shared(options.shares(gpus)),
        exchange=_exchange(work, device, passes.total),
        flops=2.0 * work.macs * options.batch,
        memory=memory,
        fits=max(0, int(room // (memory.sample * work.group)) * work.group),
        steps=steps,
        checkpoint_bytes=work.held.weights + work.held.averages + work.held.optimizer,
        checkpoints=-(-steps // options.checkpoint_every),
        sampling=_sampling(work, device),
    )


def _memory(work: Work) -> Memory:
    held, options = work.held, work.recipe.train
    ranks = options.shares(work.gpus)
    weights, averages, optimizer = (each // ranks for each in (held.weights, held.averages, held.optimizer))
    gradients = held.gradients // (ranks if options.accumulate == 1 else 1)  # whole ones until the last piece
    copies = held.gradients // 2 if options.precision == "bfloat16" else 0  # of whole weights, for the backward pass
    copies += held.weights if ranks > 1 else 0
    return Memory(weights, gradients, averages, optimizer, copies, work.sample * work.piece, work.sample)


def _exchange(work: Work, device: Device, passes: float) -> float:
    """Seconds that processes wait for each other's gradients, and weights: a ring's, less what passes hide."""
    gpus, options = work.gpus, work.recipe.train
    shares = options.shares(gpus)
    groups = gpus // shares

    def ring(size: int, among: int, ranks: int) -> float:  # of ``ranks`` side by side, some of which exchange
        rate = device.link if ranks <= device.on_a_machine else min(device.link, device.network)
        return size * (among - 1) / among / (rate * 1e9)

    sent = work.held.gradients // (2 if options.reduce == "bfloat16" else 1)
    gathered = ring(work.held.gradients, shares, shares)  # weights, in the first piece
    shared_out = ring(sent, shares, shares)  # gradients, in the last
    summed = 2 * ring(sent // shares, groups, gpus)  # and handed on
    return max(0.0, gathered - HIDDEN * passes / 3) + max(0.0, shared_out + summed - HIDDEN * passes * 2 / 3)


def _drawing(backbone: Backbone, recipe: Recipe) -> tuple[tuple[Sequence[Operation], int], ...] | None:
    options = recipe.sample
    solver: Solver = create_part(recipe, "solver")
    guidance: Guidance = create_part(recipe, "guidance")
    passes = passes_of(backbone, solver, options.steps, guidance, f"{recipe.name}: ")
    if passes is None or guidance.second == "weights":
        return None
    found = []
    for stage, (with_label, guided) in enumerate(passes):
        for count, rows in ((guided, 2 * options.batch), (with_label - guided, options.batch)):
            if count:
                found.append((sampling_pass(backbone, recipe, stage, rows), count))
    return tuple(found)


def _sampling(work: Work, device: Device) -> Sampling | None:
    if work.drawing is None:
        return None
    options = work.recipe.sample
    seconds = sum(count * time_of(each, device, compiled=options.compile).total for each, count in work.drawing)
    return Sampling(options.batch, f"{options.steps} updates by {options.solver.type}", seconds)
