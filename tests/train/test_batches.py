"""The samples that training waits for, and what ends the wait."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from tests.train.small import ALONE, small
from zoo import build
from zoo.data.stream import Batch
from zoo.distributed.distributed import Distributed
from zoo.errors import DataError
from zoo.flow import objective_of
from zoo.registry import Registry
from zoo.train import trainer as training
from zoo.train.job import open_job
from zoo.train.trainer import Trainer

plain = training.stream


@pytest.fixture
def trainer() -> Trainer:
    registry = Registry()
    recipe = small("train.timeout=100", registry=registry)
    objective = objective_of(recipe, build(recipe))
    return Trainer(open_job(recipe, objective, registry, 0, 1), objective, ALONE)


def test_a_process_tells_of_its_data_workers_before_the_others_give_it_up(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []

    def stream(*arguments: Any, limit: float, **options: Any) -> Any:
        limits.append(limit)
        return plain(*arguments, limit=limit, **options)

    monkeypatch.setattr(training, "stream", stream)
    assert [step.step for step in trainer.run(1)] == [1]
    assert limits == [80.0]


def test_a_stop_that_is_taken_back_is_a_stop(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a run whose folder, on a network disk, was gone for a moment in which samples were waited for."""
    answers = iter([False, True])

    def stream(*arguments: Any, stop: Callable[[], bool], **options: Any) -> Generator[list[Batch], None, None]:
        yield next(plain(*arguments, **options))
        assert stop()

    monkeypatch.setattr(training, "stream", stream)
    assert [(step.step, step.stop) for step in trainer.run(3, lambda: next(answers, False))] == [(1, True)]


def test_batches_are_closed_where_the_first_one_fails_on_another_process(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def stream(*arguments: Any, **options: Any) -> Generator[list[Batch], None, None]:
        opened.append(plain(*arguments, **options))
        return opened[-1]

    def agree(self: Distributed, error: Exception | None) -> None:
        raise DataError("of another process")

    monkeypatch.setattr(training, "stream", stream)
    monkeypatch.setattr(Distributed, "agree", agree)
    with pytest.raises(DataError, match="of another process"):
        next(trainer.run(3))
    assert [each.gi_frame for each in opened] == [None]
