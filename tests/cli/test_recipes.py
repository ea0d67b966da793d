"""``zoo recipes``, ``zoo --help`` and ``zoo --version``: quick, since torch is not imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import done, zoo
from zoo.cli import recipes as recipes_command
from zoo.plugins import Plugin, PluginProblem, zoo_version
from zoo.recipe.find import package_recipes


def test_lists_names_titles_and_plug_ins():
    Path("recipes").mkdir()
    Path("recipes", "mine.yaml").write_text("# Mine, with [brackets].   zoo build --recipe mine.yaml\n")
    result = zoo("recipes")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert "Mine, with [brackets]." in rows["mine"]
    assert "./recipes" in rows["mine"]
    assert "MPDiT-B, ImageNet 256 latents." in rows["mpdit_b"]
    assert f"zoo {zoo_version()}" in rows["mpdit_b"]


def test_paths_are_files_one_a_line():
    paths = zoo("recipes", "--paths").stdout.splitlines()
    assert {str(path) for path in package_recipes().rglob("*.yaml")} <= set(paths)
    assert all(Path(path).is_file() for path in paths)


def test_a_plug_in_that_failed_is_named(monkeypatch):
    problem = PluginProblem((Plugin("strangers", "1.2"),), "no luck", "plug-in strangers 1.2: no luck", "recipes")
    monkeypatch.setitem(recipes_command.__globals__, "list_recipes", lambda: ([], [problem]))
    result = done("recipes")
    assert result.stderr == "warning: plug-in strangers 1.2: no luck\n"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["build", "--help"], ["report", "--help"], ["recipes"], ["--version"], []]
)
def test_imports_nothing_that_takes_seconds(arguments):
    code = (
        "import sys; from zoo.cli import main; sys.argv[0] = 'zoo'\n"
        "try: main()\n"
        "finally: print({'torch', 'jinja2', 'matplotlib'} & set(sys.modules), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert result.stderr.splitlines()[-1] == "set()"
    assert result.stdout
    assert "Traceback" not in result.stderr


def test_help_names_every_command():
    result = done("--help")
    for word in ("build", "parts", "recipes", "schema", "zoo build --recipe mpdit_b --flops"):
        assert word in result.stdout


def test_version():
    assert zoo("--version").stdout == f"zoo {zoo_version()}\n"
