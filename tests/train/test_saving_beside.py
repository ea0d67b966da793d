"""Checkpoints that a thread writes while training goes on: of the step as it was, and as safe as others."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distributed.ranks import run_ranks
from tests.train.small import ALONE, Said, small
from zoo.callbacks import Callback, Training
from zoo.distributed.distributed import Distributed
from zoo.errors import RunError
from zoo.registry import Registry, part
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.runs.staging import Staging
from zoo.runs.state import TrainState
from zoo.train.run import Run
from zoo.train.saving import Saver

TIMEOUT = 60.0
OPTIONS = ("train.steps=7", "train.checkpoint_every=3", "train.keep_last=9", "train.callbacks=[]")
DISK = "the checkpoint cannot be written: No space left on device; older ones are whole"


def run(world: Distributed, path: Path, said: Said, *overrides: str, registry: Registry | None = None) -> list[str]:
    registry = registry or Registry()
    folder = RunFolder(path)
    recipe = small(*OPTIONS, *overrides, registry=registry)
    Run(recipe, folder, registry, world, said).train(resume=folder.is_used)
    return said.said


def steps_in(path: Path) -> list[int]:
    return [int(each.name.removeprefix("step_")) for each in sorted((path / "checkpoints").glob("step_*"))]


def digests(path: Path, step: int) -> dict[str, str]:
    saved = checkpoints.at_step(path / "checkpoints", step)
    return {file: saved.digest(file) for file in ("model", "ema", "optimizer")}


@contextmanager
def held(step: int) -> Iterator[threading.Event]:
    """The checkpoint of a step is not written before the event is set."""
    goes_on, plain = threading.Event(), checkpoints.save

    def save(folder: Path, at: int, *given: Any) -> Any:
        if at == step:
            assert threading.current_thread() is not threading.main_thread()
            assert goes_on.wait(TIMEOUT)
        return plain(folder, at, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "save", save)
        yield goes_on


def waiting(plain: Callable[..., None]) -> Callable[..., None]:
    return lambda self, **options: plain(self, **{**options, "wait": True})


@pytest.fixture(scope="module")
def waited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that waits for each of its checkpoints."""
    path = tmp_path_factory.mktemp("waited") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Saver, "save", waiting(Saver.save))
        run(ALONE, path, Said())
    return path


@pytest.mark.parametrize("broken", [False, True], ids=["copies", "what is trained"])
def test_what_is_written_is_of_the_step_though_training_goes_on(broken: bool, tmp_path: Path, waited: Path) -> None:
    with held(3) as goes_on, pytest.MonkeyPatch.context() as patch:
        if broken:  # which this has to notice
            patch.setattr(TrainState, "copies", lambda self, world, *_: (self.tensors(world), True))
        run(ALONE, tmp_path, Said(5, goes_on.set))
    assert (digests(tmp_path, 3) == digests(waited, 3)) is not broken
    assert digests(tmp_path, 7) == digests(waited, 7)
    assert steps_in(tmp_path) == [3, 6, 7]


def test_of_sharded_weights_too(tmp_path: Path, waited: Path) -> None:
    def work(world: Distributed) -> list[int]:
        with held(3) as goes_on:
            said = Said(5, goes_on.set)
            run(world, tmp_path, said, "train.parallel=fsdp")
        return said.steps

    assert run_ranks(work, 2, group=True) == [[1, 2, 3, 4, 5, 6, 7], []]
    found, wanted = (checkpoints.at_step(path / "checkpoints", 3) for path in (tmp_path, waited))
    for file in ("model", "ema", "optimizer"):
        given = wanted.tensors(file)
        for name, tensor in found.tensors(file).items():
            torch.testing.assert_close(tensor, given[name], rtol=1e-3, atol=1e-5)
    assert steps_in(tmp_path) == [3, 6, 7]


def test_the_older_one_goes_once_the_newer_one_is_there(tmp_path: Path) -> None:
    seen = []

    def look() -> None:
        seen.extend(steps_in(tmp_path))
        goes_on.set()

    with held(6) as goes_on:
        run(ALONE, tmp_path, Said(7, look), "train.keep_last=1")
    assert seen == [3]
    assert steps_in(tmp_path) == [7]


def test_a_folder_that_goes_before_the_thread_begins_is_not_made_again_by_it(tmp_path: Path, waited: Path) -> None:
    path = tmp_path / "run"

    def move() -> None:
        path.rename(tmp_path / "moved")
        goes_on.set()

    with held(3) as goes_on, pytest.raises(RunError, match="has been removed or moved while it was trained; step 5 is"):
        run(ALONE, path, Said(4, move))
    run(ALONE, path, Said())
    assert digests(path, 7) == digests(waited, 7)


