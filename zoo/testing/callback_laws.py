"""Laws of callbacks: each is told of a small training, in a folder of its own."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures.thread import _threads_queues
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from zoo.assembly import build, create_part, load_recipe
from zoo.callbacks import Callback
from zoo.distributed.distributed import Distributed
from zoo.errors import PluginError, ZooError, first_line
from zoo.flow import objective_of
from zoo.optim.state import flat, state_of
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder
from zoo.runs.untold import Note, Untold
from zoo.testing.asserts import bytes_of
from zoo.testing.cases import Case
from zoo.testing.law import Law, NotRun, law, remembered
from zoo.testing.ranks import RANKS, on_two_ranks
from zoo.train.callbacks import Callbacks
from zoo.train.job import ask_callback, open_job
from zoo.train.records import Records
from zoo.train.trainer import Trainer

STEPS, SAVED = 4, 2
"""Updates of a training, and those after which a checkpoint is told of."""

PATIENCE = 1.0
"""Seconds in which threads have to end after ``end``."""

DEAR = 2
"""Examples: each is a training."""

RECIPE: Mapping[str, Any] = {
    "name": "told",
    "backbone": {
        "latent": {"channels": 1, "size": [8, 8]},
        "num_classes": 10,
        "dim": 16,
        "depth": 1,
        "heads": 2,
        "patch_schedule": {"type": "uniform", "patch": 4},
    },
    "train": {"steps": STEPS, "batch": 16, "log_every": 1, "learning_rate": 0.01, "callbacks": []},
    "sample": {"steps": 1, "batch": 256},
}
"""A training that takes no time, of digits."""

PICTURE = np.zeros((4, 4, 1), np.uint8)
"""What a callback is told to have been shown by another."""

ALONE = Distributed(0, 1, torch.device("cpu"))


class Life:
    """A training that a callback is told of.

    Attributes:
        folder: of the run.
        said: lines for who watches.
        changed: what a method of the callback has changed of the training, in words.
    """

    def __init__(self, path: Path, world: Distributed = ALONE) -> None:
        recipe = _recipe()
        objective = objective_of(recipe, build(recipe, device="cpu"))
        job = open_job(recipe, objective, Registry(), world.rank, world.size)
        self.folder, self.said = RunFolder(path), list[str]()
        self.changed: list[str] = []
        self._trainer = Trainer(job, objective, world)
        self._newest: Note | None = None

    def run(self, case: Case, last: int = STEPS, *, cut_off: bool = False, again: bool = False) -> Life:
        """Train on to step ``last``, and have a new callback told of it.

        Args:
            case: of the callback.
            last: step.
            cut_off: tell it of no end, as where the process is killed.
            again: tell it of the step that training goes on from, as a run that was cut off before it knew that all
                had been told.
        """
        trainer, before = self._trainer, set(threading.enumerate())
        callback, changes = _asked(case)
        trainer.job = replace(trainer.job, callbacks=((case.entry.name, callback),))
        records = Records(trainer, self.folder, self.said.append)
        callbacks = Callbacks(trainer, records, self.said.append, Untold(self.folder))
        self._unchanged("begin", partial(callbacks.begin, self._newest if again else None))
        for step in trainer.run(last):
            self._unchanged("log", partial(records.log, step))
            if step.step % SAVED == 0:
                self._unchanged("checkpoint", callbacks.checkpoint)
                if trainer.world.is_main:
                    self._unchanged("show", partial(callbacks.show, "samples", PICTURE))
            self._unchanged("step", partial(list, callbacks.told(iter([step]))))
            self._newest = Note(step, checkpoint=True)
        if not cut_off:
            self._unchanged("end", callbacks.end)
            self.changed += [f"end() leaves a thread running ({each.name})" for each in _left_running(before)]
        records.close()
        self.changed += [*changes, *callbacks.changed]
        return self

    def found(self, case: Case) -> Found:
        """What came of it."""
        own = {case.create().writes_to or case.entry.name, self.folder.metrics.name}
        return Found(
            changed=self.changed,
            failures=[line for line in self.said if line.startswith("warning: callback ")],
            beside={path.name for path in self.folder.path.iterdir()} - own,
            lines=[line for line in read_metrics(self.folder.metrics) if case.entry.name in line],
        )

    def _unchanged(self, hook: str, told: Callable[[], Any]) -> None:
        before = _state(self._trainer)
        told()
        after = _state(self._trainer)
        self.changed += [f"{hook}() changes {what}" for what in before if before[what] != after[what]]


def _left_running(before: Collection[threading.Thread]) -> list[threading.Thread]:
    """Threads that are new, and that a process would wait for at its end; those of pools end there by themselves."""
    new = [each for each in threading.enumerate() if not (each in before or each.daemon or each in _threads_queues)]
    until = monotonic() + PATIENCE
    for each in new:
        each.join(max(0.0, until - monotonic()))
    return [each for each in new if each.is_alive()]


@cache
def _recipe() -> Recipe:
    return load_recipe(RECIPE, (), Registry())


def _asked(case: Case) -> tuple[Callback, list[str]]:
    """A new callback that has looked at the recipe, as where it is trained, and what of the process it has changed.

    Raises:
        NotRun: it can do nothing with it.
        PluginError: it fails.
    """
    callback: Callback = case.create()
    try:
        changed = ask_callback(case.entry.name, callback, _recipe(), create_part(_recipe(), "dataset"))
    except PluginError:
        raise
    except ZooError as error:
        raise NotRun(f"its check() refuses the recipe that it is tried with: {first_line(error)}") from None
    return callback, [f"check() changes {what}" for what in changed]


def _state(trainer: Trainer) -> dict[str, Any]:
    """All that decides on the training to come."""
    modules = list(trainer.objective.modules())
    numpy: Any = np.random.get_state()
    return {
        "PyTorch's global generator": torch.get_rng_state().numpy().tobytes(),
        "NumPy's global generator": [bytes(numpy[1]), *numpy[2:]],
        "weights": _bytes(trainer.objective.state_dict()),
        "averages": [_bytes(ema.averages) for ema in trainer.state.emas.values()],
        "the optimizer's state": _bytes(flat(state_of(trainer.updates))[0]),
        "the mode of a module": [each.training for each in modules],
        "which weights are trained": [each.requires_grad for each in trainer.objective.parameters()],
    }


def _bytes(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    return {name: bytes_of(each) for name, each in tensors.items()}


@contextmanager
def _life(world: Distributed = ALONE) -> Iterator[Life]:
    """A training in a folder of its own; what a callback spoils is as before in the end."""
    numpy = np.random.get_state()
    try:
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            yield Life(Path(folder), world)
    finally:
        np.random.set_state(numpy)


class Found(NamedTuple):
    """What came of a training that a callback was told of.

    Attributes:
        changed: what its methods have changed of the training, in words.
        failures: what is said of those that raised.
        beside: files of the run's folder that it wrote beside its own folder.
        lines: of the metrics.
    """

    changed: Sequence[str]
    failures: Sequence[str]
    beside: Collection[str]
    lines: Sequence[Mapping[str, Any]]


@remembered(DEAR)
def _whole(case: Case) -> Found:
    """Of a training from its start to its end."""
    with _life() as life:
        return life.run(case).found(case)


@remembered(DEAR)
def _parted(case: Case) -> Found:
    """Of one that stops, and goes on with a new object."""
    with _life() as life:
        return life.run(case, SAVED).run(case).found(case)


@remembered(DEAR)
def _cut_off(case: Case) -> Found:
    """Of one that is killed, goes on with a new object, and tells of its step again."""
    with _life() as life:
        return life.run(case, SAVED, cut_off=True).run(case, again=True).found(case)


@law(
    "Draw from a generator of your own (torch.Generator, np.random.default_rng), and work on the copy that"
    " training.backbone() gives, never on what is trained; put back what is the process's, and end threads in end().",
    examples=DEAR,
)
def leaves_training_alone(case: Case) -> None:
    """No method changes weights, averages, modes or what is the process's, or draws from a global generator."""
    changed = _whole(case).changed
    assert not changed, changed[0]


