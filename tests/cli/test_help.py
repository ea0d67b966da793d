"""What `--help` shows: commands by what people do, each with an example that is one."""

import shlex
from itertools import pairwise

import pytest
from typer.main import get_command

from tests.commands import refused, zoo
from tests.weights.layouts import FORMATS
from zoo.cli import COMMANDS, app
from zoo.cli.common import flowing

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
    told = zoo(*name.split(), "--help").stdout
    assert f"Example: {example}" in told
    assert "<bool>" not in told  # flags take no value


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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("build", "mpdit_b"), "'--recipe' / '-r'; did you mean `zoo build --recipe mpdit_b`?"),
        (("build", "mpdit_b", "--flops"), "; did you mean `zoo build --recipe mpdit_b --flops`?"),
        (("build", "--flops"), "zoo build: missing option '--recipe' / '-r', such as `zoo build --recipe mpdit_b"),
        (("train", "digits_dit"), "arguments (digits_dit); did you mean `zoo train --recipe digits_dit`?"),
        (("sample", "a b"), "missing option '--run'; did you mean `zoo sample --run 'a b'`?"),
        (("sample", "--run", "a", "--count", "-1"), "invalid value for '--count': should be "),
        (("export",), "zoo export: missing argument 'WEIGHTS', such as `zoo export runs/ppflow_xl_2 --to ppflow"),
        (("eval", "--run-dir", "a"), "zoo eval: no such option --run-dir; did you mean --run?"),
        (("compare", "--run", "a"), "zoo compare: no such option --run; did you mean --runs?"),
        (("train", "--setp", "a"), "zoo train: no such option --setp; did you mean --set?"),
        (("train", "--halp"), "zoo train: no such option --halp; did you mean --help?"),
        (("sample", "--solver-name", "heun"), "zoo sample: no such option --solver-name; did you mean --solver?"),
        (("train", "--batch", "4"), "--batch; write --set train.batch=VALUE or --set sample.batch=VALUE"),
        (("plan", "--flops"), "zoo plan: no such option --flops; `zoo build` has it"),
        (("build", "--epochs", "1"), "zoo build: no such option --epochs; `zoo plan` has it"),
        (("train", "--out", "d"), "--out; `zoo train --help` shows what it takes"),  # which many others have
        (("--foo",), "zoo: no such option --foo; `zoo --help` shows what it takes"),
        (("trian",), "zoo: no such command 'trian'; did you mean 'train'?"),
        (("data", "chek"), "zoo data: no such command 'chek'; did you mean 'check'?"),
        (("train", "a", "b"), "zoo train: got unexpected extra arguments (a b); `zoo train --help` shows"),
        (("train", "--procs", "x"), "zoo train: invalid value for '--procs': "),
        (("train", "--recipe"), "option '--recipe' requires an argument"),
    ],
)
def test_a_call_that_there_is_not_is_refused_in_a_line_that_says_what_to_call(words, told):
    assert told in refused(zoo(*words))


def test_a_call_without_a_word_shows_what_there_is():
    for words in ((), ("data",)):
        result = zoo(*words)
        assert (result.exit_code, result.stderr) == (2, "")
        assert "Usage: " in result.stdout


@pytest.mark.parametrize("name", ["eval", "compare", "data check"])
def test_lines_are_broken_where_the_terminal_ends_and_nowhere_else(name):
    lines = [line.rstrip() for line in zoo(*name.split(), "--help").stdout.partition("╭")[0].splitlines()]
    width = max(map(len, zoo(*name.split(), "--help").stdout.splitlines()))
    broken = [(line, after) for line, after in pairwise(lines) if line.strip() and after.strip()]
    assert broken
    assert [line for line, after in broken if len(line) + 1 + len(after.split()[0]) < width - 1] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [("One\nline.\n\nTwo\nmore.", "One line.\n\nTwo more."), ("Of:\n\n- a\n- b", "Of:\n\n- a\n- b"),
     ("Of:\n\n  a\n  b\n\n1. c\n2. d", "Of:\n\n  a\n  b\n\n1. c\n2. d"), ("\b\na\nb", "\b\na\nb")],
)  # fmt: skip
def test_paragraphs_flow_and_lists_stay(text, shown):
    assert flowing(text) == shown
