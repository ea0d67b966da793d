"""The process ends amid what writes files: what was there is whole, or what was to be is; and all can go on.

Each change of the disk is tried, in a process of its own that ends before it without cleaning up.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.small import small
from zoo import files
from zoo.assembly import load_recipe
from zoo.errors import DataError
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.metrics_file import forget_after
from zoo.runs.run_folder import RunFolder
from zoo.weights import write_weights

CHANGES = {"os.chmod", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "open"}
"""Python's names for what changes a disk; of files that are opened, those that are opened for writing."""

ENDED = 9
MANY = 1000


def end_at(count: int) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that ends the process before a change of the disk, counted from 0."""
    passed = 0

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal passed
        if event not in CHANGES or (event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if passed == count:
            os._exit(ENDED)
        passed += 1

    return hear


def crashes(prepare: Callable[[Path], object], work: Callable[[Path], object], folder: Path) -> Iterator[Path]:
    """Folders in which work has ended before its first change, its second, ... and, the last, not at all."""
    for count in range(MANY):
        path = folder / str(count)
        path.mkdir()
        prepare(path)
        child = os.fork()
        if child == 0:
            try:
                sys.addaudithook(end_at(count))
                work(path)
                os._exit(0)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, ENDED), f"change {count}"
        yield path
        if code == 0:
            assert count >= 4, "or nothing is tried"
            return
    pytest.fail("it never ends")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return small(registry=Registry())


def nothing(path: Path) -> None:
    """What is there before."""


def write_run(path: Path, recipe: Recipe) -> RunFolder:
    """Begin a run, or go on with it."""
    folder = RunFolder(path / "run")
    folder.lock() if folder.is_used else folder.create()
    folder.write(recipe)
    folder.unlock()
    return folder


def test_a_run_that_begins(tmp_path: Path, recipe: Recipe) -> None:
    for path in crashes(nothing, lambda path: write_run(path, recipe), tmp_path):
        folder = write_run(path, recipe)
        assert load_recipe(folder.recipe, (), Registry()) == recipe
        assert 1 <= len(json.loads(folder.versions.read_text())) <= 2
        assert {each.name for each in folder.path.iterdir()} == {".lock", "recipe.yaml", "run.json"}


def test_a_run_that_goes_on(tmp_path: Path, recipe: Recipe) -> None:
    runs: dict[str, str] = {}

    def prepare(path: Path) -> None:
        folder = write_run(path, recipe)
        folder.metrics.write_text('{"step": 1}\n{"step": 2}\n')
        runs[path.name] = folder.run

    def go_on(path: Path) -> None:
        forget_after(write_run(path, recipe).metrics, 1)

    for path in crashes(prepare, go_on, tmp_path):
        folder = RunFolder(path / "run")
        assert load_recipe(folder.recipe, (), Registry()) == recipe
        assert [entry["run"] for entry in json.loads(folder.versions.read_text())] in (
            [runs[path.name]],
            [runs[path.name]] * 2,
        )
        assert folder.metrics.read_text() in ('{"step": 1}\n{"step": 2}\n', '{"step": 1}\n')
        go_on(path)
        assert {each.name for each in folder.path.iterdir()} == {".lock", "recipe.yaml", "run.json", "metrics.jsonl"}


def test_a_checkpoint_and_the_removal_of_older_ones(tmp_path: Path) -> None:
    def save(path: Path, step: int) -> None:
        tensors = {"model": {"weight": torch.full((3,), float(step))}}
        checkpoints.save(path, step, tensors, {"run": "one", "step": step})

    def prepare(path: Path) -> None:
        save(path, 1)
        save(path, 2)

    def work(path: Path) -> None:
        save(path, 3)
        checkpoints.prune(path, 1, "one")

    for path in crashes(prepare, work, tmp_path):
        found, problems = checkpoints.latest(path)
        assert found is not None
        assert (found.step in (2, 3), problems) == (True, [])
        assert all(checkpoints.problem_of(each) is None for each in path.glob("step_*"))
        work(path)
        assert [each.name for each in path.iterdir()] == ["step_00000003"]


def test_a_weight_file_that_replaces_another(tmp_path: Path, recipe: Recipe) -> None:
    tensors = [{"weight": torch.full((5,), float(value))} for value in range(2)]

    def work(path: Path) -> None:
        write_weights(path / "x", tensors[1], recipe)

    whole = tmp_path / "whole"
    whole.mkdir()
    work(whole)
    for path in crashes(lambda path: write_weights(path / "x", tensors[0], recipe), work, tmp_path):
        old_or_new = (path / "x").read_bytes()
        work(path)
        assert (path / "x").read_bytes() == (whole / "x").read_bytes()
        assert len(old_or_new) == len((path / "x").read_bytes())
        assert [each.name for each in path.iterdir()] == ["x"]


def test_a_file_by_hand(tmp_path: Path) -> None:
    def work(path: Path) -> None:
        files.write_whole(path / "x", lambda file: file.write(b"new"), DataError)

    for path in crashes(lambda path: (path / "x").write_bytes(b"old"), work, tmp_path):
        assert (path / "x").read_bytes() in (b"old", b"new")
        work(path)
        assert (path / "x").read_bytes() == b"new"
        assert [each.name for each in path.iterdir()] == ["x"]


def test_a_file_that_is_written_in_its_place_is_noticed(tmp_path: Path) -> None:
    """The laws above have something to catch."""

    def work(path: Path) -> None:
        (path / "x").unlink()
        (path / "x").touch()
        (path / "x").chmod(0o600)
        (path / "x").write_bytes(b"new")

    found = [
        (path / "x").read_bytes() if (path / "x").exists() else None
        for path in crashes(lambda path: (path / "x").write_bytes(b"old"), work, tmp_path)
    ]
    assert found == [b"old", None, b"", b"", b"new"]
