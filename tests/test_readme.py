"""What the README shows is what happens: runs, recipes and code."""

import doctest
import re
import shlex
import sys
import tomllib
from contextlib import suppress
from dataclasses import fields
from importlib import import_module
from inspect import isfunction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
import torch
from pydantic import Field
from typer.testing import CliRunner

import zoo
from tests.plugins.site import fake
from zoo import Registry, build, load_recipe
from zoo.attributes import WORDS
from zoo.cli import app
from zoo.kinds import KINDS, Kind
from zoo.parts import Layout
from zoo.recipe.fingerprint import FREE
from zoo.testing import check_format, check_part
from zoo.testing.law import NotRun
from zoo.weights import write_initialised

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def block_with(language: str, text: str) -> str:
    """The only fenced block in that language that has ``text``."""
    (found,) = (block for block in blocks(language) if text in block)
    return found


def between(mark: str) -> str:
    """What stands between two marks."""
    return README.partition(f"<!-- {mark} -->\n")[2].partition(f"\n<!-- /{mark} -->")[0]


def lightning_block(monkeypatch) -> type:
    """The block of the package in plugins/, which need not be installed."""
    monkeypatch.syspath_prepend(ROOT / "plugins" / "zoo-lightning")
    return import_module("zoo_lightning.block").LightningBlock


@pytest.fixture
def shown_recipes(tmp_path, monkeypatch):
    """Every recipe that is shown, in the working folder, under the name by which its first line builds it."""
    monkeypatch.chdir(tmp_path)
    for block in blocks("yaml"):
        (tmp_path / re.findall(r"--recipe (\S+)", block)[0]).write_text(block)


@pytest.mark.parametrize("run", blocks("console"), ids=lambda run: run.splitlines()[0])
def test_runs_print_what_is_shown(shown_recipes, run):
    command, _, shown = run.partition("\n")
    words = shlex.split(command)
    assert words[:2] == ["$", "zoo"]
    result = CliRunner().invoke(app, words[2:])
    assert [line.rstrip() for line in result.output.rstrip().splitlines()] == shown.rstrip().splitlines()


def test_the_hybrid_builds_and_costs_less(shown_recipes):
    backbone = build("my_hybrid.yaml", device="meta")
    assert [len(stage.levels) for stage in backbone.stages] == [2, 2]


def test_every_command_is_one(monkeypatch, tmp_path):
    registry = Registry().with_parts([lightning_block(monkeypatch)])
    for line in "".join(blocks("bash")).splitlines():
        command = shlex.split(line.split("#")[0].split("|")[0].split(">")[0])
        if command[:1] == ["zoo"]:
            result = CliRunner().invoke(app, [*command[1:], "--help"])
            assert result.exit_code == 0, line
        if "--recipe" in command:
            overrides = [after for word, after in pairwise(command) if word == "--set"]
            files = [tmp_path / after for word, after in pairwise(command) if word == "--parts"]
            for file in files:
                file.write_text(block_with("python", "class RepeatUpsampler"))
            load_recipe(command[command.index("--recipe") + 1], overrides, registry, parts=files)


def test_nothing_is_written_over_what_another_command_wrote():
    written = re.findall(r"\bzoo .*? --out ([^\s`]+)", README)
    assert len(set(written)) == len(written) > 4


def test_the_callback_keeps_the_laws_and_its_lines(tmp_path):
    names: dict[str, Any] = {"zoo": zoo}
    exec(block_with("python", "class Tracker"), names)
    check_part(names["Tracker"])
    training, tracker = SimpleNamespace(run="one", file=lambda name: tmp_path / name), names["Tracker"]()
    tracker.begin(training)
    tracker.log(training, {"step": 1})
    killed = (tmp_path / "one.jsonl").read_text()
    tracker.end(training, None)
    assert killed == '{"step": 1}\n'