@law(
    "Look at what it raises; what may fail for good reasons, such as a network, is for the callback to stand.",
    examples=DEAR,
)
def fails_in_no_method(case: Case) -> None:
    """No method raises, in a training from its start, and in one that goes on with a new object."""
    failures = [*_parted(case).failures, *_cut_off(case).failures]
    assert not failures, failures[0].removeprefix("warning: ")


@law("Write to training.folder, or to what training.file(name) gives, and figures by training.log().", examples=DEAR)
def writes_in_its_folder(case: Case) -> None:
    """In the folder of the run it writes into its own folder alone."""
    beside = _whole(case).beside
    assert not beside, f"writes {min(beside)} beside its folder {case.create().writes_to or case.entry.name}"


@law(
    "Let what it tells hang on the step and on the weights alone, or keep in its folder what it has to remember, with"
    " its step and before `end`, which a killed run never comes to: a run that goes on makes a new object, and may tell"
    " it of its step again. (Times need not keep this.)",
    examples=DEAR,
    required=False,
)
def goes_on_as_if_never_stopped(case: Case) -> None:
    """Its lines in the metrics are the same, whether or not the run stopped, or was cut off, in between."""
    whole, parted, cut_off = _whole(case).lines, _parted(case).lines, _cut_off(case).lines
    assert parted == whole, f"tells otherwise after a stop: {parted} in place of {whole}"
    assert cut_off == whole, f"tells otherwise after a crash, when a step comes again: {cut_off} in place of {whole}"


@law(
    "Have all processes ask for the same, in the same order, whichever is the main one, and let that one alone write.",
    examples=1,
)
def is_told_on_two_ranks(case: Case) -> None:
    """Where it is called on every process, two come to an end, without a failure, and train alike."""
    callback, _ = _asked(case)
    if not callback.everywhere:
        return

    def run(rank: int) -> None:
        world = Distributed(rank, RANKS, torch.device("cpu"), dist.group.WORLD)
        with _life(world) as life:
            found = life.run(case).found(case)
            assert not found.changed, found.changed[0]
            assert not found.failures, found.failures[0].removeprefix("warning: ")

    on_two_ranks(run)


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "callback": (
        leaves_training_alone,
        fails_in_no_method,
        writes_in_its_folder,
        goes_on_as_if_never_stopped,
        is_told_on_two_ranks,
    )
}
