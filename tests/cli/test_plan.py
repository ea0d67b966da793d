"""``zoo plan``: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import done, refused, zoo
from tests.plan.test_model import GPU
from zoo.plan import measuring

RECIPE = ("--recipe", "digits_dit")


def test_a_plan() -> None:
    lines = done("plan", *RECIPE, "--gpu", "h200", "--gpus", 2, "--images", "1e4", "--epochs", 10).stdout.splitlines()
    assert lines[0] == "digits_dit on 2 x h200: a model, not a measurement"
    words = [line.split()[0] for line in lines[1:]]
    assert [each for each in words if each != "host"] == [
        *("a", "passes", "update", "exchange", "images/s", "memory", "fits", "training", "checkpoints", "sampling"),
        "figures",
    ]
    assert "32 samples, 16 a GPU" in lines[1]
    assert "3,125 updates, 100,000 samples" in next(line for line in lines if line.startswith("training"))


def test_what_sampling_takes_may_not_be_known() -> None:
    lines = done("plan", *RECIPE, "--set", "sample.solver=dopri5").stdout.splitlines()
    assert "sampling     unknown: the solver chooses how many passes it takes, or guidance has other weights" in lines


LOOKS = """
import zoo
from zoo.parts import GELUMLP


@zoo.part("mlp", "looks")
class Looks(GELUMLP):
    def forward(self, tokens, layout):
        if tokens.sum() > 0:
            return tokens
        return super().forward(tokens, layout)
"""


def test_a_part_that_looks_at_values_is_told_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "looks.py").write_text(LOOKS)
    own = ("--parts", tmp_path / "looks.py", "--set", "backbone.block.mlp=looks")
    assert "looks.py:9, in forward: DataDependentOutput" in refused(zoo("plan", *RECIPE, *own))


def test_as_json() -> None:
    found = json.loads(done("plan", *RECIPE, "--json").stdout)
    assert (found["recipe"], found["device"]["name"], found["gpus"]) == ("digits_dit", "h100", 1)


def test_a_device_that_is_measured_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.plan.measure", lambda device, told: GPU)
    path = tmp_path / "here.json"
    assert done("plan", "--measure", path, "--device", "cpu").stderr == f"wrote {path}: a gpu\n"
    assert "on 1 x a gpu" in done("plan", *RECIPE, "--gpu", path).stdout
    assert "exists already" in refused(zoo("plan", "--measure", path))
    assert measuring.ROUNDS > 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "give --recipe R, or --measure FILE"),
        ((*RECIPE, "--images", "1e6"), "give both, or neither"),
        ((*RECIPE, "--epochs", "3"), "give both, or neither"),
        ((*RECIPE, "--images", "1e6", "--epochs", "0"), "should be more than 0"),
        ((*RECIPE, "--gpu", "h1000"), "no such device"),
        ((*RECIPE, "--gpus", "5"), "train.batch 32 is no multiple"),
        ((*RECIPE, "--images", "inf", "--epochs", "1"), "should be more than 0"),
        (("--measure", "here.txt"), "should end in .json"),
        (("--measure", "here.json", *RECIPE), "and nothing else"),
        (("--measure", "here.json", "--gpu", "h100"), "and nothing else"),
        ((*RECIPE, "--device", "cpu"), "--device goes with --measure"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], why: str) -> None:
    assert why in refused(zoo("plan", *words))