def test_the_part_keeps_the_laws_and_builds(tmp_path, monkeypatch):
    (tmp_path / "my_parts.py").write_text(block_with("python", "class RepeatUpsampler"))
    monkeypatch.syspath_prepend(tmp_path)
    import my_parts

    try:
        tests: dict[str, Any] = {}
        exec(block_with("python", "laws_of_parts"), tests)
        (parameters,) = tests["test_laws"].pytestmark
        for check in parameters.args[1]:
            with suppress(NotRun):
                check.values[0].run("again")
        tests["test_more_backbones"]()
        of_file = {"registry": Registry(), "parts": my_parts.__file__, "device": "meta"}
        assert build("mpdit_b", {"backbone.upsampler": "repeat"}, **of_file).recipe.plugins()["my_parts.py"]
        packaging = tomllib.loads(block_with("toml", '[project.entry-points."zoo.parts"]'))["project"]
        points = "\n".join(f"{name} = {value}" for name, value in packaging["entry-points"]["zoo.parts"].items())
        requires = ",".join(packaging["dependencies"])
        monkeypatch.syspath_prepend(
            fake(tmp_path / "site", packaging["name"], {"zoo.parts": points}, requires=requires)
        )
        backbone = build("mpdit_b", ["backbone.upsampler=repeat"], device="meta")
        assert isinstance(backbone.upsamplers["4x4_to_2x2"], my_parts.RepeatUpsampler)
        given = build("mpdit_b", {"backbone.upsampler": "repeat"}, parts=[my_parts.RepeatUpsampler], device="meta")
        assert isinstance(given.upsamplers["4x4_to_2x2"], my_parts.RepeatUpsampler)
    finally:
        sys.modules.pop("my_parts")


def test_what_breaks_a_law_is_told_as_shown(tmp_path, monkeypatch):
    source = block_with("python", "class RepeatUpsampler")
    (tmp_path / "my_parts.py").write_text(source.replace("(h * p, w * q)", "grid"))
    monkeypatch.syspath_prepend(tmp_path)
    import my_parts

    try:
        with pytest.raises(AssertionError) as told:
            check_part(my_parts.RepeatUpsampler, laws=["returns_its_grid"])
        shown = block_with("text", "breaks the law").rstrip()
        assert re.sub(r"\d+", "N", str(told.value)) == re.sub(r"\d+", "N", shown)  # whatever sizes are drawn
    finally:
        sys.modules.pop("my_parts")


def test_the_shown_format_keeps_the_laws_from_a_file(tmp_path):
    (tmp_path / "my_formats.py").write_text(block_with("python", "class Lab(WeightFormat)"))
    entry = Registry().with_parts(tmp_path / "my_formats.py").get_format("lab")
    check_format(type(entry.format))


@pytest.mark.parametrize("name", ["Pyramid", "Attributes"])
def test_the_shown_part_keeps_the_laws(name):
    names = {**vars(zoo.parts), "zoo": zoo, "torch": torch, "Annotated": Annotated, "Field": Field, "__name__": "shown"}
    exec(block_with("python", f"class {name}("), names)
    check_part(names[name], examples=1)


def test_every_helper_is_one_and_has_a_row():
    helpers = {name for name in zoo.parts.__all__ if isfunction(getattr(zoo.parts, name))} - {"zoo_parts"}
    rows = [row.split("|")[1] for row in between("helpers").splitlines()[2:]]
    assert set(re.findall(r"`(\w+)`", "".join(rows))) == helpers | {"Linear", "Embedding"}


def test_every_field_of_a_layout_is_told():
    told = README.partition("A `Layout` says")[2].partition("\n\n")[0]
    assert re.findall(r"`(\w+)`", told) == [field.name for field in fields(Layout)]


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(block_with("python", 'zoo.build("hybrid_b"'), names)
    assert names["velocity"].shape == names["latents"].shape
    assert names["again"].recipe == names["backbone"].recipe
    assert names["cost"].macs == names["both"][1].cost.macs


