"""What README and manual show is what happens: runs, recipes, tables and drawings."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from inspect import isfunction
from itertools import pairwise
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser
from typer.testing import CliRunner

import zoo
from tests.shown import FILES, ROOT, TEXTS, WHOLE, between, block_with, blocks, lightning_block, pages
from zoo import Registry, build, load_recipe
from zoo.cli import app
from zoo.parts import Layout


@pytest.fixture
def shown_recipes(tmp_path, monkeypatch):
    """Every recipe that is shown, in the working folder, under the name by which its first line builds it."""
    monkeypatch.chdir(tmp_path)
    pages.write_shown_recipes(tmp_path)


@pytest.mark.parametrize("run", blocks("console"), ids=lambda run: run.splitlines()[0])
def test_runs_print_what_is_shown(shown_recipes, run):
    assert pages.run(run) == run


def test_of_a_shortened_run_the_first_and_last_lines_are_shown():
    lines = pages.run("$ zoo recipes\n").splitlines()
    shown = pages.run("$ zoo recipes\nonce\nwas\n...\nthis\n")
    assert shown.splitlines() == [*lines[:3], "...", lines[-1]]


def test_the_hybrid_builds_and_costs_less(shown_recipes):
    backbone = build("my_hybrid.yaml", device="meta")
    assert [len(stage.levels) for stage in backbone.stages] == [2, 2]


def commands() -> list[list[str]]:
    """The words of every shown line of a shell."""
    lines = (re.split(r" [|>] | +#|^#", line)[0] for line in "".join(blocks("bash")).replace("\\\n", "").splitlines())
    return [shlex.split(line) for line in lines if line]


NOT_RUN = ("srun", "torchrun")
"""Starters of processes on several machines: their options are checked, and those of what they start."""


def started(command: list[str]) -> list[str]:
    """What a command of ``NOT_RUN`` starts, where the options of torchrun are right."""
    given = get_args_parser().parse_args(command[command.index("torchrun") + 1 :])
    assert given.module
    assert int(given.nproc_per_node) > 0
    return [given.training_script, *given.training_script_args]


def test_every_command_is_one(monkeypatch, tmp_path):
    registry = Registry().with_parts([lightning_block(monkeypatch)])
    for name, text in FILES.items():
        (tmp_path / name).write_text(block_with("python", text))
    for command in commands():
        if command[0] in NOT_RUN:
            command = started(command)
        if command[0] == "zoo":
            result = CliRunner().invoke(app, [*command[1:], "--help"])
            assert result.exit_code == 0, command
        if "--recipe" in command:
            overrides = [after for word, after in pairwise(command) if word == "--set"]
            files = [tmp_path / after for word, after in pairwise(command) if word == "--parts"]
            load_recipe(command[command.index("--recipe") + 1], overrides, registry, parts=files)


@pytest.mark.parametrize("command", [each for each in commands() if each[0] not in ("zoo", *NOT_RUN)], ids=" ".join)
def test_every_other_command_is_one(command):
    match command:
        case ["make", target]:
            assert f"\n{target}:" in (ROOT / "Makefile").read_text()
        case ["python", "-m", "pytest", file]:
            assert f"`{file}`" in WHOLE
            assert "`-e '.[testing]'`" in (ROOT / "README.md").read_text(encoding="utf-8")  # which has pytest
        case ["python", tool, *words]:
            text = (ROOT / tool).read_text(encoding="utf-8")
            assert all(f'"{word}"' in text for word in words if word.startswith("--"))
        case ["pip", "install", folder]:
            assert (ROOT / folder / "pyproject.toml").is_file()
        case ["source", ".venv/bin/activate"] | ["export", _]:
            pass
        case _:
            assert re.match(r"\w+=\$\(", command[0])


@pytest.mark.parametrize("block", blocks("bash"), ids=lambda block: block.splitlines()[0])
def test_a_shell_can_read_it(block):
    assert subprocess.run(["bash", "-n"], input=block, text=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("text", ["| jq .macs", "> zoo.schema.json", "pytest test_my_mlp.py"])
def test_a_shell_runs_it(text, tmp_path):
    """Lines that need one: those of zoo alone run in ``test_shown_commands``, and all laws of the MLP by its block."""
    (line,) = (line for line in block_with("bash", text).splitlines() if text in line)
    line = line.replace("jq .macs", "grep macs").replace("test_my_mlp.py", "test_my_mlp.py -k shape_contract")
    (tmp_path / "my_mlp.py").write_text(block_with("python", FILES["my_mlp.py"]))
    (tmp_path / "test_my_mlp.py").write_text(block_with("python", "from my_mlp"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = ["bash", "-e", "-o", "pipefail", "-c", line]
    ended = subprocess.run(
        shell, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_nothing_is_written_over_what_another_command_of_its_page_wrote():
    written = {page: re.findall(r"\bzoo .*? --out ([^\s`]+)", text) for page, text in TEXTS.items()}
    assert {page: sorted(set(files)) for page, files in written.items()} == {
        p: sorted(files) for p, files in written.items()
    }
    assert sum(map(len, written.values())) > 4


def test_the_front_page_is_short_and_whole():
    text = TEXTS["README.md"]
    assert text.count("\n") <= 150
    behind_others = {"index.md", "api.md", "convergence.md", "predictions.md", "packages_on_digits.md"}
    assert behind_others == {page.name for page in pages.PAGES[1:] if f"](docs/{page.name})" not in text}
    assert "[MIT](LICENSE)" in text


def test_every_helper_is_one_and_has_a_row():
    helpers = {name for name in zoo.parts.__all__ if isfunction(getattr(zoo.parts, name))} - {"zoo_parts"}
    rows = [row.split("|")[1] for row in between("helpers").splitlines()[2:]]
    assert set(re.findall(r"`(\w+)`", "".join(rows))) == helpers | {"Linear", "Embedding"}


def test_every_field_of_a_layout_is_told():
    told = WHOLE.partition("A `Layout` says")[2].partition("\n\n")[0]
    assert re.findall(r"`(\w+)`", told) == [field.name for field in fields(Layout)]


def test_the_recipe_of_all_sections_is_one(tmp_path):
    (tmp_path / "my_run.yaml").write_text(block_with("yaml", "my_run.yaml"))
    recipe = load_recipe(tmp_path / "my_run.yaml")
    assert recipe.train.compile
    assert recipe.sample.guidance.options.scale == (1.0, 3.0)
    assert recipe.data.normalize.resolved() == {"type": "per_channel", "mean": None, "std": None}


@pytest.mark.parametrize("recipe", pages.DRAWN)
def test_the_diagram_is_what_is_drawn(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pages.drawing(recipe) == (ROOT / "docs" / f"{recipe}.svg").read_text()


def test_a_page_is_brought_up_to_date_and_keeps_the_rest(tmp_path, monkeypatch, capsys):
    page, start, end = tmp_path / "page.md", "before\n<!-- may change -->\n", "<!-- /may change -->\n\nafter\n"
    for name, value in (("ROOT", tmp_path), ("PAGES", (page,)), ("DRAWN", ())):
        monkeypatch.setattr(pages, name, value)
    page.write_text(f"{start}{end}\n```console\n$ zoo recipes\nold\n```\n")
    assert (pages.main([]), pages.main(["--write"]), pages.main([])) == (1, 0, 0)
    assert capsys.readouterr().out == "page.md: is not what is printed now\npage.md: written\n"
    table = "".join(f"{row}\n" for row in pages.may_change())
    assert page.read_text() == f"{start}{table}{end}\n```console\n{pages.run('$ zoo recipes')}```\n"


@pytest.mark.parametrize("mark", pages.MARKED)
def test_a_table_is_what_the_records_say(mark):
    assert between(mark).splitlines() == list(pages.MARKED[mark]())


def test_parts_inside_parts_make_the_block_of_the_package(shown_recipes, monkeypatch):
    chosen = zoo.cost("my_lightning.yaml")
    recipe = ROOT / "plugins" / "zoo-lightning" / "zoo_lightning" / "recipes" / "lightning_b_2.yaml"
    packaged = zoo.cost(recipe, parts=[lightning_block(monkeypatch)])
    assert (chosen.params.total, chosen.macs) == (packaged.params.total, packaged.macs)


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("$ zoo build --recipe nothing_like_it\nold\n", "zoo build --recipe nothing_like_it ends with 2: error: "),
        ("$ zoo --version\nerror: no\n", "zoo --version, which is shown to fail, ends with 0: zoo "),
        ("$ ls\n", "$ ls: is no command of zoo"),
        ("$ zoo --version\na\n...\nb\n...\nc\n", "$ zoo --version: what is left out stands in several places"),
    ],
)
def test_what_cannot_be_run_is_said_with_its_page_and_is_no_output(monkeypatch, tmp_path, capsys, block, problem):
    """The other pages are written all the same."""
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    page.write_text(f"```console\n{block}```\n")
    other.write_text("```console\n$ zoo --version\nold\n```\n")
    for name, value in {"PAGES": (page, other), "DRAWN": (), "ROOT": tmp_path}.items():
        monkeypatch.setattr(pages, name, value)
    assert pages.main(["--write"]) == 1
    assert capsys.readouterr().err.startswith(f"page.md: {problem}")
    assert page.read_text() == f"```console\n{block}```\n"
    assert "old" not in other.read_text()
