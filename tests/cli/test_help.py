"""What `--help` shows: commands by what people do, each with an example that is one."""

import shlex

import pytest
from typer.main import get_command

from tests.commands import zoo
from tests.weights.layouts import FORMATS
from zoo.cli import COMMANDS, app

GROUP = get_command(app)
EVERY = {name: command for name, command in GROUP.commands.items() if name != "data"} | {
    f"data {name}": command for name, command in GROUP.commands["data"].commands.items()
}


def test_every_command_stands_among_others_of_its_use():
    help_of_all = zoo().stdout
    assert "Commands ─" not in help_of_all
    for panel, commands in COMMANDS.items():
        below = help_of_all.partition(f"─ {panel} ")[2].partition("╰")[0]
        assert [line.split()[1] for line in below.splitlines()[1:] if line[2] != " "][: len(commands)] == [
            name for name, _, _ in commands
        ]


@pytest.mark.parametrize("name", EVERY)
def test_every_command_has_an_example_that_can_be_pasted(name):
    example = EVERY[name].epilog.removeprefix("Example: ")
    assert len(EVERY[name].epilog) < 79  # or it is broken into lines
    words = shlex.split(example.partition(" > ")[0])
    assert words[:2] == ["zoo", name.split()[0]]
    context = EVERY[name].make_context(name, words[len(name.split()) + 1 :])
    assert context.params
    assert f"Example: {example}" in zoo(*name.split(), "--help").stdout


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize(
    ("command", "told"),
    [("import", [*FORMATS, "Pickles run no code"]), ("export", [*FORMATS, "diffusers", "the same bits back"]),
     ("train", ["exit code 75"])],
)  # fmt: skip
def test_what_a_command_promises_is_told(command, told, option):
    shown = " ".join(zoo(command, option).stdout.split())
    assert [each for each in told if each not in shown] == []


def test_every_command_takes_debug():
    assert [name for name, each in EVERY.items() if "debug" not in {option.name for option in each.params}] == []


@pytest.mark.parametrize("words", [("build", "mpdit_b"), ("new-plugin", "zoo-mine")])
def test_where_an_option_is_missing_an_example_is_shown(words):
    shown = " ".join(zoo(*words).stderr.replace("│", " ").split())
    assert f"Example: zoo {words[0]} " in shown


def test_nor_is_one_where_nothing_is_missing():
    assert "Example" not in zoo("build", "--recipe", "mpdit_b", "--depth", "4").stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("train", "--batch", "4"), "write --set train.batch=VALUE or --set sample.batch=VALUE"),
        (("sample", "--solver-name", "heun"), "(Possible options:"),
        (("plan", "--flops"), "`zoo build` has it"),
        (("build", "--epochs", "1"), "`zoo plan` has it"),
        (("train", "--out", "d"), "(Possible options: --set)"),  # which many others have
    ],
)
def test_an_unknown_option_is_told_as_the_key_of_a_recipe_or_as_that_of_another_command(words, told):
    shown = " ".join(zoo(*words).stderr.replace("│", " ").split())
    assert f"No such option: {next(each for each in words if each.startswith('--'))}" in shown
    assert told in shown
