"""Which processes of a job are no longer waited for, and when."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from zoo.distributed.beats import Beat, interval
from zoo.distributed.silence import GRACE, LATE, Silence

TIMEOUT, PAUSE = 100.0, 1.0


class Job:
    """Three processes as one of them sees them, the first if not said; what they do is told round by round."""

    def __init__(self, store_host: int | None = None, rank: int = 0) -> None:
        self.silence, self.rank = Silence(rank, 3, TIMEOUT, PAUSE, store_host), rank
        self.counts, self.meetings, self.rounds = [0, 0, 0], [0, 0, 0], 0
        self.kinds = ["sum"] * 3

    def round(
        self,
        alive: Iterable[int] = (0, 1, 2),
        *,
        seconds: float = PAUSE,
        store: bool = True,
        works: bool = False,
        asked: bool = False,
    ) -> None:
        self.rounds += store
        for rank in alive:
            self.counts[rank] += 1
        beats = [
            Beat(count=count, meetings=met, kind=kind)
            for count, met, kind in zip(self.counts, self.meetings, self.kinds, strict=True)
        ]
        met, kind = self.meetings[self.rank], self.kinds[self.rank]
        self.silence.count(seconds, self.rounds, beats, met, kind, waits=True, works=works, asked=asked)

    def given_up(self, *, in_step: bool = True) -> dict[int, float]:
        return self.silence.given_up(in_step=in_step)


def test_a_process_without_signs_of_life_is_given_up_after_the_timeout() -> None:
    job = Job()
    job.round()
    for _ in range(int(TIMEOUT)):
        job.round([0, 2])
    assert job.given_up() == {}
    job.round([0, 2])
    assert job.given_up() == job.given_up(in_step=False) == {1: TIMEOUT + 1}
    job.round()
    assert job.given_up() == {}, "it lives after all"


def test_soon_where_the_job_has_been_asked_to_stop() -> None:
    job = Job()
    job.round()
    for _ in range(int(GRACE)):
        job.round([0, 2], asked=True)
        assert job.given_up() == {}
    job.round([0, 2], asked=True)
    assert job.given_up() == {1: GRACE + 1}


@pytest.mark.parametrize(("asked", "limit"), [(False, TIMEOUT), (True, LATE)])
def test_a_process_that_lives_is_given_up_where_it_does_not_come(asked: bool, limit: float) -> None:
    job = Job()
    job.meetings = [5, 4, 5]
    job.round()
    for _ in range(int(limit)):
        job.round(asked=asked)
    assert job.given_up() == {}
    job.round(asked=asked)
    assert job.given_up() == {1: limit + 1}
    assert job.given_up(in_step=False) == {}, "its share of the work may be larger"


@pytest.mark.parametrize(("asked", "limit"), [(False, TIMEOUT), (True, LATE)])
@pytest.mark.parametrize(("rank", "given_up"), [(0, [1]), (1, [2]), (2, [])])
def test_of_two_that_wait_in_different_exchanges_the_first_gives_up_the_other(
    rank: int, given_up: list[int], asked: bool, limit: float
) -> None:
    job = Job(rank=rank)
    job.kinds = ["gradients", "first", "gradients"]
    job.round()
    for _ in range(int(limit)):
        job.round(asked=asked)
    assert job.given_up() == {}
    job.round(asked=asked)
    assert job.given_up() == job.given_up(in_step=False) == dict.fromkeys(given_up, limit + 1)


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_job_that_stands_still_and_has_been_asked_to_stop_is_ended(rank: int, store: bool) -> None:
    """By the first process; where the launcher is gone, and the store with it, the others do not wait for that."""
    job = Job(rank=rank)
    for _ in range(int(3 * TIMEOUT)):
        job.round(store=store)
    assert (job.given_up(), job.silence.cut_off()) == ({}, False), "a step may last as long as it likes"
    for _ in range(int(TIMEOUT)):
        job.round(store=store, asked=True)
    assert (job.given_up(), job.silence.cut_off()) == ({}, False), "it has just been asked"
    job.round(store=store, asked=True)
    assert job.given_up() == (dict.fromkeys([1, 2], TIMEOUT + 1) if rank == 0 else {})
    assert job.silence.cut_off() == (not store)
    assert job.silence.heard() == store
    job.round(store=store, works=True, asked=True)
    assert job.given_up() == {}, "the others wait while the first one saves"


def test_a_share_of_the_work_that_takes_long_is_done_after_a_stop_was_asked_for() -> None:
    """Unless nothing is heard of it any more."""
    job = Job()
    job.meetings, job.kinds = [6, 5, 6], ["sum", "first", "sum"]
    for _ in range(int(3 * TIMEOUT)):
        job.round()
    for _ in range(int(3 * TIMEOUT)):
        job.round(asked=True)
        assert job.given_up(in_step=False) == {}
    for _ in range(int(GRACE) + 1):
        job.round([0, 2], asked=True)
    assert job.given_up(in_step=False) == {1: GRACE + 1}


def test_one_that_was_late_before_a_stop_was_asked_for_has_time_to_heed_it() -> None:
    job = Job()
    job.meetings = [5, 4, 5]
    for _ in range(int(TIMEOUT)):
        job.round()
    for _ in range(int(LATE)):
        job.round(asked=True)
        assert job.given_up() == {}
    job.round(asked=True)
    assert job.given_up() == {1: LATE + 1}


@pytest.mark.parametrize("store", [True, False])
def test_steps_that_are_all_long_are_finished_after_a_stop_was_asked_for(store: bool) -> None:
    long = 4 * TIMEOUT
    job = Job()
    job.round()
    for _ in range(int(long)):
        job.round()
    job.meetings = [1, 1, 1]
    job.round()
    for _ in range(int(long + TIMEOUT)):
        job.round(store=store, asked=True)
    assert (job.given_up(), job.silence.cut_off()) == ({}, False)
    job.round(store=store, asked=True)
    assert job.given_up() == dict.fromkeys([1, 2], long + TIMEOUT + 1)
    assert job.silence.cut_off() == (not store)


def test_one_that_comes_late_step_by_step_is_waited_for() -> None:
    job = Job()
    for step in range(int(3 * TIMEOUT)):
        job.meetings = [step + 1, step, step + 1]
        job.round()
        assert job.given_up() == {}


def test_a_job_that_was_stopped_as_a_whole_goes_on() -> None:
    job = Job()
    job.round()
    for asked in (False, True):
        job.round([0], seconds=10 * TIMEOUT, asked=asked)
        assert job.given_up() == {}


@pytest.mark.parametrize(("host", "given_up"), [(None, {}), (0, {}), (2, {2: TIMEOUT + 1})])
def test_a_store_that_does_not_answer_is_its_process(host: int | None, given_up: dict[int, float]) -> None:
    """Where it is the launcher's, and the launcher has been stopped, training needs it not."""
    job = Job(host)
    job.round()
    for _ in range(int(TIMEOUT) + 1):
        job.round(store=False)
    assert job.given_up() == given_up
    job.round([0])
    assert job.given_up() == {}


def test_many_processes_look_at_each_other_seldom() -> None:
    assert interval(2, 600) == 1.0
    assert interval(1024, 600) == 16.0
    assert interval(2, 1.0) == 0.2
