"""``zoo new-plugin``: what it prints, and what it refuses to write."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import zoo


def new_plugin(*arguments: str):
    return zoo("new-plugin", *arguments)


@pytest.mark.parametrize(
    ("part", "notes"),
    [
        ("dit", ["note: zoo has a block 'dit', too; --part NAME gives another name"]),
        (
            "lit",
            [
                "note: diffusion-zoo-linear has an attention 'lit', and zoo takes neither where both are installed;"
                " --part NAME gives another name"
            ],
        ),
        ("mine", []),
    ],
)
def test_a_name_that_others_have_is_told(part, notes):
    result = new_plugin("zoo-mine", "--kind", "attention", "--part", part)
    assert (result.exit_code, result.stderr.splitlines()) == (0, notes)


def test_writes_a_folder_and_says_what_comes_next():
    result = new_plugin("zoo-mine", "--kind", "mlp, block", "--kind", "norm")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "wrote zoo-mine: 14 files, with 3 parts 'mine'; next:",
        "  cd zoo-mine",
        "  pip install -e '.[test]'",
        "  zoo plugins",
        "  pytest",
        "  zoo check zoo-mine",
        "  zoo build --recipe mine_trial --flops",
        "  zoo train --recipe mine_trial",
        "then put your own parts in their place: in each module, pyproject.toml, the recipe and README.md's table",
    ]
    assert {path.stem for path in Path("zoo-mine/zoo_mine").glob("*.py")} == {
        "__init__",
        "block",
        "mlp",
        "norm",
    }
    assert [path.name for path in Path().iterdir()] == ["zoo-mine"]


def test_in_another_folder_under_another_name():
    result = new_plugin("zoo-mine", "--kind", "solver", "--part", "ralston", "--out", "my packages")
    assert result.stdout.startswith("wrote my packages: 12 files, with 1 part 'ralston'; next:\n  cd 'my packages'\n")
    assert "class RalstonSolver" in Path("my packages/zoo_mine/solver.py").read_text()


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_overwrites_nothing(there):
    path = Path("zoo-mine")
    {"file": path.touch, "folder": path.mkdir, "link": lambda: path.symlink_to("nowhere")}[there]()
    result = new_plugin("zoo-mine", "--kind", "block")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: zoo-mine is there already, and nothing is overwritten; choose another name, or --out\n"
    )
    assert list(Path().iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["zoo-mine", "--kind", "blok"], "--kind: there is no kind 'blok'; did you mean 'block'? (there are: patch_"),
        (["zoo-mine", "--kind", "mlp,,"], "--kind 'mlp,,': no kind where one is due; such as --kind block,mlp"),
        (["zoo-mine", "--kind", "mlp", "--kind", " "], "--kind ' ': no kind where one is due; such as --kind"),
        (["zoo/mine", "--kind", "block"], "'zoo/mine' is no name of a distribution: "),
        (["zoo-dit", "--kind", "all"], "zoo has a block 'dit' of its own; give another name by --part"),
        (
            ["zoo-null", "--kind", "mlp"],
            "'null' is no text in a recipe, but a word of YAML; give another name by --part",
        ),
        (["zoo-mine", "--kind", "mlp", "--part", "on"], "'on' is no text in a recipe"),
        (["z" * 300, "--kind", "mlp"], "a name of 300 letters is too long; take 100 at most"),
        (["zoo-mine", "--kind", "mlp", "--part", "z" * 300], "a name of 300 letters is too long; take 100 at most"),
        (["zoo-mine", "--kind", "mlp", "--out", "no/where"], "no/where: cannot be written: No such file or directory"),
    ],
)
def test_refuses_in_one_line(arguments, problem):
    result = new_plugin(*arguments)
    assert result.stderr.startswith(f"error: {problem}")
    assert len(result.stderr.splitlines()) == 1
    assert (result.exit_code, result.stdout) == (3 if "written" in problem else 2, "")
    assert list(Path().iterdir()) == []


def test_torch_is_not_imported():
    code = "import sys; sys.argv = ['zoo', 'new-plugin', 'zoo-mine', '--kind', 'all']; import zoo.cli as c; c._run()"
    code = f"{code}; sys.exit(int('torch' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
    assert Path("zoo-mine/pyproject.toml").exists()
