"""Callbacks: what they are told of a run, what they may ask of it, and what becomes of those that fail."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from tests.distributed.ranks import alone, run_ranks
from tests.train.heard import HEARD, REGISTRY, run
from tests.train.small import small
from zoo.callbacks import tensorboard
from zoo.distributed.distributed import Distributed
from zoo.errors import PluginError, RecipeError, RunError
from zoo.pictures import read_png
from zoo.runs import checkpoint as checkpoints
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder


def test_each_is_told_of_all_and_a_checkpoint_before_the_step(tmp_path: Path) -> None:
    assert alone(run, tmp_path, "[hears]", "train.steps=2") == [
        "begin 0/2", "log 1", "step 1 after 8", "log 2", "checkpoint 2", "step 2 after 16", "end 2 NoneType"
    ]  # fmt: skip
    assert alone(run, tmp_path, "[hears]") == [
        "begin 2/3", "log 3", "checkpoint 3", "step 3 after 24", "end 3 NoneType"
    ]  # fmt: skip


def test_on_two_processes_the_main_one_alone_hears_unless_a_callback_is_everywhere(tmp_path: Path) -> None:
    main, other = run_ranks(run, 2, tmp_path / "one", "[hears]", "train.steps=1")
    assert main[0] == "begin 0/1"
    assert other == []
    main, other = run_ranks(run, 2, tmp_path / "all", "[hears_everywhere]", "train.steps=1")
    assert other == ["begin 0/1", "checkpoint 1", "step 1 after 8", "end 1 NoneType"]
    assert [each for each in main if each != "log 1"] == other


def test_none_are_wanted(tmp_path: Path) -> None:
    assert alone(run, tmp_path, "[]", "train.steps=1") == []
    assert not (tmp_path / "samples").exists()
    with pytest.raises(RecipeError, match='should be a list of parts, got "hears"'):
        small("train.callbacks=hears", registry=REGISTRY)


@pytest.mark.parametrize("ranks", [1, 2])
def test_what_is_asked_is_answered(tmp_path: Path, ranks: int) -> None:
    run_ranks(run, ranks, tmp_path, "[asks]", "train.steps=2")
    assert json.loads((tmp_path / "asked" / "2.json").read_text()) == [ranks, True, True]
    lines = read_metrics(RunFolder(tmp_path).metrics)
    assert [line.get("asks") for line in lines] == [None, {"ranks": ranks, "of": {"lists": [1, 2.5]}}] * 2
    assert [line["step"] for line in lines] == [1, 1, 2, 2]
    assert (read_png(tmp_path / "asked" / "step_00000002.png") == np.full((2, 3, 3), 7)).all()


def test_pictures_are_shown_to_all_whatever_their_order(tmp_path: Path) -> None:
    heard = alone(run, tmp_path, "[hears, {type: pictures, every: 2, count: 4}]")
    assert [each for each in heard if each.startswith("show")] == ["show samples 2 uint8 3", "show samples 3 uint8 3"]


def test_what_cannot_be_answered_is_told(tmp_path: Path) -> None:
    assert alone(run, tmp_path, "[asks_wrongly]", "train.steps=1") == []


def test_what_shows_what_it_is_shown_fails_and_the_run_goes_on(tmp_path: Path) -> None:
    assert alone(run, tmp_path, "[echoes]", "train.steps=1") == [
        "warning: callback echoes: ValueError: it asks for show() where it is told of one; let it ask from another"
        " method; the run goes on"
    ]


@pytest.mark.parametrize(("ranks", "everywhere"), [(1, "false"), (2, "false"), (2, "true")])
def test_one_that_fails_is_told_once_and_the_run_goes_on(tmp_path: Path, ranks: int, everywhere: str) -> None:
    callbacks = f"[{{type: fails, everywhere: {everywhere}}}, hears]"
    heard, *_ = run_ranks(run, ranks, tmp_path, callbacks)
    assert "end 3 NoneType" in heard
    assert [each for each in heard if each.startswith("warning: ")] == [
        "warning: callback fails: KeyError: 'step 2'; the run goes on",
        "warning: callback fails has failed 2 times",
    ]


def test_one_that_fails_on_another_process_alone_is_told_with_the_next_line_of_the_metrics(tmp_path: Path) -> None:
    main, _ = run_ranks(run, 2, tmp_path, "[hears, fails_on_rank_1]", "train.steps=4", "train.log_every=2")
    told = main.index("warning: callback fails_on_rank_1: KeyError: 'step 2'; the run goes on")
    assert main.index("step 2 after 16") < told < main.index("step 3 after 24")
    assert main[-1] == "warning: callback fails_on_rank_1 has failed 4 times"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("exits", "it ends the process, by sys.exit or its like"),
        ("leaves", "GeneratorExit"),
        ("goes_on_for_pages", f"ValueError: {'word ' * 99}wo..."),
        ("speechless", "SpeechlessError"),
    ],
)
def test_whatever_one_raises_does_not_end_the_run(tmp_path: Path, what: str, told: str) -> None:
    assert alone(run, tmp_path, f"[{{type: raises, what: {what}}}]", "train.steps=1") == [
        f"warning: callback raises: {told}; the run goes on"
    ]


def test_what_one_changes_of_the_process_is_put_back_and_told_once(tmp_path: Path) -> None:
    def run_here(world: Distributed, path: Path) -> tuple[list[str], bool]:
        os.chdir(path)
        told = run(world, Path("run"), "[takes_the_process]", "train.steps=2")
        return told, signal.getsignal(signal.SIGTERM) == signal.SIG_IGN

    told, is_ignored = alone(run_here, tmp_path)
    assert told == [
        f"warning: {hook}() of callback takes_the_process changes {what}, which is put back"
        for hook, what in (
            ("check", "PyTorch's default dtype"),
            ("begin", "what SIGTERM does"),
            ("begin", "the working folder"),
            ("step", "whether gradients are computed"),
        )
    ]
    assert not is_ignored
    assert checkpoints.latest(tmp_path / "run" / "checkpoints")[0] is not None


def test_one_that_fails_where_it_is_to_check_is_named(tmp_path: Path) -> None:
    said = "^small: train.callbacks: raises fails in check\\(\\): SpeechlessError; --debug shows where$"
    with pytest.raises(PluginError, match=said):
        alone(run, tmp_path, "[{type: raises, what: speechless, checks: true}]", "train.steps=1")


def test_pictures_that_the_main_process_has_no_memory_for_leave_no_other_waiting(tmp_path: Path) -> None:
    main, other = run_ranks(run, 2, tmp_path, "[hears_everywhere, out_of_memory]", "train.steps=1", timeout=5.0)
    assert "warning: callback out_of_memory: RuntimeError: out of memory; the run goes on" in main
    assert other[-1] == "end 1 NoneType"


def test_what_cannot_be_taken_from_one_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    told = alone(run, tmp_path, "[loss, pairs, outside, floats, unknown_best]", "train.steps=2")
    for warning, said in zip(
        told[:5],
        [
            "the metrics have a figure 'loss' of the run's own; call the callback otherwise",
            "its figure of/1 is (1, 2), a tuple; let it be a finite int or float, or a list or mapping of such",
            "'../metrics.jsonl' is no name of a file in its own folder; let it be one, without folders",
            "it shows an array [2, 3] of float64; let it be one [H, W, 1 or 3] of uint8",
            "its figure own is nan, and only a finite number is better than another; leave the others out",
        ],
        strict=True,
    ):
        assert said in warning
    assert all(isinstance(line["loss"], float) for line in read_metrics(RunFolder(tmp_path).metrics))


def test_one_that_cannot_begin_is_left_out(tmp_path: Path) -> None:
    heard = alone(run, tmp_path, "[{type: fails, hook: begin, at: 0}]")
    assert heard == ["warning: callback fails: KeyError: 'begin 0'; the run goes on"]


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(("hook", "everywhere"), [("step", "false"), ("log", "false"), ("step", "true")])
def test_a_vital_one_ends_the_run_with_the_weights_saved(
    tmp_path: Path, ranks: int, hook: str, everywhere: str
) -> None:
    callbacks = f"[hears, {{type: fails, hook: {hook}, at: 1, vital: true, everywhere: {everywhere}}}]"
    for heard in run_ranks(run, ranks, tmp_path, callbacks):
        assert heard[-1].startswith(
            f"callback fails: KeyError: '{hook} 1'; the run does not go on without it; the last checkpoint is"
            f" {tmp_path / 'checkpoints' / 'step_00000001'}; mend it, and go on with: zoo train --resume"
        )
    newest = checkpoints.latest(tmp_path / "checkpoints")[0]
    assert newest is not None
    assert newest.step == 1


def test_none_is_ended_twice(tmp_path: Path) -> None:
    heard = alone(run, tmp_path, "[hears, {type: fails, hook: end, vital: true}, hears]")
    assert [each for each in heard if each.startswith("end")] == ["end 3 NoneType", "end 3 VitalError"]


class Watching:
    """Tells when the process must not be ended."""

    @contextmanager
    def busy(self) -> Iterator[None]:
        HEARD.append("busy")
        yield
        HEARD.append("free")

    def meeting(self, kind: str) -> AbstractContextManager[None]:
        return nullcontext()

    def working(self, *given: Any) -> AbstractContextManager[None]:
        return nullcontext()


def test_where_training_fails_they_are_told_and_other_processes_wait(tmp_path: Path) -> None:
    world: Any = Distributed(0, 1, torch.device("cpu"), None, Watching())  # type: ignore[arg-type]
    with pytest.raises(Exception, match="not finite"):
        run(world, tmp_path, "[hears]", "train.learning_rate=1e30", "train.clip=null", "train.steps=9")
    (told,) = (place for place, each in enumerate(HEARD) if each.endswith("NumericError"))
    assert (HEARD[told - 1], HEARD[told + 1]) == ("busy", "free")


class Refusing:
    """A writer of TensorBoard's on a full disk."""

    closed = 0

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def add_scalar(self, *_: Any) -> None: ...

    def flush(self) -> None:
        raise OSError("No space left")

    def close(self) -> None:
        Refusing.closed += 1
        self.flush()


def test_a_writer_that_fails_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard, "_writer_class", lambda: Refusing)
    callback, training = tensorboard.TensorBoard(), cast(Any, SimpleNamespace(folder=tmp_path, step=1))
    with pytest.raises(OSError, match="No space left"):
        callback.log(training, {"step": 1, "loss": 0.5})
    assert Refusing.closed == 1


def test_without_tensorboard_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RunError, match=r"^TensorBoard is not installed; pip install 'diffusion-zoo\[tensorboard\]'$"):
        tensorboard._writer_class()