def test_the_python_example_of_weights_runs(tmp_path, monkeypatch, registry):
    monkeypatch.chdir(tmp_path)
    size = ["backbone.dim=24", "backbone.depth=1", "backbone.heads=2"]
    write_initialised(load_recipe("sit_xl", size, registry), Path("sit_xl.safetensors"), 0)
    names: dict[str, object] = {}
    exec(block_with("python", "fresh = zoo.build"), names)
    assert names["latents"].shape == (2, 4, 32, 32)


def test_the_shown_training_loop_learns():
    torch.manual_seed(0)
    batch = torch.randn(16, 1, 16, 16).clamp(-1, 1), torch.arange(16) % 10
    losses: list[float] = []

    def loader():
        for _ in range(12):
            yield batch
            losses.append(names["loss"].item())

    names: dict[str, object] = {"zoo": zoo, "torch": torch, "loader": loader()}
    exec(block_with("python", "objective_of"), names)
    assert max(losses[-3:]) < min(losses[:3])


def test_the_recipe_of_all_sections_is_one(tmp_path):
    (tmp_path / "my_run.yaml").write_text(block_with("yaml", "my_run.yaml"))
    recipe = load_recipe(tmp_path / "my_run.yaml")
    assert recipe.train.compile
    assert recipe.sample.guidance.options.scale == (1.0, 3.0)
    assert recipe.data.normalize.resolved() == {"type": "per_channel", "mean": None, "std": None}


def test_the_diagram_is_what_is_drawn(tmp_path):
    result = CliRunner().invoke(app, ["diagram", "--recipe", "hybrid_b", "--out", str(tmp_path / "hybrid_b.svg")])
    assert result.exit_code == 0
    assert (tmp_path / "hybrid_b.svg").read_text() == (ROOT / "docs" / "hybrid_b.svg").read_text()


def may_change() -> str:
    """The table of what may change when a run goes on, as the README shows it."""
    rows = ["| key | what it changes |", "| --- | --- |"]
    for free in FREE:
        rule = f", only {free.rule}" if free.rule else ""
        rows.append(f"| `{free.key}` | {free.effect}{rule} |")
    return "\n".join(rows)


def test_what_may_change_when_a_run_goes_on_is_what_the_table_says():
    assert between("may change") == may_change()


def test_what_python_says_is_what_it_says():
    (shown,) = blocks("pycon")
    example = doctest.DocTestParser().get_doctest(shown, {"zoo": zoo}, "README", None, None)
    assert doctest.DocTestRunner().run(example).failed == 0


def test_parts_inside_parts_make_the_block_of_the_package(shown_recipes, monkeypatch):
    chosen = zoo.cost("my_lightning.yaml")
    recipe = ROOT / "plugins" / "zoo-lightning" / "zoo_lightning" / "recipes" / "lightning_b_2.yaml"
    packaged = zoo.cost(recipe, parts=[lightning_block(monkeypatch)])
    assert (chosen.params.total, chosen.macs) == (packaged.params.total, packaged.macs)


ONE_FOR_EACH = {
    "assembly": "backbone",
    "widths": "width",
    "starts": "start of a stage, and where a skip feeds on latents",
    "levels": "level",
    "blocks": "block",
    "ups": "pair of levels, to a finer patch",
    "downs": "other pair of levels",
    "ends": "end of a stage",
}
"""What the README calls the enumerators of ``zoo.sites``."""


def test_the_table_of_kinds_is_what_the_records_say():
    def start(name: str, kind: Kind) -> str:
        beside = "recipe" if kind.section else "slot of a part"
        one = ONE_FOR_EACH[kind.per] if kind.section == "backbone" else beside
        return f"| `{name}` | {one} | {', '.join(f'`{each}`' for each in kind.supplied) or '-'} | "

    rows = between("kinds").splitlines()[2:]
    starts = [start(name, kind) for name, kind in KINDS.items()]
    assert [row[: len(own)] for row, own in zip(rows, starts, strict=True)] == starts


def test_every_fact_has_a_row():
    assert re.findall(r"^\| `(\w+)` \|", between("facts"), flags=re.MULTILINE) == list(WORDS)
