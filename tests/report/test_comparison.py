"""Assemblies side by side: exact costs, and runs averaged where only their seeds differ."""

import shutil

import pytest

from tests.train.small import ALONE, VALUES, small, train
from zoo import compare
from zoo.assembly import load_recipe
from zoo.audit import audit
from zoo.errors import AuditError
from zoo.registry import Registry
from zoo.report.comparison import Comparison, cost_of, outcome_of
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder
from zoo.train.trial import judge_run

REGISTRY = Registry()
QUICK = ("evaluate.count=12", "evaluate.metrics=[fid]")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [
        train(folder / "one", *QUICK),
        train(folder / "other", *QUICK, "train.seed=1"),
        train(folder / "hot", *QUICK, "train.learning_rate=0.02"),
    ]


def entries(recipes, runs, *overrides):
    return list(Comparison(recipes, runs, overrides, REGISTRY, ALONE).entries())


def test_costs_are_those_of_the_audit():
    recipe = small()
    cost, report = cost_of(recipe), audit(recipe)
    assert (cost.params, cost.macs, cost.image_macs) == (report.params.total, report.macs, report.image.macs)
    assert cost.passes == sum(report.image.passes)
    assert [stage.tokens for stage in cost.stages] == [(3, 6), (6,)]
    assert [stage.macs for stage in cost.stages] == [stage.macs for stage in report.stages]
    assert cost.sampling == "2 updates by euler, guidance 1"
    assert cost.activation_bytes > 0
    assert cost.held_bytes > 4 * 4 * 0.9 * cost.params  # weights, gradients, averages and two moments, in float32


def test_a_solver_of_adaptive_steps_has_no_cost_of_an_image():
    cost = cost_of(small("sample.solver=dopri5"))
    assert cost.image_macs is None
    assert cost.passes is None


def test_runs_of_one_recipe_are_one_row_and_others_have_their_own(runs):
    found = entries([small(*QUICK)], runs)
    assert [(each.name, len(each.outcomes)) for each in found] == [("small", 2), (str(runs[2].path), 1)]
    own = [entries([], [run])[0].figures()["fid"].mean for run in runs[:2]]  # evaluated in other ways, too, by now
    spread = found[0].figures()["fid"]
    assert spread.mean == pytest.approx(sum(own) / 2)
    assert spread.deviation == pytest.approx(abs(own[0] - own[1]) / 2**0.5)
    assert found[1].figures()["fid"].deviation is None


def test_runs_alone_make_rows_too(runs):
    assert [(each.name, len(each.outcomes)) for each in entries([], runs[:2])] == [("small", 2)]


def test_other_sampling_is_another_row(runs):
    found = entries([small(*QUICK, "sample.steps=3")], runs[:1])
    assert [(each.name, len(each.outcomes)) for each in found] == [("small", 0), (str(runs[0].path), 1)]


def test_runs_are_judged_as_overrides_say_whatever_was_done_last(runs):
    (own,) = entries([], runs[:1])
    (few,) = entries([], runs[:1], "sample.steps=1", "evaluate.count=13")
    assert (few.outcomes[0].images, few.cost.passes) == (13, 1)
    assert few.figures()["fid"] != own.figures()["fid"]
    assert entries([], runs[:1]) == [own]


def test_an_equal_recipe_counts_once():
    assert len(entries([small(), small(), load_recipe({**VALUES, "name": "again"}, registry=REGISTRY)], [])) == 1


def test_speeds_are_measured_ones(runs):
    outcome = outcome_of(runs[0], judge_run(runs[0], small(*QUICK), REGISTRY, ALONE))
    speeds = sorted(line["images_per_second"] for line in read_metrics(runs[0].metrics))
    assert outcome.trained_per_second == speeds[1]
    assert outcome.drawn_per_second > 0
    assert (outcome.images, outcome.step) == (12, 3)


def test_a_part_whose_memory_cannot_be_told_says_why(monkeypatch):
    def refuse(*_):
        raise AuditError("a part does not run on fake tensors")

    monkeypatch.setattr("zoo.report.comparison.activation_memory", refuse)
    cost = cost_of(small())
    assert (cost.activation_bytes, cost.memory_problem) == (None, "a part does not run on fake tensors")
    assert cost.macs > 0


def test_a_run_counts_once(runs, tmp_path):
    (tmp_path / "link").symlink_to(runs[0].path)
    (entry,) = entries([], [runs[0], runs[0], RunFolder(tmp_path / "link")])
    assert len(entry.outcomes) == 1


def test_a_copy_of_a_run_is_no_repetition(runs, tmp_path):
    copy = RunFolder(shutil.copytree(runs[0].path, tmp_path / "copy"))
    with pytest.warns(UserWarning, match=r"copy: is of the same run as .*one, and no repetition of it; it is left out"):
        (entry,) = entries([], [runs[0], copy, runs[1]])
    assert [each.run for each in entry.outcomes] == [str(runs[0].path), str(runs[1].path)]


def test_runs_of_other_lengths_are_no_repetitions(runs, tmp_path):
    shorter = train(tmp_path / "shorter", *QUICK, "train.steps=2", "train.seed=2")
    assert [len(each.outcomes) for each in entries([], [*runs[:2], shorter])] == [2, 1]


def test_a_copy_that_went_on_by_another_recipe_has_a_row_of_its_own(runs, tmp_path):
    shutil.copytree(runs[0].path, tmp_path / "longer")
    longer = train(tmp_path / "longer", *QUICK, "train.steps=4", resume=True)
    one, other = entries([], [runs[0], longer])
    assert [each.step for entry in (one, other) for each in entry.outcomes] == [3, 4]


def test_a_run_that_cannot_be_judged_keeps_nothing_from_the_others(runs, tmp_path):
    broken = RunFolder(shutil.copytree(runs[2].path, tmp_path / "broken"))
    for checkpoint in broken.checkpoints.iterdir():
        (checkpoint / "ema.safetensors").unlink()
    comparison = Comparison([], [broken, runs[0]], (), REGISTRY, ALONE)
    assert [len(each.outcomes) for each in comparison.entries()] == [0, 1]
    (problem,) = comparison.problems
    assert problem.words.startswith(f"{broken.path}: there is no sound checkpoint")
    assert problem.exit_code == 3
    with pytest.warns(UserWarning, match=r"broken: .*there is no sound checkpoint"):
        assert len(compare([broken.path, runs[0].path], registry=REGISTRY)) == 2
