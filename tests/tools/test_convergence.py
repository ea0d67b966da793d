"""The convergence tool: what it would train, what it refuses, and that the page is of the committed results."""

import json
from dataclasses import replace
from pathlib import Path

import convergence
import convergence_report as report
import pytest

from zoo.audit import audit

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def committed():
    return json.loads(convergence.RESULTS.read_text())


GOOD = {"accuracy": 0.95, "fid_relative": 0.03, "diversity": 0.9, "novelty": 1.0}


def result(row="DiT", **figures):
    return {"table": "equal steps", "row": row, "seed": 0, "steps": 10, "figures": {"10": {**GOOD, **figures}}}


def test_equal_work_is_equal():
    trials = [each for each in convergence.recipe_trials() if each.table == "equal multiply-adds"]
    work = [each.steps * convergence.macs_of_step(each.recipe) for each in trials]
    assert max(work) / min(work) < 1.002
    assert len({each.steps for each in trials}) == 4
    macs = audit(trials[0].load(0)).macs
    assert convergence.macs_of_step("digits_dit") == 3 * 32 * macs  # forward and backward passes of a batch of 32


def test_equal_trainings_of_several_tables_are_one_run():
    trials = list(convergence.ladder_trials())
    whole = [each for each in trials if each.recipe == "digits_mpdit" and not each.overrides]
    assert [each.table[:7] for each in whole] == ["table 3", "table 5", "table 6", "table 7"]
    assert len({each.folder(0) for each in whole}) == 1
    changed = [each for each in trials if each.overrides]
    assert len({each.folder(0) for each in changed}) == len(changed)
    assert trials[0].folder(0) != trials[0].folder(1)


def test_every_row_of_the_ladders_can_be_built():
    for trial in convergence.ladder_trials():
        recipe = trial.load(1)
        assert (recipe.train.steps, recipe.train.seed) == (250, 1)


@pytest.mark.parametrize(
    ("figures", "problem"),
    [
        ({"accuracy": 0.89}, "DiT, seed 0: accuracy 0.8900 is not in [0.9, 1.0]"),
        ({"fid_relative": 0.061}, "DiT, seed 0: fid_relative 0.0610 is not in [0.0, 0.06]"),
        ({"diversity": 0.69}, "DiT, seed 0: diversity 0.6900 is not in [0.7, 1.3]"),
        ({"diversity": float("nan")}, "DiT, seed 0: diversity nan is not in [0.7, 1.3]"),
        ({}, None),
    ],
)
def test_a_recipe_that_misses_a_bound_is_told(figures, problem):
    found = list(report.problems_of({"trials": [result(**figures)], "controls": {}}))
    assert found == ([problem] if problem else [])


def test_a_control_that_keeps_to_all_bounds_is_told():
    controls = {"copy": {**GOOD, "novelty": 0.0}, "a good model": GOOD}
    assert list(report.problems_of({"trials": [], "controls": controls})) == [
        "control 'a good model' keeps to all bounds"
    ]


def test_the_page_has_the_tables_of_the_results(committed):
    page = (ROOT / "docs" / "convergence.md").read_text()
    assert page.split(report.START)[1].split(report.END)[0] == report.tables(committed)


def test_every_recipe_was_trained_with_three_seeds_and_kept_to_its_bounds(committed):
    trained = [(each["recipe"], each["seed"]) for each in committed["trials"] if each["table"] == "equal steps"]
    assert sorted(trained) == sorted((recipe, seed) for recipe in convergence.FOUR for seed in range(3))
    assert list(report.problems_of(committed)) == []
    assert set(committed["controls"]) == {"noise", "class means", "shuffled labels", "copy"}


def test_controls_are_refused():
    for name, figures in convergence.judge_controls().items():
        assert report.missed(figures), name


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hybrid_learns_to_draw_digits(tmp_path):
    """On the 8 x 8 pixels that they come in, in fewer steps than its recipe's, which the committed results are of."""
    hybrid = next(each for each in convergence.recipe_trials() if each.recipe == "digits_hybrid")
    small = ("backbone.latent.height=8", "backbone.latent.width=8")
    (found,) = convergence.run_trials(
        [replace(hybrid, overrides=small, steps=750, at=(250, 500, 750))], [0], tmp_path, jobs=1
    )
    assert report.missed(report.last(found)) == []
    assert report.missed(found["figures"]["250"])  # nor does it do so at once
