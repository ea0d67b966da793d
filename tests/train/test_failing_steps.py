"""A step that fails loses none of those before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distributed.ranks import alone, run_ranks
from tests.train.six_steps import STEPS, run, steps_in
from tests.train.small import Said
from zoo.distributed.distributed import Distributed
from zoo.errors import NumericError, RunError
from zoo.runs import checkpoint as checkpoints
from zoo.runs.state import TrainState
from zoo.train import failed_steps, trainer
from zoo.train.rescue import rescue
from zoo.train.run import Silent
from zoo.train.saving import Saver
from zoo.train.trainer import Trainer

RARE = "train.checkpoint_every=100"


def failing(
    step: int, error: BaseException | None, method: str = "_clip", rank: int | None = None
) -> Callable[..., Callable[..., Any]]:
    """What a method of the trainer does instead: draw from PyTorch's generator, and fail in a step."""

    def of(plain: Callable[..., Any]) -> Callable[..., Any]:
        def work(self: Trainer, *arguments: Any, **options: Any) -> Any:
            result = plain(self, *arguments, **options)
            if method == "_clip":  # every number drawn decides on the training to come, as dropout's would
                for each in self.state.parameters.values():
                    assert each.grad is not None
                    each.grad += 0.01 * torch.rand(())
            if error is not None and self.step + 1 == step and rank in (None, self.world.rank):
                raise error
            return result

        return work

    return of


def train(
    world: Distributed,
    path: Path,
    error: BaseException | None,
    *overrides: str,
    step: int = 4,
    method: str = "_clip",
    rank: int | None = None,
) -> tuple[str, list[str]]:
    """What ended training, if anything, and what was said."""
    said = Said()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_clip", failing(step, None)(Trainer._clip))
        patch.setattr(Trainer, method, failing(step, error, method, rank)(getattr(Trainer, method)))
        try:
            run(world, path, said, *overrides)
        except Exception as ended:
            return f"{type(ended).__name__}: {ended}", said.said
    return "", said.said


def end_of(path: Path) -> Any:
    newest, problems = checkpoints.latest(path / "checkpoints")
    assert newest is not None
    assert (newest.step, problems) == (STEPS, [])
    files = json.loads((newest.path / "manifest.json").read_text())["files"]
    return {**files, "state.json": {**newest.state(), "run": None}}


ERRORS = [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), KeyError("of a plug-in"), NumericError("NaN")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_step_that_fails_loses_none_before_it(tmp_path: Path, error: Exception) -> None:
    told, said = alone(train, tmp_path / "parts", error, RARE)
    kept = tmp_path / "parts" / "checkpoints" / "step_00000003"
    saved = f"; the weights before it are saved: the last checkpoint is {kept}; go on "
    assert told.startswith(type(error).__name__)
    assert saved in told if isinstance(error, NumericError) else "\n".join(said).startswith(f"step 4 has failed{saved}")
    assert alone(train, tmp_path / "parts", None, RARE)[0] == ""
    alone(train, tmp_path / "whole", None, RARE)
    assert end_of(tmp_path / "parts") == end_of(tmp_path / "whole")


def test_a_part_that_is_to_end_the_process_loses_none_either(tmp_path: Path) -> None:
    told, _ = alone(train, tmp_path, GeneratorExit(), RARE)
    assert told == "RuntimeError: a part ends the process, by GeneratorExit"
    assert steps_in(tmp_path) == [3]


def test_older_checkpoints_stay_beside_the_one_before_a_failure(tmp_path: Path) -> None:
    """The weights before a failure may be no good any more."""
    alone(train, tmp_path, KeyError(), "train.checkpoint_every=2", "train.keep_last=1")
    assert steps_in(tmp_path) == [2, 3]


def test_what_was_saved_before_a_failure_takes_no_place_of_a_regular_checkpoint(tmp_path: Path) -> None:
    options = ("train.checkpoint_every=2", "train.keep_last=2")
    alone(train, tmp_path, KeyError(), *options)
    alone(train, tmp_path, None, *options, "train.steps=4")
    assert steps_in(tmp_path) == [2, 3, 4]
    alone(train, tmp_path, None, *options)
    assert steps_in(tmp_path) == [4, 6]


