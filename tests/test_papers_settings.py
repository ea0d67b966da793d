"""Every recipe trains, draws and judges as its paper says, or its code: as tools/papers_settings.yaml has it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from zoo.assembly import load_recipe
from zoo.cli import app
from zoo.registry import Registry

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").rglob("*.y*ml"))
PATHS = {path.stem: path for path in RECIPES}
REGISTRY = Registry()
SETTINGS = {
    "objective.noise_sampler", "objective.weighting", "objective.label_dropout",
    "data.dataset", "data.normalize",
    "train.init", "train.steps", "train.batch", "train.learning_rate", "train.schedule", "train.warmup",
    "train.optimizer", "train.clip", "train.ema", "train.ema_ramp", "train.precision",
    "sample.solver", "sample.steps", "sample.guidance.type", "sample.guidance.scale", "sample.guidance.channels",
    "sample.guidance.interval", "sample.labels", "sample.precision", "evaluate.count", "evaluate.labels",
    "evaluate.features",
}  # fmt: skip
"""What the figures of a paper depend on, the backbone aside: each needs a value and a source for every recipe."""

Table = dict[str, dict[str, dict[str, Any]]]


def read_table() -> Table:
    """For each recipe, its settings with their values (``is``) and sources (``from``)."""
    families = yaml.safe_load((ROOT / "tools" / "papers_settings.yaml").read_text(encoding="utf-8"))["families"]
    common: Table = {}
    for family in families:
        common[family["title"]] = common.get(family.get("like"), {}) | family.get("settings", {})
    rows = [(family["title"], name, own) for family in families for name, own in family["recipes"].items()]
    assert len({name for _, name, _ in rows}) == len(rows), "a recipe stands in two families"
    return {name: common[title] | own for title, name, own in rows}


TABLE = read_table()


def misfits(recipe: Mapping[str, Any], settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Where a resolved recipe is not what the table says."""
    found = []
    for key, figure in settings.items():
        *above, option = key.split(".")
        ours, wanted = reduce(getitem, above, recipe)[option], figure["is"]
        if isinstance(wanted, dict):
            ours = {name: ours.get(name) for name in wanted}
        if ours != wanted:
            found.append(f"{key}: {ours}, and in the papers {wanted} ({figure['from']})")
    return found


def test_every_recipe_is_in_the_table() -> None:
    assert len(RECIPES) == 50
    assert set(TABLE) == set(PATHS)


@pytest.mark.parametrize("name", PATHS)
def test_a_recipe_holds_the_settings_of_its_paper(name: str) -> None:
    settings = TABLE[name]
    assert set(settings) == SETTINGS
    assert all(set(figure) == {"is", "from"} and figure["from"] for figure in settings.values())
    assert misfits(load_recipe(PATHS[name], (), REGISTRY).resolved(), settings) == []


@pytest.mark.parametrize("key", sorted(SETTINGS))
@pytest.mark.parametrize("name", ["mpdit_xl", "ppflow_xl_2"])
def test_another_setting_is_noticed(name: str, key: str) -> None:
    recipe = load_recipe(PATHS[name], (), REGISTRY).resolved()
    *above, option = key.split(".")
    holder = reduce(getitem, above, recipe)
    value = holder[option]
    holder[option] = {**value, "type": "another"} if isinstance(value, dict) else "another"
    (line,) = misfits(recipe, TABLE[name])
    assert line.startswith(f"{key}: ")


@pytest.mark.parametrize("name", [name for name, settings in TABLE.items() if settings["train.init"]["is"]])
def test_the_commands_that_make_what_a_recipe_starts_from_are_told(name: str) -> None:
    lines = PATHS[name].read_text(encoding="utf-8").splitlines()
    commands = [shlex.split(line.removeprefix("#")) for line in lines if line.startswith("#   zoo ")]
    assert [command[:2] for command in commands] == [["zoo", "import"], ["zoo", "inflate"]]
    donor, target = (dict(zip(command[3::2], command[4::2], strict=True)) for command in commands)
    assert commands[1][2] == donor["--out"]
    assert target == {"--recipe": name, "--out": TABLE[name]["train.init"]["is"]}
    load_recipe(donor["--recipe"], (), REGISTRY)
    for command in commands:
        assert CliRunner().invoke(app, [*command[1:], "--help"]).exit_code == 0
