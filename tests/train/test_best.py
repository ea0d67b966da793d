"""Figures of samples while a run trains, and the checkpoint that has the best ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from tests.data.waves import wave_registry
from tests.distributed.ranks import run_ranks
from tests.train.small import ALONE, Said, small, train
from zoo.best import Best, best_of, best_step
from zoo.callbacks import Callback, Training
from zoo.cli import app
from zoo.distributed.distributed import Distributed
from zoo.errors import RecipeError, ZooError
from zoo.recipe import Recipe
from zoo.registry import Registry, part
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder, step_of
from zoo.train.run import Run
from zoo.train.trial import judge_run

JUDGED = ("evaluate.count=20", "sample.batch=20", "sample.steps=1", "train.checkpoint_every=1", "train.keep_last=1")
EVALUATE = ("train.callbacks=[{type: evaluate, every: 2, best: fid}]", *JUDGED)


def run(world: Distributed, recipe: Recipe, path: Path, registry: Registry | None = None, **options: Any) -> list[str]:
    said = Said()
    Run(recipe, RunFolder(path), registry or Registry(), world, said).train(**options)
    return said.said


def lines(path: Path) -> dict[int, dict[str, float]]:
    return {line["step"]: line["evaluate"] for line in read_metrics(RunFolder(path).metrics) if "evaluate" in line}


def steps_kept(path: Path) -> list[int]:
    return sorted(int(each.name.removeprefix("step_")) for each in (path / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(tmp_path_factory.mktemp("runs") / "run", *EVALUATE)


def test_its_figures_are_those_of_zoo_eval_and_stand_among_the_evaluations(evaluated: RunFolder) -> None:
    assert [*lines(evaluated.path)] == [2, 3]
    found = {step_of(each): each["figures"] for each in evaluated.read_evaluations()}
    assert {step: figures["generated"] for step, figures in found.items()} == lines(evaluated.path)
    for path in evaluated.evaluations.iterdir():  # or they would be taken again
        path.unlink()
    assert judge_run(evaluated, small(*EVALUATE), Registry(), ALONE, step=3)["figures"] == found[3]


def test_the_best_by_a_figure_is_known(evaluated: RunFolder) -> None:
    told = {step: figures["fid"] for step, figures in lines(evaluated.path).items()}
    best = best_of(evaluated.path)
    assert best is not None
    assert (best.step, best.value) == min(told.items(), key=lambda each: each[1])
    assert best.run == evaluated.recorded_run()


def test_two_processes_find_the_same(tmp_path: Path) -> None:
    recipe = small(*EVALUATE, "train.learning_rate=1e-30", "train.steps=2")
    one, *_ = run_ranks(run, 1, recipe, tmp_path / "1")
    two, silent = run_ranks(run, 2, recipe, tmp_path / "2")
    assert one == two
    assert silent == []
    assert lines(tmp_path / "1") == lines(tmp_path / "2")


def test_figures_and_once_what_they_lack_are_told_as_they_are_found(tmp_path: Path) -> None:
    said = run(ALONE, small("train.callbacks=[{type: evaluate, best: fid}, evaluate]", *JUDGED), tmp_path / "run")
    doubts = [line for line in said if line.startswith("note: evaluate: figures of 20 drawn images are rough")]
    assert len(doubts) == 2  # of each callback once
    told = [line for line in said if line not in doubts]
    fids = [figures["fid"] for figures in lines(tmp_path / "run").values()]
    best = [" (best so far)" if min(fids[: place + 1]) == fid else "" for place, fid in enumerate(fids)]
    assert told[::2] == [f"step {place + 1}: fid {fid:.4g}{best[place]}" for place, fid in enumerate(fids)]
    assert told[-1] == f"step 3: {', '.join(f'{name} {each:.4g}' for name, each in lines(tmp_path / 'run')[3].items())}"


@part("callback", "scripted")
class Scripted(Callback):
    """Judges checkpoints as it is told to."""

    def __init__(self, *, figure: str, values: list[float]) -> None:
        self.figure, self.values = figure, values

    def checkpoint(self, training: Training) -> None:
        training.keep_if_best(self.figure, self.values[training.step - 1])


def scripted(figure: str, *overrides: str) -> tuple[Recipe, Registry]:
    registry = Registry().with_parts([Scripted])
    values = [3.0, 1.0, 2.0, 1.0] if figure == "fid" else [1.0, 3.0, 2.0, 3.0]
    callbacks = f"train.callbacks=[{{type: scripted, figure: {figure}, values: {values}}}]"
    return small(callbacks, *JUDGED, *overrides, registry=registry), registry


@pytest.mark.parametrize("figure", ["fid", "accuracy"])
def test_the_best_checkpoint_stays_whatever_is_kept(tmp_path: Path, figure: str) -> None:
    recipe, registry = scripted(figure, "train.steps=4")
    run(ALONE, recipe, tmp_path / "run", registry)
    assert steps_kept(tmp_path / "run") == [2, 4]  # of two that are as good the first


def test_a_run_that_goes_on_knows_its_best_and_keeps_no_former_one(tmp_path: Path) -> None:
    for steps, kept in ((2, [2]), (3, [2, 3]), (4, [2, 4])):
        recipe, registry = scripted("fid", f"train.steps={steps}")
        run(ALONE, recipe, tmp_path / "run", registry, resume=True)
        assert steps_kept(tmp_path / "run") == kept


def test_a_best_of_another_run_or_of_later_steps_is_none(tmp_path: Path) -> None:
    recipe, registry = scripted("fid", "train.steps=1")
    run(ALONE, recipe, tmp_path / "run", registry)
    file = tmp_path / "run" / "best.json"
    written = json.loads(file.read_text())
    for other in ({"run": "another"}, {"step": 9}):
        file.write_text(json.dumps({**written, "value": 0.0, **other}))
        recipe, registry = scripted(
            "fid", f"train.steps={read_metrics(RunFolder(tmp_path / 'run').metrics)[-1]['step'] + 1}"
        )
        run(ALONE, recipe, tmp_path / "run", registry, resume=True)
        assert json.loads(file.read_text())["value"] > 0


def test_commands_take_the_best(tmp_path: Path) -> None:
    recipe, registry = scripted("fid", "train.steps=4")
    run(ALONE, recipe, tmp_path / "run", registry)
    parts = ("--parts", __file__)
    invoke = CliRunner().invoke
    asked = ("--run", tmp_path / "run", "--step", "best", "--count", 1, "--out", tmp_path / "drawn", *parts)
    result = invoke(app, ["sample", *map(str, asked)])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "drawn" / "samples.json").read_text())["checkpoint"] == "step_00000002"
    out = tmp_path / "best.safetensors"
    result = invoke(app, ["export", str(tmp_path / "run"), "--to", "zoo", "--step", "best", "--out", str(out), *parts])
    assert result.exit_code == 0, result.output
    own, best = load_file(out), load_file(tmp_path / "run" / "checkpoints" / "step_00000002" / "ema.safetensors")
    assert all(torch.equal(own[name], best[name]) for name in best)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("best", "--step best: no checkpoint has been kept as the best one; let train.callbacks hold"),
        ("newest", "--step newest: write the number of a step, or best"),
        ("0", "--step 0: write the number of a step, or best"),
    ],
)
def test_a_step_that_is_none_is_refused(tmp_path: Path, step: str, told: str) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    result = CliRunner().invoke(app, ["eval", "--run", str(tmp_path), "--step", step])
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ((1, 2), ": the run went on from an earlier step, and has not come to it again; {mend}: 2, 1"),
        ((4,), "; {mend}: 4"),
        (tuple(range(4, 11)), "; {mend}: 10, 9, 8, 7, 6 and 2 more"),
        ((), "; {mend}: none"),
    ],
)
def test_a_best_that_is_not_there_is_told(tmp_path: Path, there: tuple[int, ...], told: str) -> None:
    Best(3, "fid", 1.0, "one").write(tmp_path)
    for step in there:
        (tmp_path / "checkpoints" / f"step_{step:08d}").mkdir(parents=True)
    with pytest.raises(ZooError) as caught:
        best_step(tmp_path)
    problem = "--step best: step 3 had the best fid, and its checkpoint is not there"
    assert str(caught.value) == f"{tmp_path}: {problem}{told.format(mend='give the number of one that is')}"


def test_a_figure_that_there_is_none_of_is_told_once(tmp_path: Path) -> None:
    recipe = small("train.callbacks=[{type: evaluate, best: beauty}]", *JUDGED, "train.steps=2")
    (warning,) = (each for each in run(ALONE, recipe, tmp_path / "run") if each.startswith("warning"))
    assert warning.startswith("warning: evaluate: there is no figure 'beauty' to choose the best by; there are: ")
    assert "fid" in warning


def test_what_cannot_be_evaluated_is_refused(tmp_path: Path) -> None:
    registry = wave_registry()
    waves = ("data.dataset=waves", "backbone.num_classes=3", "train.callbacks=[evaluate]")
    for overrides, told in [
        (waves, "evaluate: it compares pictures, and dataset waves makes none"),
        (("train.callbacks=[{type: evaluate, every: 3}]",), "every: 3 is no multiple of train.checkpoint_every, 2;"),
    ]:
        with pytest.raises(RecipeError, match=told):
            run(ALONE, small(*overrides, registry=registry), tmp_path / "run", registry)
