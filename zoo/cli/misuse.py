"""What to call instead, where a command is called in a way that it does not have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from zoo.errors import near, printable
from zoo.recipe import SECTIONS
from zoo.shell import command

WORDS = "zoo.words"
"""Of a context's ``meta``: what was given behind ``zoo``."""
RUN = ("--run", "--run-dir", "--runs")
"""What a run is given by: of a command that works on it, that makes it, or on several."""
FEW = 3
"""Commands that may be named; of more any might be meant."""


def asks_for_help(misuse: Any) -> bool:
    """Whether it is no misuse at all, but a command without a word, which shows what there is."""
    return type(misuse).__name__ == "NoArgsIsHelpError"


def in_a_line(misuse: Any) -> str:
    """What is wrong with a call, as zoo says what is wrong with anything else, and what to call instead.

    Args:
        misuse: a UsageError, of click or of typer's own copy of it.
    """
    context, kind = misuse.ctx, type(misuse).__name__
    if kind == "NoSuchOption":
        misuse.possibilities = None  # some are far from it
    words = misuse.format_message().strip().removesuffix(".").replace(". Did you mean", "; did you mean")
    words = (
        words.replace("No such option: ", "no such option ")
        .replace("argument(s)", "arguments")
        .replace("Input should be", "should be")
    )
    line = printable(" ".join(f"{words[:1].lower()}{words[1:]}".split()))
    if context is None:
        return line
    return f"{context.command_path}: {line}{_mend(misuse, kind, context) if 'did you mean' not in line else ''}"


def _mend(misuse: Any, kind: str, context: Any) -> str:
    """An example where an argument is missing, and for an unknown option the one that is meant, or who has it."""
    example = context.command.epilog or ""
    if kind != "NoSuchOption" and (meant := _with_its_option(context)):
        return f"; did you mean `{meant}`?"
    if kind == "MissingParameter" and example.startswith("Example: "):
        return f", such as `{example.removeprefix('Example: ')}`"
    if kind == "NoSuchOption":
        own = next((each for each in RUN if misuse.option_name in RUN and each in _options(context.command)), None)
        if own is not None:
            return f"; did you mean {own}?"
        hints = [*_as_key(misuse.option_name, context), *_elsewhere(misuse.option_name, context)]
        meant = near(misuse.option_name.lstrip("-"), [each.lstrip("-") for each in _options(context.command)])
        if hints or meant:
            return f"; {', '.join(hints)}" if hints else f"; did you mean --{meant}?"
    return f"; `{context.command_path} --help` shows what it takes"


def _with_its_option(context: Any) -> str | None:
    """The call with the option in front of a recipe or a run that is given without it."""
    called = context.command_path.split()[1:]
    given = context.meta.get(WORDS, ())[len(called) :]
    if [each.startswith("-") for each in given[:2]] not in ([False], [False, True]):
        return None
    if any(each.param_type_name == "argument" for each in context.command.params):
        return None
    wanted = "--run-dir" if os.path.isdir(given[0]) else "--recipe"
    options = [each for each in (wanted, "--run", "--recipe") if each in _options(context.command)]
    return command("zoo", *called, options[0], *given) if options else None


def _as_key(option: str, context: Any) -> Iterator[str]:
    """Of a recipe, where the command overrides keys."""
    if "--set" not in _options(context.command):
        return
    name = option.lstrip("-").replace("-", "_")
    keys = [f"{section}.{name}" for section, (_, whole) in SECTIONS.items() if name in whole.model_fields]
    if keys:
        yield f"write {' or '.join(f'--set {key}=VALUE' for key in keys)}"


def _elsewhere(option: str, context: Any) -> Iterator[str]:
    """Other commands that have it."""
    root = context.find_root()
    having = [f"`{root.info_name} {each.name}`" for each in root.command.commands.values() if option in _options(each)]
    if 0 < len(having) <= FEW:
        yield f"{' and '.join(having)} {'has' if len(having) == 1 else 'have'} it"


def _options(command: Any) -> set[str]:
    return {name for each in command.params for name in each.opts if name.startswith("--")} | {"--help"}
