"""Traces of the steps that are asked for: whole, or told that there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


AT_THE_END = """
import atexit, sys
from pathlib import Path
from types import SimpleNamespace
import torch
atexit.register(lambda: print(torch.autograd._profiler_enabled()))  # after all that is registered later
from zoo.callbacks.profile import Profile
sys.kept = Profile(first=1, last=2)
sys.kept.begin(SimpleNamespace(step=0, tells_again=False, folder=Path()))
print(torch.autograd._profiler_enabled())
"""


def test_a_trace_that_something_holds_to_the_end_is_over_before_the_process(tmp_path: Path) -> None:
    """As the traceback of a second Ctrl-C does, after which the process crashed, and had another exit code."""
    done = subprocess.run([sys.executable, "-c", AT_THE_END], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_a_trace_that_was_left_on_does_not_take_what_the_next_one_traces(tmp_path: Path) -> None:
    """As where a cut-off run's callback goes with a cycle, which is collected whenever it may be."""
    left = Profile(first=1, last=2)
    left.begin(SimpleNamespace(step=0, tells_again=False, folder=tmp_path))
    following = Profile(first=1, last=2)
    following.begin(SimpleNamespace(step=0, tells_again=False, folder=tmp_path))
    del left
    assert torch.autograd._profiler_enabled()
    torch.ones(2).cosh()
    following.step(SimpleNamespace(step=2, file=tmp_path.joinpath), SimpleNamespace(step=2))
    assert not torch.autograd._profiler_enabled()
    (file,) = tmp_path.iterdir()
    assert "aten::cosh" in [event.get("name") for event in json.loads(file.read_text())["traceEvents"]]


def test_traces_that_meet_are_refused(tmp_path: Path) -> None:
    def traces(first: int, last: int) -> str:
        return f"[{{type: profile, first: {first}, last: {last}}}, {{type: profile, first: 1, last: 1}}]"

    for first in (1, 2):
        with pytest.raises(RecipeError, match=f"from step 1 to 1 and from step {first} meet, .*; let a step lie betw"):
            alone(run, tmp_path, traces(first, 3))
    assert alone(run, tmp_path, traces(3, 3), "train.steps=4") == []
    assert len(list((tmp_path / "profile").iterdir())) == 2


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
