"""Callbacks that keep what they hear, that ask and that fail; and runs with them."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.train.small import small
from zoo.callbacks import Callback, Step, Training
from zoo.data import Dataset
from zoo.distributed.distributed import Distributed
from zoo.errors import RunError
from zoo.recipe import Recipe
from zoo.registry import Registry, part
from zoo.runs.run_folder import RunFolder
from zoo.train import told
from zoo.train.run import Run, Silent

HEARD: list[str] = []


class Hears(Callback):
    """Keeps what it is told, on its own process."""

    def begin(self, training: Training) -> None:
        HEARD.append(f"begin {training.step}/{training.steps}")

    def step(self, training: Training, step: Step) -> None:
        HEARD.append(f"step {step.step} after {training.samples}")

    def log(self, training: Training, line: Any) -> None:
        HEARD.append(f"log {line['step']}")

    def show(self, training: Training, name: str, image: np.ndarray) -> None:
        HEARD.append(f"show {name} {training.step} {image.dtype} {image.ndim}")

    def checkpoint(self, training: Training) -> None:
        HEARD.append(f"checkpoint {training.step}")

    def end(self, training: Training, error: Exception | None) -> None:
        HEARD.append(f"end {training.step} {type(error).__name__}")


@part("callback", "hears")
class HearsOnMain(Hears):
    pass


@part("callback", "hears_everywhere")
class HearsEverywhere(Hears):
    everywhere = True


@part("callback", "fails")
class Fails(Callback):
    def __init__(self, *, hook: str = "step", at: int = 2, vital: bool = False, everywhere: bool = False) -> None:
        self.hook, self.at, self.vital, self.everywhere = hook, at, vital, everywhere

    def begin(self, training: Training) -> None:
        self._fail("begin", training)

    def step(self, training: Training, step: Step) -> None:
        self._fail("step", training)

    def log(self, training: Training, line: Any) -> None:
        self._fail("log", training)

    def end(self, training: Training, error: Exception | None) -> None:
        self._fail("end", training)

    def _fail(self, hook: str, training: Training) -> None:
        if hook == self.hook and training.step >= self.at:
            raise KeyError(f"{hook} {training.step}")


@part("callback", "fails_on_rank_1")
class FailsOnRank1(Callback):
    """In no exchange, so that no other process sees anything of it."""

    everywhere = True

    def step(self, training: Training, step: Step) -> None:
        if training.rank == 1:
            raise KeyError(f"step {step.step}")


class SpeechlessError(ValueError):
    def __str__(self) -> str:
        raise RuntimeError("no words")


RAISED = {
    "exits": SystemExit(0),
    "leaves": GeneratorExit(),
    "goes_on_for_pages": ValueError("word " * 1000),
    "speechless": SpeechlessError(),
}


@part("callback", "raises")
class Raises(Callback):
    def __init__(self, *, what: str = "exits", checks: bool = False) -> None:
        self.what, self.checks = what, checks

    def check(self, recipe: Recipe, dataset: Dataset) -> None:
        if self.checks:
            raise RAISED[self.what]

    def step(self, training: Training, step: Step) -> None:
        raise RAISED[self.what]


@part("callback", "asks")
class Asks(Callback):
    """Asks all that there is to ask."""

    everywhere = True
    writes_to = "asked"

    def step(self, training: Training, step: Step) -> None:
        own = torch.tensor([1.0])
        total = training.sum(own)
        assert own.item() == 1.0
        ema, last = training.backbone(), training.backbone("raw")
        if ema is not None and last is not None:
            assert not any(each.training for each in (ema, last))
            apart = sum(float((a - b).abs().sum()) for a, b in zip(ema.parameters(), last.parameters(), strict=True))
            training.file(f"{step.step}.json").write_text(json.dumps([float(total), apart > 0, training.run != ""]))
        training.show(np.full((2, 3, 1), 7, np.uint8))
        training.log({"ranks": training.ranks, "of": {"lists": [1, np.float64(2.5)]}})


@part("callback", "out_of_memory")
class OutOfMemory(Callback):
    """The copy of the weights for pictures has no room on the main process, and that alone."""

    everywhere = True

    def step(self, training: Training, step: Step) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(told, "filled", self._filled)
            training.images(1)

    def _filled(self, *given: Any) -> None:
        raise RuntimeError("out of memory")


@part("callback", "echoes")
class Echoes(Callback):
    """Shows what it is shown."""

    def step(self, training: Training, step: Step) -> None:
        training.show(np.zeros((1, 1, 1), np.uint8))

    def show(self, training: Training, name: str, image: np.ndarray) -> None:
        training.show(image)


@part("callback", "loss")
class NamedAsAFigure(Callback):
    def step(self, training: Training, step: Step) -> None:
        training.log({"own": 1.0})


@part("callback", "asks_wrongly")
class AsksWrongly(Callback):
    everywhere = True

    def step(self, training: Training, step: Step) -> None:
        held_out = training.held_out(1, 0)
        asked: dict[str, Callable[[], object]] = {
            "it asks for 0 images; let it ask for 1 or more": lambda: training.images(0),
            "it asks for -1 held-out samples; let it ask for 1 or more": lambda: training.held_out(-1, 0),
            "it asks for the loss of 'raw'; let it ask for that of a list": lambda: held_out.losses("raw", [0.5]),
            "it asks for the loss at noise level 1; let it lie between": lambda: held_out.losses(["raw"], [0.5, 1]),
        }
        for said, ask in asked.items():
            with pytest.raises(ValueError, match=said):
                ask()


@part("callback", "pairs")
class Pairs(Callback):
    def step(self, training: Training, step: Step) -> None:
        training.log({"of": [0.5, (1, 2)]})


@part("callback", "takes_the_process")
class TakesTheProcess(Callback):
    """Changes what is the process's before its folder is written to."""

    def check(self, recipe: Recipe, dataset: Dataset) -> None:
        torch.set_default_dtype(torch.float64)

    def begin(self, training: Training) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.chdir(os.sep)

    def step(self, training: Training, step: Step) -> None:
        torch.set_grad_enabled(False)


