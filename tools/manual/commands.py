"""Every command, its arguments and options: what ``--help`` prints, as a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from typer import Context
from typer.main import get_command

from manual.text import code, escaped, page, table
from zoo.cli import app

Name = tuple[str, ...]


def commands() -> dict[Name, Any]:
    """Every command of zoo's own by its name, those of groups behind the group's."""
    return dict(_below((), get_command(app)))


def _below(above: Name, group: Any) -> Iterator[tuple[Name, Any]]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _below((*above, name), command)
        else:
            yield (*above, name), command


def commands_page() -> str:
    """All commands with their help."""
    found = commands()
    rows = [
        (f"[zoo {' '.join(name)}](#zoo-{'-'.join(name)})", escaped(command.get_short_help_str(limit=1000)))
        for name, command in found.items()
    ]
    return page(
        "# Commands",
        "The commands of zoo itself; installed packages may add others, which `zoo --help` lists too. `zoo NAME --help`"
        " prints what stands here.",
        table(("command", "what it does"), rows),
        *(block for name, command in found.items() for block in _command(name, command)),
    )


def _command(name: Name, command: Any) -> Iterator[str]:
    context = Context(command, info_name=f"zoo {' '.join(name)}")
    yield f"## zoo {' '.join(name)}"
    yield escaped(command.help.replace("\\[", "["))  # which else marks text for the terminal
    yield code(command.get_usage(context).removeprefix("Usage: "), "text")
    yield code(command.epilog.removeprefix("Example: "), "bash")
    yield table(
        ("option", "what it is"), filter(None, (_option(each, context) for each in command.get_params(context)))
    )


def _option(parameter: Any, context: Context) -> tuple[str, str] | None:
    if parameter.name == "help":
        return None
    written, words = parameter.get_help_record(context)
    return f"`{_plain(written)}`", escaped(words)


def _plain(written: str) -> str:
    """Kinds of values as the manual writes them."""
    return re.sub(r"<(str|int range|float range|list\[str\])>", lambda kind: KINDS[kind[1]], written)


KINDS = {"str": "TEXT", "int range": "N", "float range": "X", "list[str]": ""}
