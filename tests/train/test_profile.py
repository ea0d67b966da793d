"""Traces of the steps that are asked for: whole, or told that there is none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.distributed.ranks import alone, run_ranks
from tests.train.heard import REGISTRY, run
from tests.train.small import small
from zoo.callbacks.profile import Profile
from zoo.distributed.distributed import Distributed
from zoo.errors import RecipeError


def test_the_steps_that_are_asked_for_are_traced(tmp_path: Path) -> None:
    def traced(world: Distributed) -> list[str]:
        with (tmp_path / "stderr").open("wb") as stderr:
            os.dup2(stderr.fileno(), 2)  # whose own is that of who started the first such process
        return run(world, tmp_path / "run", "[{type: profile, first: 2, last: 2}]")

    # In a process of its own, since PyTorch reads how much it is to tell when it traces for the first time.
    assert run_ranks(traced, 1) == [[]]
    assert (tmp_path / "stderr").read_text() == ""
    (file,) = (tmp_path / "run/profile").iterdir()
    assert file.name == "steps_00000002_to_00000002.json"
    trace = json.loads(file.read_text())
    updates = [event for event in trace["traceEvents"] if event.get("name", "").startswith("Optimizer.step#")]
    assert len(updates) == 1


def test_a_trace_that_nobody_ends_goes_with_its_callback(tmp_path: Path) -> None:
    """As where a run is cut off: left on, PyTorch's profiler crashes the process when it ends."""
    profile: Any = SimpleNamespace(trace=Profile(first=1, last=2))
    profile.trace.begin(SimpleNamespace(step=0, tells_again=False, folder=tmp_path))
    assert torch.autograd._profiler_enabled()
    del profile.trace
    assert not torch.autograd._profiler_enabled()


def test_a_trace_that_cannot_begin_is_told_and_leaves_nothing_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(profiler: Any) -> None:
        raise RuntimeError("the profiler is in use")

    monkeypatch.setattr(torch.profiler.profile, "start", refuse)
    (warning,) = alone(run, tmp_path, "[{type: profile, first: 2, last: 2}]")
    assert "the profiler is in use; the run goes on" in warning


def test_a_trace_whose_steps_are_past_is_told_unless_it_is_there(tmp_path: Path) -> None:
    first = "[{type: profile, first: 1, last: 1}]"
    assert alone(run, tmp_path, first, "train.steps=1") == []
    assert alone(run, tmp_path, first, "train.steps=2") == []
    assert alone(run, tmp_path, "[{type: profile, first: 2, last: 3}]") == [
        "note: profile: no trace is written, since step 2, its first, is past; let first be 3 or more for one"
    ]


def test_a_trace_that_cannot_be_written_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(profiler: Any, path: str) -> None:
        Path(path).write_text("{")
        raise RuntimeError("No space left")

    monkeypatch.setattr(torch.profiler.profile, "export_chrome_trace", half)
    (warning,) = alone(run, tmp_path, "[{type: profile, first: 1, last: 1}]", "train.steps=1")
    assert "steps_00000001_to_00000001.json: cannot be written: No space left; the run goes on" in warning
    assert list((tmp_path / "profile").iterdir()) == []


def test_a_trace_that_a_run_ends_within_is_written(tmp_path: Path) -> None:
    alone(run, tmp_path, "[{type: profile, first: 1, last: 9}]", "train.steps=1")
    assert [path.name for path in (tmp_path / "profile").iterdir()] == ["steps_00000001_to_00000001.json"]
    with pytest.raises(RecipeError, match="last 1 is before first 2"):
        small("train.callbacks=[{type: profile, first: 2, last: 1}]", registry=REGISTRY)
