"""A run that stops and goes on is, bit by bit, the run that never stopped; whatever makes it stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import zoo
from tests.distributed.ranks import alone, run_ranks
from tests.train.small import ALONE, SIZE, Said
from tests.train.small import train as trained_in
from zoo.assembly import load_recipe
from zoo.callbacks import Step
from zoo.data.stream import Reader, stream
from zoo.distributed.distributed import Distributed
from zoo.errors import DataError, Preempted
from zoo.parts.blocks import DiTBlock
from zoo.plugins import Plugin
from zoo.registry import Registry, part
from zoo.runs import checkpoint as checkpoints
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder
from zoo.train.run import Run, Silent
from zoo.train.trainer import Trainer

STEPS = 6


@part("block", "dropping")
class DroppingBlock(DiTBlock):
    """A block with dropout, so that PyTorch's random state matters."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.dropout = nn.Dropout(0.2)

    def forward_stage(self, tokens: Any, vectors: Any, layout: Any, *taken: Any) -> Any:
        return self.dropout(super().forward_stage(tokens, vectors, layout))


REGISTRY = Registry()
REGISTRY.register(SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: [DroppingBlock])), Plugin("tests", "1"))


def recipe(**train: Any) -> dict[str, Any]:
    stages = [
        {"noise_above": 0.5, "levels": [{"patch": 8, "blocks": 1}, {"patch": 4, "blocks": 1}]},
        {"noise_above": 0.0, "levels": [{"patch": 4, "blocks": 1}, {"patch": 2, "blocks": 1}]},
    ]
    return {
        "name": "small",
        "backbone": {
            **SIZE,
            "patch_schedule": {"type": "by_depth_and_timestep", "stages": stages},
            "time_embedder": "fno",
            "stage_embedder": "learned",
            "block": "dropping",
        },
        "train": {
            "steps": STEPS, "batch": 8, "learning_rate": 1e-2, "schedule": "cosine", "warmup": 2, "clip": 1.0,
            "optimizer": {"type": "adamw", "weight_decay": 0.1}, "log_every": 1, "checkpoint_every": 2, **train,
        },
        "sample": {"steps": 2},
    }  # fmt: skip


def run(world: Distributed, path: Path, values: dict[str, Any], hook: Said | None = None, **options: Any) -> Trainer:
    checked = load_recipe(values, registry=REGISTRY)
    return Run(checked, RunFolder(path), REGISTRY, world, hook or Silent()).train(**options)


def run_and_stop(world: Distributed, path: Path, values: dict[str, Any], stop_at: int) -> None:
    """Start, or go on."""
    with pytest.raises(Preempted, match=f"saved after step {stop_at} of {STEPS}; go on with: zoo train --resume"):
        run(world, path, values, stop_at=stop_at, resume=RunFolder(path).is_used)


def run_to_the_end(world: Distributed, path: Path, values: dict[str, Any], resume: bool) -> int:
    return run(world, path, values, resume=resume).step


