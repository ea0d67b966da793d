"""An update that is not finite is left out where that is wanted: nothing changes but the step."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.distributed.ranks import alone, run_ranks
from tests.train.small import Said, small
from zoo.callbacks import Step
from zoo.distributed.distributed import Distributed
from zoo.errors import NumericError, Preempted
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.metrics_file import read_metrics
from zoo.runs.profiles import decay
from zoo.runs.run_folder import RunFolder
from zoo.train import trainer as trainers
from zoo.train.run import Run
from zoo.train.trainer import Trainer

STEPS = 6
LOSS, GRADIENT = "_losses", "_clip"


class Notes(Said):
    """Keeps what is said, and the state after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[dict[str, Tensor]] = []

    def start(self, trainer: Trainer, last: int) -> None:
        self.trainer = trainer

    def step(self, step: Step, images_per_second: float | None) -> None:
        files = self.trainer.state.tensors(self.trainer.world)
        self.states.append(
            {f"{file}/{name}": each.clone() for file, own in files.items() for name, each in own.items()}
        )


def run(
    world: Distributed,
    path: Path,
    bad: Collection[int],
    *overrides: str,
    way: str = LOSS,
    rank: int = 0,
    all_samples: bool = False,
    ahead: bool = False,
    **options: Any,
) -> Notes:
    """Train where the loss or the gradient of some steps, on one process, is not finite; or go on.

    Updates may be asked for ahead, as on a GPU.
    """
    plain: Callable[..., Any] = getattr(Trainer, way)

    def spoiled(self: Trainer, *arguments: Any) -> Any:
        found = plain(self, *arguments)
        factor = torch.nan if self.step + 1 in bad and world.rank == rank else 1.0
        if way == GRADIENT:
            return found * factor
        values, losses = found
        first = (torch.arange(len(losses)) == 0) | all_samples
        return {name: torch.where(first, each * factor, each) for name, each in values.items()}, losses

    registry, notes = Registry(), Notes()
    recipe = small(f"train.steps={STEPS}", "train.clip=null", *overrides, registry=registry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, way, spoiled)
        patch.setattr(trainers, "_goes_ahead", lambda world: ahead)
        folder = RunFolder(path)
        Run(recipe, folder, registry, world, notes).train(resume=folder.is_used, **options)
    return notes


def lines_of(path: Path) -> list[dict[str, Any]]:
    lines = read_metrics(RunFolder(path).metrics)
    for line in lines:
        line.pop("images_per_second", None)
    return lines


def end_of(path: Path) -> tuple[Any, list[dict[str, Any]]]:
    newest, problems = checkpoints.latest(path / "checkpoints")
    assert newest is not None
    assert (newest.step, problems) == (STEPS, [])
    files = json.loads((newest.path / "manifest.json").read_text())["files"]
    return {**files, "state.json": {**newest.state(), "run": None}}, lines_of(path)


SKIP = "train.on_non_finite=skip"


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize(("way", "what"), [(LOSS, "the loss"), (GRADIENT, "the gradient")])
def test_an_update_that_is_left_out_changes_nothing_but_the_step(
    tmp_path: Path, way: str, what: str, ahead: bool
) -> None:
    notes = alone(partial(run, way=way, ahead=ahead), tmp_path, {3}, SKIP, "train.log_every=2")
    before, after, later = notes.states[1:4]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(torch.equal(after[name], later[name]) for name in after if name.endswith("/step"))
    warning, at_the_end = [line for line in notes.said if line.startswith("warning: ")]
    assert at_the_end == "warning: 1 of 6 updates were left out, since they were not finite"
    assert warning.startswith(f"warning: step 3: {what} is not finite; samples: digit ")
    assert warning.endswith("; this update is left out")
    steps = [(line["step"], line.get("skipped", "")) for line in lines_of(tmp_path)]
    assert steps == [(2, ""), (3, warning.removeprefix("warning: ").rpartition("; this")[0]), (4, ""), (6, "")]
    assert (tmp_path / "loss.png").exists()


def test_an_average_by_profile_counts_the_step_that_is_left_out(tmp_path: Path) -> None:
    notes = alone(run, tmp_path, {3}, SKIP, "train.ema=[0.9, {std: 0.1}]")
    before, after = notes.states[1:3]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    for name in changed:
        file, _, key = name.partition("/")
        assert file == "ema-std-0.1"
        expected = before[name] + (1 - decay(0.1, 3)) * (before[f"model/{key}"] - before[name])
        torch.testing.assert_close(after[name], expected)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_run_that_stopped_goes_on_as_if_it_had_been_told_at_the_start(tmp_path: Path, ahead: bool) -> None:
    own = partial(run, ahead=ahead)
    alone(own, tmp_path / "whole", {4}, SKIP)
    with pytest.raises(NumericError) as caught:
        alone(own, tmp_path / "parts", {4})
    newest, _ = checkpoints.latest(tmp_path / "parts" / "checkpoints")
    assert newest is not None
    assert newest.step == 3  # which no checkpoint was due at
    command = f"zoo train --resume --run-dir {tmp_path / 'parts'} --set train.on_non_finite=skip"
    assert f"; go on without such updates by: {command}, or begin another run, with a lower" in str(caught.value)
    notes = alone(own, tmp_path / "parts", {4}, SKIP)
    assert 'note: going on with train.on_non_finite: "skip" in place of "stop"' in notes.said
    (whole, metrics), (parts, metrics_of_parts) = end_of(tmp_path / "whole"), end_of(tmp_path / "parts")
    assert parts == whole
    assert metrics_of_parts == metrics
    first, second = json.loads((tmp_path / "parts" / "run.json").read_text())
    assert "changes" not in first
    (change,) = second["changes"]
    assert change.pop("step") in (2, 3)
    assert change == {"key": "train.on_non_finite", "before": "stop", "after": "skip"}