def full(step: int, until: int = 0) -> Callable[..., Any]:
    """What finds the disk full from a step to another, or at the one alone."""
    plain = checkpoints.save

    def save(folder: Path, at: int, *given: Any) -> Any:
        if at == step or step <= at < until:
            raise RunError(f"{folder}: {DISK}")
        return plain(folder, at, *given)

    return save


def test_what_a_thread_fails_by_ends_the_run_as_if_it_had_been_waited_for(tmp_path: Path) -> None:
    told = []
    for wait in (False, True):
        path, said = tmp_path / str(wait) / "run", Said()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoints, "save", full(6, 99))
            if wait:
                patch.setattr(Saver, "save", waiting(Saver.save))
            with pytest.raises(RunError) as caught:
                run(ALONE, path, said, "train.steps=20")
        assert said.steps[-1] <= (6 if wait else 9)
        assert steps_in(path) == [3]
        told.append(str(caught.value).replace(str(path), "RUN"))
    last = "the last checkpoint is RUN/checkpoints/step_00000003; mend it, and go on with: zoo train --resume"
    assert told[0] == f"RUN/checkpoints: {DISK}; {last} --run-dir RUN"
    assert told[1] == told[0]


def test_all_processes_end_alike(tmp_path: Path) -> None:
    def work(world: Distributed) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoints, "save", full(3, 99))
            with pytest.raises(RunError) as caught:
                run(world, tmp_path, Said(), "train.steps=20")
        return str(caught.value)

    one, other = run_ranks(work, 2)
    assert one == other
    assert f"{DISK}; there is no checkpoint yet; mend it, and go on with: " in one


@pytest.mark.parametrize("file", ["model.safetensors", "state.json", "manifest.json"])
def test_killed_while_a_thread_writes_it_goes_on_from_the_older_one(file: str, tmp_path: Path, waited: Path) -> None:
    def work(world: Distributed) -> None:
        plain = checkpoints.write_new

        def write(path: Path, *given: Any) -> Any:
            if path.name == file and "step_00000006" in str(path):
                assert threading.current_thread() is not threading.main_thread()
                path.write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(path, *given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoints, "write_new", write)
            run(world, tmp_path, Said())

    (end,) = run_ranks(work, 1)
    assert end.code == -signal.SIGKILL
    newest, problems = checkpoints.latest(tmp_path / "checkpoints")
    assert newest is not None
    assert (newest.step, problems) == (3, [])
    run(ALONE, tmp_path, Said())
    assert digests(tmp_path, 7) == digests(waited, 7)
    assert steps_in(tmp_path) == [3, 6, 7]
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_a_step_that_fails_meanwhile_waits_for_it(tmp_path: Path) -> None:
    said = Said()

    def fail(*given: Any) -> None:
        threading.Timer(0.05, goes_on.set).start()
        raise KeyError("of a plug-in")

    with held(3) as goes_on, pytest.MonkeyPatch.context() as patch:
        plain = Saver.save

        def save(self: Saver, **options: Any) -> None:
            plain(self, **options)
            patch.setattr("zoo.train.trainer.Trainer._clip", fail)

        patch.setattr(Saver, "save", save)
        with pytest.raises(KeyError):
            run(ALONE, tmp_path, said)
    kept = tmp_path / "checkpoints" / "step_00000003"
    assert said.said == [
        f"step 4 has failed; the last checkpoint is {kept}; go on with: zoo train --resume --run-dir {tmp_path}"
    ]
    assert checkpoints.problem_of(kept) is None


@part("callback", "reads")
class Reads(Callback):
    """Is told of a checkpoint that is there."""

    found: list[int] = []  # noqa: RUF012

    def checkpoint(self, training: Training) -> None:
        folder = self.path / "checkpoints"
        assert checkpoints.problem_of(checkpoints.path_of(folder, training.step)) is None
        Reads.found.append(training.step)


def test_who_hears_of_a_checkpoint_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reads, "found", [])
    monkeypatch.setattr(Reads, "path", tmp_path, raising=False)
    run(ALONE, tmp_path, Said(), "train.callbacks=[reads]", registry=Registry().with_parts([Reads]))
    assert Reads.found == [3, 6, 7]


def test_without_memory_for_a_copy_it_is_waited_for(tmp_path: Path, waited: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Staging, "_made", no_memory)
        said = run(ALONE, tmp_path, Said())
    assert said == ["warning: there is no memory for a copy of what is saved: training waits while it is written"]
    assert [digests(tmp_path, step) for step in (3, 6, 7)] == [digests(waited, step) for step in (3, 6, 7)]


def no_memory(*given: Any) -> None:
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory")