def test_what_an_update_has_half_changed_is_not_saved(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.runs.optimizer.EMA.update", failing_average(4))
        told, said = alone(train, tmp_path, None, "train.checkpoint_every=2")
    assert told == "KeyError: 'average'"
    assert "it was in the midst of its update, and nothing could be saved; the last checkpoint is " in said[0]
    assert steps_in(tmp_path) == [2]


def failing_average(step: int) -> Callable[..., None]:
    calls = iter(range(1, step + 1))

    def update(*arguments: Any) -> None:
        if next(calls) == step:
            raise KeyError("average")

    return update


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError(f"Connection closed by peer\n{'frame ' * 500}"), "Connection closed by peer"),
        (RunError(f"No space left{'; mend it' * 100}"), f"No space left{'; mend it' * 100}"),
    ],
    ids=["PyTorch's", "zoo's"],
)
def test_the_first_failure_is_told_where_another_keeps_from_saving(
    tmp_path: Path, error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> list[str]:
        raise error

    monkeypatch.setattr(TrainState, "not_finite", broken)
    told, said = alone(train, tmp_path, KeyError("of a plug-in"), RARE)
    assert told == "KeyError: 'of a plug-in'"
    assert f"; what was trained before it cannot be saved: {words}; go on with: " in said[0]


def test_the_first_failure_is_told_where_the_weights_before_it_are_no_longer_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainState, "not_finite", lambda self, world: ["model/head.bias"])
    told, said = alone(train, tmp_path, KeyError("of a plug-in"), RARE)
    assert told == "KeyError: 'of a plug-in'"
    assert said[0] == (
        "step 4 has failed; step 3: training has made what is not finite, and is not saved: model/head.bias; there is"
        " no checkpoint yet; begin another run, with a lower learning rate or clipped gradients"
    )


def test_which_checkpoint_is_the_last_one_is_told_without_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be of many gigabytes."""
    monkeypatch.setattr(checkpoints, "problem_of", None)
    told, said = alone(train, tmp_path, KeyError("of a plug-in"), "train.checkpoint_every=3")
    assert told == "KeyError: 'of a plug-in'"
    assert f"; the last checkpoint is {tmp_path / 'checkpoints' / 'step_00000003'}; go on with: " in said[0]


def test_weights_that_are_no_longer_finite_are_not_saved_before_a_step_that_fails_of_it(tmp_path: Path) -> None:
    huge = ("train.learning_rate=3e38", "train.clip=null", RARE)
    with pytest.raises(NumericError) as caught:
        alone(run, tmp_path, Said(), *huge)
    assert str(caught.value).startswith("step 2: the loss ")
    assert "; step 1: training has made what is not finite, and is not saved: model/" in str(caught.value)
    assert "skip" not in str(caught.value)
    assert steps_in(tmp_path) == []


def train_and_end(world: Distributed, *arguments: Any, **options: Any) -> list[str]:
    """As a process of a job does: what fails ends it, and by that breaks off its connections to the others."""
    told, said = train(world, *arguments, **options)
    if told:
        raise EndedError(told, said)
    return said


class EndedError(Exception):
    """What ended training on a process, and what was said before."""


def ends(found: list[Any]) -> list[tuple[str, list[str]]]:
    assert [type(each) for each in found] == [EndedError] * 2
    return [each.args for each in found]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_main_process_saves_alone_where_another_or_itself_fails(tmp_path: Path, rank: int) -> None:
    """Those that have not failed wait in a collective, in which one that has failed takes no part."""
    failure = KeyError("of a plug-in")
    (first, said), (second, others) = ends(run_ranks(partial(train_and_end, rank=rank), 2, tmp_path, failure, RARE))
    assert (first, second)[rank] == "KeyError: 'of a plug-in'"
    assert steps_in(tmp_path) == [3]
    assert f"the weights before it are saved: the last checkpoint is {tmp_path}" in said[0]
    assert others == []
    said, _ = run_ranks(train_and_end, 2, tmp_path, None, RARE)
    assert "note: one process saved alone" in said[0]
    assert steps_in(tmp_path) == [3, STEPS]


@pytest.mark.parametrize("rank", [0, 1])
def test_an_update_that_fails_on_one_process_after_a_checkpoint_ends_all(tmp_path: Path, rank: int) -> None:
    """The others are in the next step by then, where they wait for this process's gradients."""
    options = ("train.checkpoint_every=3", "train.log_every=100")
    of_one = partial(train_and_end, method="_update", rank=rank)
    (first, said), (second, others) = ends(run_ranks(of_one, 2, tmp_path, MemoryError("no room"), *options))
    assert (first, second)[rank] == "MemoryError: no room"
    kept = [[3], [3, 4]][rank]  # what the main process has done by then
    assert steps_in(tmp_path) == kept
    assert f"the last checkpoint is {tmp_path / 'checkpoints'}/step_{kept[-1]:08d}; go on with: " in said[0]
    assert others == []


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("step", [0, 2])
def test_first_samples_that_fail_on_one_process_end_all(tmp_path: Path, rank: int, step: int) -> None:
    """Not by a fault of the data, of which all are told."""
    if step:
        run_ranks(train_and_end, 2, tmp_path, None, f"train.steps={step}")
    (first, said), (second, others) = ends(run_ranks(train_without_samples, 2, tmp_path, rank))
    assert (first, second)[rank] == "KeyError: 'of a plug-in'"
    assert steps_in(tmp_path) == ([step] if step else [])
    there = f"the last checkpoint is {tmp_path / 'checkpoints'}/step_" if step else "there is no checkpoint yet; "
    assert f"step {step + 1} has failed; {there}" in said[-1]
    assert others == []


