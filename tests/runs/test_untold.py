"""A run that is cut off between a checkpoint and what callbacks are told of it: they are told when it goes on."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from torch.profiler import profile

from tests.distributed.ranks import alone, run_ranks
from tests.train.small import Said, small
from zoo.callbacks import Callback, Step, Training, tensorboard
from zoo.distributed.distributed import Distributed
from zoo.errors import RunError
from zoo.registry import Registry, part
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder
from zoo.runs.starts import Starts
from zoo.runs.untold import Note, Untold
from zoo.train.run import Run


class Cut(KeyboardInterrupt):
    """Ends a run at once, as a kill does: nothing of it is heeded."""


class AtOneStep(Callback):
    everywhere = True

    def __init__(self, *, hook: str, at: int) -> None:
        self.hook, self.at = hook, at

    def checkpoint(self, training: Training) -> None:
        self._end("checkpoint", training.step)

    def step(self, training: Training, step: Step) -> None:
        self._end("step", step.step)

    def _end(self, hook: str, step: int) -> None:
        if (hook, step) == (self.hook, self.at):
            raise self.error


@part("callback", "cuts")
class Cuts(AtOneStep):
    error: BaseException = Cut()


@part("callback", "fails_vitally")
class FailsVitally(AtOneStep):
    vital = True
    error = KeyError()


@part("callback", "logs")
class Logs(Callback):
    def __init__(self, *, begin: str = "") -> None:
        self.in_begin = begin

    def begin(self, training: Training) -> None:
        if self.in_begin == "logs":
            training.log({"begun": training.step})
        elif self.in_begin:
            raise {"fails": KeyError(), "is cut off": Cut()}[self.in_begin]

    def checkpoint(self, training: Training) -> None:
        training.log({"of": training.step})

    def step(self, training: Training, step: Step) -> None:
        training.log({"loss": step.loss, "norm": [step.grad_norm], "terms": step.terms})


@part("callback", "loss")
class Loss(Callback):
    """Has the name of a figure of the run's own lines."""

    def step(self, training: Training, step: Step) -> None:
        pass


REGISTRY = Registry().with_parts([Cuts, FailsVitally, Logs, Loss])


def run(world: Distributed, path: Path, callbacks: str, *overrides: str) -> list[str]:
    """Train three steps, or go on with them; what is said of callbacks."""
    folder, said = RunFolder(path), Said()
    recipe = small(f"train.callbacks={callbacks}", *overrides, registry=REGISTRY)
    with suppress(Cut, RunError):
        Run(recipe, folder, REGISTRY, world, said).train(resume=folder.is_used)
    return [each for each in said.said if "told of it" in each]


