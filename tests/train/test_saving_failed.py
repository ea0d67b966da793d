"""A thread that writes a checkpoint, and cannot; or is still at it when the run ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.ranks import run_ranks
from tests.train.small import ALONE, Said, written
from tests.train.test_saving import WEIGHT
from tests.train.test_saving_beside import DISK, full, held, run, steps_in
from zoo.distributed.distributed import Distributed
from zoo.errors import NumericError, RunError
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.runs.state import TrainState
from zoo.runs.writing import WRITING, Writing
from zoo.train.records import Records
from zoo.train.saving import Saver

EVERY_TEN = ("train.checkpoint_every=10", "train.steps=30")


class AtSteps(Said):
    """Does something when each of some steps has been done."""

    def __init__(self, work: dict[int, Callable[[], object]]) -> None:
        super().__init__()
        self.works = work

    def step(self, step: Any, images_per_second: float | None) -> None:
        super().step(step, images_per_second)
        self.works.get(step.step, lambda: None)()


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def fail_to_log(patch: pytest.MonkeyPatch, step: int) -> None:
    """End the run by what is no step, and no fault of a checkpoint."""
    plain = Records.log

    def log(self: Records, of: Any) -> float | None:
        if of.step == step:
            raise KeyError("of the records")
        return plain(self, of)

    patch.setattr(Records, "log", log)


@contextmanager
def failing(*errors: str) -> Iterator[Said]:
    """The thread of step 10 fails by the first error while step 11 is trained, and a checkpoint of 12 by the second."""
    goes_on, plain = threading.Event(), checkpoints.save

    def save(folder: Path, at: int, *given: Any) -> Any:
        if at == 10:
            assert goes_on.wait(20)
        if (place := at // 2 - 5) in range(len(errors)):
            raise RunError(errors[place])
        return plain(folder, at, *given)

    def end() -> None:
        goes_on.set()
        written()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "save", save)
        yield Said(11, end)


def test_what_a_thread_fails_by_ends_the_run_by_the_next_step_which_is_saved(tmp_path: Path) -> None:
    with failing("disk full") as said, pytest.raises(RunError) as caught:
        run(ALONE, tmp_path, said, *EVERY_TEN)
    kept = tmp_path / "checkpoints" / "step_00000012"
    assert said.steps[-1] == 12
    assert str(caught.value) == (
        f"disk full; the last checkpoint is {kept}; mend it, and go on with: zoo train --resume --run-dir {tmp_path}"
    )
    assert steps_in(tmp_path) == [12]
    assert checkpoints.problem_of(kept) is None


def test_all_processes_save_it_and_before_a_snapshot_too(tmp_path: Path) -> None:
    options = (*EVERY_TEN, "train.snapshot_every=3", "train.ema=[0.999, {std: 0.1}]")

    def work(world: Distributed) -> str:
        with failing("disk full") as said, pytest.MonkeyPatch.context() as patch:
            patch.setattr(Saver, "has_failed", False)  # as if it failed a moment later
            with pytest.raises(RunError) as caught:
                run(world, tmp_path, said, *options)
        return str(caught.value)

    one, other = run_ranks(work, 2)
    assert one == other
    assert f"disk full; the last checkpoint is {tmp_path / 'checkpoints' / 'step_00000012'}; mend it" in one
    assert [path.name for path in (tmp_path / "snapshots").glob("step_*12")] == ["step_00000012"]


def test_another_fault_of_the_second_attempt_is_told_with_the_first(tmp_path: Path) -> None:
    told = "disk full; disk broken; there is no checkpoint yet; mend it, and go on with: "
    with failing("disk full", "disk broken") as said, pytest.raises(RunError, match=f"^{told}"):
        run(ALONE, tmp_path, said, *EVERY_TEN)


def test_the_same_fault_of_the_second_attempt_is_told_once(tmp_path: Path) -> None:
    first, second = (f"{tmp_path / 'checkpoints' / f'step_000000{step}'}: disk full" for step in (10, 12))
    with failing(first, second) as said, pytest.raises(RunError) as caught:
        run(ALONE, tmp_path, said, *EVERY_TEN)
    assert str(caught.value).startswith(f"{second}; there is no checkpoint yet; mend it, and go on with: ")


def test_a_full_disk_is_told_of_though_what_comes_next_is_not_finite(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    said = Said()
    plain = TrainState.not_finite
    patch.setattr(checkpoints, "save", full(3))
    patch.setattr(TrainState, "not_finite", lambda self, world: plain(self, world) or spoilt(said))
    with pytest.raises(NumericError, match="there is no checkpoint yet; begin another run"):
        run(ALONE, tmp_path, said)
    assert said.warnings == [f"warning: {tmp_path / 'checkpoints'}: {DISK}"]


def spoilt(said: Said) -> list[str]:
    return [f"model/{WEIGHT}"] if said.steps[-1] > 3 else []


def test_what_a_thread_has_failed_by_is_told_where_something_else_ends_the_run(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    said = Said()
    patch.setattr(checkpoints, "save", full(3))
    fail_to_log(patch, 4)
    with pytest.raises(KeyError, match="of the records"):
        run(ALONE, tmp_path, said)
    assert said.warnings == [f"warning: {tmp_path / 'checkpoints'}: {DISK}"]


def test_no_thread_writes_any_more_once_the_run_has_ended(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    fail_to_log(patch, 4)
    with held(3) as goes_on:
        soon = threading.Timer(0.2, goes_on.set)
        soon.start()
        with pytest.raises(KeyError, match="of the records"):
            run(ALONE, tmp_path, Said())
    assert WRITING not in [each.name for each in threading.enumerate()]
    assert checkpoints.problem_of(tmp_path / "checkpoints" / "step_00000003") is None


def test_old_checkpoints_go_once_a_thread_has_landed_not_first_by_the_next_save(tmp_path: Path) -> None:
    seen = []
    run(
        ALONE,
        tmp_path,
        AtSteps({4: written, 7: written, 8: lambda: seen.extend(steps_in(tmp_path))}),
        "train.keep_last=1",
        "train.steps=9",
    )
    assert seen == [6]


class Watched:
    """In place of the watch: knows whether the process may be ended."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    @contextmanager
    def busy(self) -> Iterator[None]:
        assert self.lock.acquire(timeout=20), "it is not re-entrant"
        try:
            yield
        finally:
            self.lock.release()

    def meeting(self, kind: str) -> AbstractContextManager[None]:
        return nullcontext()

    def working(self, *given: Any) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.mark.parametrize("at", ["records", "update"])