def train_without_samples(world: Distributed, path: Path, rank: int) -> None:
    def fail(*given: Any) -> Any:
        raise KeyError("of a plug-in")

    with pytest.MonkeyPatch.context() as patch:
        if world.rank == rank:
            patch.setattr(trainer, "_next", fail)
        train_and_end(world, path, None)


def test_what_an_update_has_half_changed_is_not_rescued(tmp_path: Path) -> None:
    """The process in whose update it failed may be the one that lives while another does not answer."""
    kept = []

    def told(self: Saver) -> str:
        with pytest.raises(RunError) as caught:
            rescue(self)
        kept.append(str(caught.value))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failed_steps, "keep", told)
        alone(partial(train, method="_update"), tmp_path, KeyError(), "train.checkpoint_every=2")
    last = f"the last checkpoint is {tmp_path / 'checkpoints' / 'step_00000002'}; go on with: "
    assert kept[0].startswith(f"process 0 has failed in the midst of its update; {last}")
    assert steps_in(tmp_path) == [2]


def test_averages_that_an_update_left_out_has_moved_in_part_are_not_saved(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainState, "average_in", failing_average(4))
        patch.setattr(Trainer, "_problem", lambda self, *_: "step 4: not finite" if self.step == 3 else "")
        told, said = alone(train, tmp_path, None, "train.on_non_finite=skip", "train.checkpoint_every=2")
    assert told == "KeyError: 'average'"
    assert "step 4 has failed; it was in the midst of its update, and nothing could be saved" in said[-1]
    assert steps_in(tmp_path) == [2]


def test_shares_of_the_weights_are_not_saved_by_one_process_alone(tmp_path: Path) -> None:
    options = (tmp_path, KeyError("of a plug-in"), "train.parallel=fsdp", "train.checkpoint_every=2")
    (_, said), (told, _) = ends(run_ranks(partial(train_and_end, rank=1), 2, *options, group=True))
    assert told == "KeyError: 'of a plug-in'"
    assert "each process holds but a share of the weights, and nothing could be saved" in said[0]
    assert steps_in(tmp_path) == [2]


def test_all_processes_save_their_shares_where_all_know_of_the_failure(tmp_path: Path) -> None:
    told = run_ranks(run_with_nan, 2, tmp_path, group=True)
    assert {type(each) for each in told} == {NumericError}
    assert steps_in(tmp_path) == [3]


def run_with_nan(world: Distributed, path: Path) -> None:
    plain = Trainer._losses

    def losses(self: Trainer, piece: Any) -> Any:
        values, losses = plain(self, piece)
        return values, losses * torch.nan if self.step == 3 and world.rank == 1 else losses

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_losses", losses)
        run(world, path, Silent(), "train.parallel=fsdp", RARE)