def lines(path: Path) -> list[dict[str, Any]]:
    return [{**line, "images_per_second": 0} for line in read_metrics(RunFolder(path).metrics)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The metrics of a run that was never stopped: a line of each step and two of each callback's."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    assert alone(run, path, "[logs]") == []
    assert not (path / "untold.json").exists()
    assert [line["step"] for line in lines(path) if "logs" in line] == [1, 2, 2, 3, 3]
    return lines(path)


@pytest.mark.parametrize(
    ("order", "hook", "at"),
    [
        ("[{cuts}, logs]", "checkpoint", 2),
        ("[logs, {cuts}]", "step", 2),
        ("[logs, {cuts}]", "checkpoint", 3),
        ("[{cuts}, logs]", "step", 3),
    ],
)
def test_callbacks_are_told_once_of_all_that_a_run_that_never_stopped_tells_them(
    tmp_path: Path, whole: list[dict[str, Any]], order: str, hook: str, at: int
) -> None:
    path = tmp_path / "run"
    assert alone(run, path, order.replace("{cuts}", f"{{type: cuts, hook: {hook}, at: {at}}}")) == []
    (note,) = alone(run, path, "[logs, loss]")
    assert note == f"note: step {at} was saved before all callbacks were told of it; now they are"
    assert lines(path) == whole
    assert not (path / "untold.json").exists()
    assert (path / "loss.png").exists()


@pytest.mark.parametrize("begin", ["fails", "is cut off", "logs"])
def test_lines_of_the_step_go_only_where_the_callback_has_begun_and_tells_them_again(
    tmp_path: Path, whole: list[dict[str, Any]], begin: str
) -> None:
    path = tmp_path / "run"
    alone(run, path, "[logs, {type: cuts, hook: step, at: 2}]")
    before = lines(path)
    notes = alone(run, path, f"[{{type: logs, begin: {begin}}}]")
    assert len(notes) == (begin == "logs")
    if begin == "logs":  # which are of no step
        assert lines(path) == [*whole[:3], {"step": 2, "logs": {"begun": 2}, "images_per_second": 0}, *whole[3:]]
    else:
        assert lines(path) == before + [line for line in whole[len(before) :] if begin == "fails" and "loss" in line]
    assert (path / "untold.json").exists() == (begin == "is cut off")


def test_two_processes_are_told_alike(tmp_path: Path, whole: list[dict[str, Any]]) -> None:
    run_ranks(run, 2, tmp_path, "[{type: cuts, hook: step, at: 2}, logs]")
    told, _ = run_ranks(run, 2, tmp_path, "[logs]")
    assert told == ["note: step 2 was saved before all callbacks were told of it; now they are"]
    kinds, wanted = ([(line["step"], *line.get("logs", {})) for line in found] for found in (lines(tmp_path), whole))
    assert kinds == wanted


def test_a_step_that_was_saved_since_a_vital_one_failed_comes_again(
    tmp_path: Path, whole: list[dict[str, Any]]
) -> None:
    """Of a checkpoint that the recipe does not ask for they are told nothing, as if there were none."""
    for _ in range(2):  # and comes again as long as it fails
        assert alone(run, tmp_path / "run", "[{type: fails_vitally, hook: step, at: 1}, logs]") == []
    assert len(alone(run, tmp_path / "run", "[logs]")) == 1
    assert lines(tmp_path / "run") == whole


@pytest.mark.parametrize("at", [1, 2])  # of which the recipe asks for the second
def test_a_step_that_a_process_saves_alone_comes_again_with_its_checkpoint_if_one_is_due(
    tmp_path: Path, whole: list[dict[str, Any]], at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another one no longer answers, before the step is saved by all."""

    with monkeypatch.context() as patch:

        def working(
            world: Distributed, step: Callable[[], int], rescue: Callable[[], str]
        ) -> AbstractContextManager[None]:
            def end(*given: Any) -> None:
                if step() == at:
                    rescue()
                    raise Cut

            patch.setattr(Said, "step", end)
            return nullcontext()

        patch.setattr(Distributed, "working", working)
        alone(run, tmp_path / "run", "[logs]")
    assert len(alone(run, tmp_path / "run", "[logs]")) == 1
    assert lines(tmp_path / "run") == whole


def test_a_step_that_is_saved_elsewhere_since_the_folder_was_lost_comes_again_there(
    tmp_path: Path, whole: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Said, "step", lambda own, step, speed: shutil.rmtree(path) if step.step == 2 else None)
        alone(run, path, "[logs]")
    assert len(alone(run, path, "[logs]")) == 1
    assert lines(path) == whole[3:]  # of which the first two are of step 2, by the callback


def test_tensorboard_shows_once_what_a_step_that_comes_again_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, pending = list[tuple[Any, ...]](), list[tuple[Any, ...]]()

    class Board:
        """What there is to see: a kill loses what is not flushed, and a purge hides a step's figures, whosever."""

        def __init__(self, folder: str, purge_step: int, filename_suffix: str) -> None:
            shown[:] = [each for each in shown if each[0] < purge_step]
            pending.clear()

        def add_scalar(self, name: str, value: float, step: int) -> None:
            pending.append((step, name, 0 if name == "images_per_second" else value))

        def flush(self) -> None:
            shown.extend(pending)
            pending.clear()

        close = flush

    monkeypatch.setattr(tensorboard, "_writer_class", lambda: Board)
    alone(run, tmp_path / "whole", "[logs, tensorboard]")
    whole = sorted(shown)
    assert {step for step, *_ in whole} == {1, 2, 3}
    shown.clear()
    alone(run, tmp_path / "run", "[logs, tensorboard, {type: cuts, hook: step, at: 2}]")
    alone(run, tmp_path / "run", "[tensorboard, logs]")
    assert sorted(shown) == whole


def test_a_trace_that_begins_where_a_step_comes_again_begins_once_and_after_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(run, tmp_path, "[{type: cuts, hook: step, at: 2}]")
    before: list[list[int]] = []

    def start(own: profile) -> None:
        before.append([line["step"] for line in lines(tmp_path) if "logs" in line])

    monkeypatch.setattr(profile, "start", start)
    alone(run, tmp_path, "[logs, {type: profile, first: 3, last: 3}]")
    assert before == [[2, 2]]


@pytest.mark.parametrize("callbacks", ["[]", "[logs]"])
def test_nothing_is_noted_where_nobody_is_to_be_told(
    tmp_path: Path, callbacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: Any) -> None:
        raise Cut

    monkeypatch.setattr(Starts, "record_checkpoint", cut)
    alone(run, tmp_path, callbacks, "train.checkpoint_every=1")
    assert (tmp_path / "untold.json").exists() == (callbacks != "[]")


STEP = Step(4, math.nan, (0.5, math.inf), 1.0, 0.1, 0.9, False, "not finite", {"squared_error": 1 / 3})


def test_a_note_is_what_was_noted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    untold = Untold(folder)
    untold.note(folder, checkpoint=True)
    assert not folder.untold.exists()  # of nothing
    untold.step = STEP
    untold.note(folder, checkpoint=False)
    found = Untold(folder).of(4)
    assert repr(found) == repr(Note(STEP, checkpoint=False))
    untold.done()
    assert untold.step is None
    assert not folder.untold.exists()


@pytest.mark.parametrize("change", ["another step", {"step": {}}, {"step": None}, [], "{"])
def test_a_note_that_is_damaged_or_of_another_step_is_none(tmp_path: Path, change: Any) -> None:
    folder = RunFolder(tmp_path)
    untold = Untold(folder)
    untold.step = STEP
    untold.note(folder, checkpoint=True)
    if isinstance(change, dict):
        folder.untold.write_text(json.dumps({**json.loads(folder.untold.read_text()), **change}))
    elif change != "another step":
        folder.untold.write_text(change if isinstance(change, str) else json.dumps(change))
    assert Untold(folder).of(2 if change == "another step" else 4) is None
    assert not folder.untold.exists()