def test_what_is_not_finite_for_all_samples_is_of_the_weights(tmp_path: Path) -> None:
    spoiled = partial(run, all_samples=True)
    with pytest.raises(NumericError) as caught:
        alone(spoiled, tmp_path / "stopped", {4})
    told = str(caught.value)
    assert told.startswith("step 4: the loss of all 8 samples is not finite; the weights before it are saved: ")
    assert "on_non_finite" not in told
    assert told.endswith(
        "; its weights are no good any more: begin another run, with a lower learning rate or clipped gradients, from"
        " scratch or by train.init from earlier weights"
    )
    said = alone(spoiled, tmp_path / "skipped", {2, 5, 6}, SKIP).said
    assert [line for line in said if line.startswith("warning: ")] == [
        *(f"warning: step {n}: the loss of all 8 samples is not finite; this update is left out" for n in (2, 5, 6)),
        "warning: 3 of 6 updates were left out, since they were not finite, the last 2 among them",
    ]


def test_a_sample_that_is_a_batch_by_itself_may_be_at_fault(tmp_path: Path) -> None:
    with pytest.raises(NumericError) as caught:
        alone(run, tmp_path, {2}, "train.batch=1", "backbone.patch_schedule={type: uniform, patch: 4}")
    told = str(caught.value)
    assert told.startswith("step 2: the loss is not finite; samples: digit ")
    assert f"; go on without such updates by: zoo train --resume --run-dir {tmp_path} --set {SKIP}, or begin" in told


@pytest.mark.parametrize("stop_at", [1, 3])  # before anything has been updated; in the midst of a row
def test_what_has_been_left_out_is_kept_with_a_checkpoint(tmp_path: Path, stop_at: int) -> None:
    bad = {1} if stop_at == 1 else {2, 3, 4}
    alone(run, tmp_path / "whole", bad, SKIP, "train.max_skipped=3")
    options = (SKIP, "train.max_skipped=3")
    with pytest.raises(Preempted, match=f"saved after step {stop_at}"):
        alone(partial(run, stop_at=stop_at), tmp_path / "parts", bad, *options)
    alone(run, tmp_path / "parts", bad, *options)
    assert end_of(tmp_path / "parts") == end_of(tmp_path / "whole")


def test_too_many_in_a_row_stop_the_run_and_more_may_be_allowed(tmp_path: Path) -> None:
    two = ("train.checkpoint_every=1", SKIP, "train.max_skipped=2")
    bad = {1, 3, 4, 5}
    for _ in range(2):  # going on, the count is not forgotten
        with pytest.raises(NumericError, match=r"step 5: the loss .*; the 2 updates before it are left out") as caught:
            alone(run, tmp_path, bad, *two)
        assert f"--run-dir {tmp_path} --set train.max_skipped=20, or begin" in str(caught.value)
    alone(run, tmp_path, bad, *two[:-1], "train.max_skipped=3")
    assert [line["step"] for line in end_of(tmp_path)[1] if "skipped" in line] == [1, 3, 4, 5]


def test_fewer_allowed_than_were_left_out_already_stop_the_run_too(tmp_path: Path) -> None:
    options, bad = ("train.checkpoint_every=1", SKIP), {2, 3, 4, 5}
    with pytest.raises(Preempted):
        alone(partial(run, stop_at=4), tmp_path, bad, *options, "train.max_skipped=3")
    with pytest.raises(NumericError, match=r"step 5: the loss .*; the 3 updates before it are left out"):
        alone(run, tmp_path, bad, *options, "train.max_skipped=2")


def run_with_nan_on_the_second(world: Distributed, path: Path) -> tuple[list[str], bool]:
    """What was said, and, on the main process, whether the update changed nothing."""
    notes = run(world, path, {3}, SKIP, rank=1)
    states = [list(state.values()) for state in notes.states[1:3]]
    return notes.said, bool(states) and all(map(torch.equal, *states))


def test_all_processes_leave_out_what_is_not_finite_on_one(tmp_path: Path) -> None:
    (said, same), others = run_ranks(run_with_nan_on_the_second, 2, tmp_path)
    assert (len(said), same) == (2, True)
    assert others == ([], False)
    assert [line["step"] for line in end_of(tmp_path)[1] if "skipped" in line] == [3]