def state_of(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """After the last step: hashes of all tensors, and the rest of the state but for the run's id; and the metrics."""
    newest, problems = checkpoints.latest(path / "checkpoints")
    assert newest is not None
    assert not problems
    assert newest.step == STEPS
    manifest = json.loads((newest.path / "manifest.json").read_text())
    assert set(manifest["files"]) == {"model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"}
    metrics = read_metrics(RunFolder(path).metrics)
    for line in metrics:
        del line["images_per_second"]
    return {**manifest["files"], "state.json": {**newest.state(), "run": None}}, metrics


WAYS: dict[str, dict[str, Any]] = {"plain": {}, "fsdp": {"accumulate": 2, "parallel": "fsdp"}}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs that never stopped, each trained once; to be read, and copied where anything is to be done to it."""

    @cache
    def trained(way: str = "plain", ranks: int = 1) -> Path:
        path = tmp_path_factory.mktemp("whole")
        ended = run_ranks(run_to_the_end, ranks, path, recipe(**WAYS[way]), False, group=way == "fsdp")
        assert ended == [STEPS] * ranks
        return path

    return trained


@pytest.fixture(scope="module")
def stopped_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run stopped after step 3, to be copied."""
    path = tmp_path_factory.mktemp("stopped")
    assert run_ranks(run_and_stop, 1, path, recipe(), 3) == [None]
    return path


@pytest.mark.parametrize(
    ("ranks", "way"), [(1, "plain"), (2, "plain"), (1, "fsdp"), pytest.param(2, "fsdp", marks=pytest.mark.slow)]
)
def test_resumed_run_equals_the_run_that_never_stopped(
    tmp_path: Path, whole_run: Callable[..., Path], ranks: int, way: str
) -> None:
    values, group = recipe(**WAYS[way]), way == "fsdp"
    for stop in (2, 3, 5):  # where a checkpoint is due, and where none is
        assert run_ranks(run_and_stop, ranks, tmp_path, values, stop, group=group) == [None] * ranks
    assert run_ranks(run_to_the_end, ranks, tmp_path, values, True, group=group) == [STEPS] * ranks
    (whole, metrics), (parts, metrics_of_parts) = state_of(whole_run(way, ranks)), state_of(tmp_path)
    assert parts == whole
    assert metrics_of_parts == metrics
    assert [line["step"] for line in metrics] == list(range(1, STEPS + 1))
    assert len({line["loss"] for line in metrics}) == STEPS


@pytest.mark.parametrize("lost", ["model", "ema", "optimizer", "random", "step"])
def test_the_comparison_catches_what_is_not_restored(
    tmp_path: Path, whole_run: Callable[..., Path], stopped_run: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece of the state by itself: leave it out on resuming, and the runs differ."""
    shutil.copytree(stopped_run, tmp_path / "parts")

    def resume(world: Distributed) -> int:
        plain = checkpoints.Checkpoint.tensors
        if lost in ("model", "ema", "optimizer"):

            def tensors(self: checkpoints.Checkpoint, name: str) -> dict[str, torch.Tensor]:
                found = plain(self, name)
                return {key: each * (1 if name != lost else 0.5) for key, each in found.items()}

            monkeypatch.setattr(checkpoints.Checkpoint, "tensors", tensors)
        elif lost == "random":
            monkeypatch.setattr("zoo.train.resuming.set_random_state", lambda states, world: None)
        else:
            monkeypatch.setattr("zoo.train.trainer.stream", stream_from_the_beginning)
        return run(world, tmp_path / "parts", recipe(), resume=True).step

    assert run_ranks(resume, 1) == [STEPS]
    assert state_of(tmp_path / "parts")[0] != state_of(whole_run())[0]


def stream_from_the_beginning(reader: Reader, first: int, last: int, **options: Any) -> Any:
    return stream(reader, 0, last - first, **options)


def test_data_workers_change_nothing(tmp_path: Path, whole_run: Callable[..., Path]) -> None:
    run_ranks(run_to_the_end, 1, tmp_path, {**recipe(), "data": {"workers": 2}}, False)
    (without, metrics), (with_two, metrics_of_two) = state_of(whole_run()), state_of(tmp_path)
    for each in (without, with_two):
        del each["state.json"]  # which holds the recipe
    assert with_two == without
    assert metrics_of_two == metrics


def test_going_on_with_more_processes_trains_the_same_up_to_rounding(tmp_path: Path) -> None:
    """Without dropout, which is drawn by each process: samples, noise and order depend on none of them."""
    values = recipe()
    values["backbone"]["block"] = "dit"
    run_ranks(run_to_the_end, 1, tmp_path / "one", values, False)
    run_ranks(run_and_stop, 1, tmp_path / "both", values, 3)
    assert run_ranks(run_to_the_end, 2, tmp_path / "both", values, True) == [STEPS] * 2
    (_, one), (_, both) = state_of(tmp_path / "one"), state_of(tmp_path / "both")
    assert [line["loss"] for line in both] == pytest.approx([line["loss"] for line in one], rel=1e-4)


def stop_by(number: int, rank: int) -> Any:
    """Training in which one process gets a signal after step 3."""

    def work(world: Distributed, path: Path) -> str:
        plain = Trainer._told

        def told(self: Trainer, *arguments: Any, **options: Any) -> Step:
            step = plain(self, *arguments, **options)
            if step.step == 3 and world.rank == rank:
                os.kill(os.getpid(), number)
            return step

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "_told", told)
            try:
                run(world, path, recipe())
            except Preempted as error:
                return f"{error.exit_code}: {error}"
        return "never stopped"

    return work


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("ranks", "rank"), [(1, 0), (2, 0), (2, 1)])
def test_a_signal_to_one_process_stops_all_after_the_step_and_saves(
    tmp_path: Path, whole_run: Callable[..., Path], number: int, ranks: int, rank: int
) -> None:
    for told in run_ranks(stop_by(number, rank), ranks, tmp_path):
        assert told.startswith("75: ")
        assert "saved after step 4 of 6" in told
    assert run_ranks(run_to_the_end, ranks, tmp_path, recipe(), True) == [STEPS] * ranks
    assert state_of(tmp_path) == state_of(whole_run(ranks=ranks))


def test_a_second_signal_while_it_is_saved_loses_nothing(tmp_path: Path) -> None:
    def work(world: Distributed) -> str:
        plain = checkpoints.save

        def save(*arguments: Any) -> checkpoints.Checkpoint:
            os.kill(os.getpid(), signal.SIGTERM)
            return plain(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoints, "save", save)
            return stop_by(signal.SIGTERM, 0)(world, tmp_path)

    for told in run_ranks(work, 2):
        assert told.startswith("75: ")
    newest, problems = checkpoints.latest(tmp_path / "checkpoints")
    assert newest is not None
    assert problems == []
    assert newest.step in (3, 4)  # the save after step 2 has brought the first signal, while training went on


@pytest.mark.parametrize(("step", "saved"), [(5, (2, 4)), (1, (None,))])
def test_sigkill_loses_no_more_than_the_steps_since_the_last_checkpoint_that_was_written(
    tmp_path: Path, whole_run: Callable[..., Path], step: int, saved: tuple[int | None, ...]
) -> None:
    def die(world: Distributed) -> None:
        run(world, tmp_path, recipe(), Said(step, lambda: os.kill(os.getpid(), signal.SIGKILL)))

    (end,) = run_ranks(die, 1)
    assert end.code == -signal.SIGKILL
    newest, _ = checkpoints.latest(tmp_path / "checkpoints")
    assert (newest and newest.step) in saved  # a thread may have been writing that of step 4 still
    assert [line["step"] for line in read_metrics(RunFolder(tmp_path).metrics)] == list(range(1, step + 1))
    run_ranks(run_to_the_end, 1, tmp_path, recipe(), True)
    assert state_of(tmp_path) == state_of(whole_run())


def test_an_unsound_checkpoint_is_passed_over_and_said(tmp_path: Path, whole_run: Callable[..., Path]) -> None:
    run_ranks(run_and_stop, 1, tmp_path, recipe(), 4)
    newest = tmp_path / "checkpoints" / "step_00000004" / "model.safetensors"
    flipped = bytearray(newest.read_bytes())
    flipped[-1] ^= 1
    newest.write_bytes(flipped)

    def resume(world: Distributed) -> list[str]:
        hook = Said()
        run(world, tmp_path, recipe(), hook, resume=True)
        return [str(hook.steps), *hook.said]

    steps, warning = run_ranks(resume, 1)[0]
    assert steps == "[3, 4, 5, 6]"
    assert "step_00000004: model.safetensors is not what was written" in warning
    assert state_of(tmp_path) == state_of(whole_run())


def test_a_run_folder_holds_everything(tmp_path: Path) -> None:
    alone(run, tmp_path / "run", recipe(callbacks=[{"type": "pictures", "every": 3}, "tensorboard"], keep_last=1))
    names = sorted(str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*") if path.is_file())
    events = [name for name in names if name.startswith("tensorboard/")]
    assert len(events) == 1
    assert [name for name in names if name not in (*events, ".lock")] == [
        "checkpoints/step_00000006/ema.safetensors",
        "checkpoints/step_00000006/manifest.json",
        "checkpoints/step_00000006/model.safetensors",
        "checkpoints/step_00000006/optimizer.safetensors",
        "checkpoints/step_00000006/state.json",
        "loss.png",
        "metrics.jsonl",
        "recipe.yaml",
        "run.json",
        "samples/step_00000003.png",
        "samples/step_00000006.png",
    ]
    versions = json.loads((tmp_path / "run" / "run.json").read_text())
    packages = [each["versions"]["packages"] for each in versions]
    assert packages == [{"tests": "1", "torch": metadata.version("torch"), "zoo": zoo.__version__}]


@pytest.mark.parametrize("step", [None, STEPS])
def test_a_run_tells_that_it_was_asked_to_stop_also_in_its_last_step(tmp_path: Path, step: int | None) -> None:
    hook = Said(step or 0, lambda: os.kill(os.getpid(), signal.SIGTERM))
    asked = Run(load_recipe(recipe(), registry=REGISTRY), RunFolder(tmp_path / "run"), REGISTRY, ALONE, hook)
    assert asked.train().step == STEPS
    assert asked.was_asked_to_stop == (step is not None)


def test_where_latents_have_moved_to_is_asked_and_not_how_they_are_made(tmp_path: Path, stopped_run: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(DataError) as caught:
        trained_in(stopped_run, f"data.dataset={{type: latents, folder: {gone}}}", resume=True)
    assert str(caught.value) == (
        f"{gone}: there is no such folder; if it was moved: zoo train --resume --run-dir {stopped_run} --set"
        " data.dataset.folder=FOLDER"
    )


def test_bfloat16_learns_as_well(tmp_path: Path) -> None:
    alone(run, tmp_path, recipe(precision="bfloat16"))
    losses = [line["loss"] for line in read_metrics(RunFolder(tmp_path).metrics)]
    assert losses[-1] < losses[0]