def test_the_watch_ends_no_process_that_waits_for_a_thread(at: str, tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    watch: Any = Watched()
    waits, plain = [], Writing.wait

    def wait(self: Writing) -> None:
        if not self.has_ended:
            waits.append(watch.lock.locked())
            threading.Timer(0.1, goes_on.set).start()
        plain(self)

    patch.setattr(Writing, "wait", wait)
    if at == "records":
        fail_to_log(patch, 5)
    else:
        fail_in_the_midst(patch, 5)
    with held(3) as goes_on, pytest.raises(KeyError):
        run(replace(ALONE, watch=watch), tmp_path, Said())
    assert waits == [True]
    assert steps_in(tmp_path) == [3]


def fail_in_the_midst(patch: pytest.MonkeyPatch, step: int) -> None:
    plain, count = TrainState.average_in, iter(range(1, 100))

    def average_in(self: TrainState, *given: Any) -> None:
        plain(self, *given)
        if next(count) == step:
            raise KeyError("average")

    patch.setattr(TrainState, "average_in", average_in)


def test_a_checkpoint_is_known_though_the_others_never_heard_that_it_was_begun(
    tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    savers, begin, first = [], Saver._begin, Distributed.first

    def begin_it(self: Saver, *given: Any, **options: Any) -> None:
        begin(self, *given, **options)
        savers.append(self)

    def lose(self: Distributed, work: Callable[[], Any]) -> Any:
        before = len(savers)
        result = first(self, work)
        if len(savers) > before:
            raise RuntimeError("Connection closed by peer")
        return result

    patch.setattr(Saver, "_begin", begin_it)
    patch.setattr(Distributed, "first", lose)
    with pytest.raises(RuntimeError, match="Connection closed by peer"):
        run(ALONE, tmp_path, Said())
    assert savers[0].last == f"the last checkpoint is {tmp_path / 'checkpoints' / 'step_00000003'}"


def test_who_looks_after_a_wait_that_was_cut_short_waits_too(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    savers, begin, plain = [], Saver._begin, Writing.wait
    waits = iter([True])

    def begin_it(self: Saver, *given: Any, **options: Any) -> None:
        savers.append(self)
        begin(self, *given, **options)

    def wait(self: Writing) -> None:
        if next(waits, False):
            threading.Timer(0.2, goes_on.set).start()
            raise KeyboardInterrupt
        plain(self)

    patch.setattr(Saver, "_begin", begin_it)
    patch.setattr(Writing, "wait", wait)
    patch.setattr(RunFolder, "wait", lambda self: None)  # which would wait before
    fail_to_log(patch, 4)
    with held(3) as goes_on:
        with pytest.raises(KeyboardInterrupt):
            run(ALONE, tmp_path, Said())
        assert savers[0].last == f"the last checkpoint is {tmp_path / 'checkpoints' / 'step_00000003'}"