@part("callback", "outside")
class Outside(Callback):
    def step(self, training: Training, step: Step) -> None:
        for name in ("", ".", ".."):
            with pytest.raises(ValueError, match=f"'{name}' is no name of a file in its own folder"):
                training.file(name)
        training.file("../metrics.jsonl")


@part("callback", "floats")
class Floats(Callback):
    def step(self, training: Training, step: Step) -> None:
        training.show(np.zeros((2, 3)))


@part("callback", "unknown_best")
class UnknownBest(Callback):
    def step(self, training: Training, step: Step) -> None:
        training.keep_if_best("own", math.nan)


REGISTRY = Registry().with_parts(
    [
        HearsOnMain,
        HearsEverywhere,
        Fails,
        FailsOnRank1,
        Raises,
        Asks,
        OutOfMemory,
        Echoes,
        NamedAsAFigure,
        Pairs,
        Outside,
        Floats,
        UnknownBest,
        AsksWrongly,
        TakesTheProcess,
    ]
)


class Warned(Silent):
    def say(self, text: str) -> None:
        if text.startswith(("warning: ", "note: profile: ")):
            HEARD.append(text)


def run(world: Distributed, path: Path, callbacks: str, *overrides: str) -> list[str]:
    """Train three steps with callbacks, or go on; what they heard on this process, and warnings between it."""
    HEARD.clear()
    folder = RunFolder(path)
    recipe = small(f"train.callbacks={callbacks}", *overrides, registry=REGISTRY)
    try:
        Run(recipe, folder, REGISTRY, world, Warned()).train(resume=folder.is_used)
    except RunError as error:
        HEARD.append(str(error))
    return [*HEARD]
