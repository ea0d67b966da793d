"""What to call instead, where a command is called in a way that it does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zoo.recipe import SECTIONS

FEW = 3
"""Commands that may be named; of more any might be meant."""


def helped(misuse: Any) -> None:
    """Add to what click says of a call: an example where an argument is missing, and who has an unknown option.

    Args:
        misuse: a UsageError, of click or of typer's own copy of it.
    """
    context, kind = misuse.ctx, type(misuse).__name__
    if kind == "MissingParameter" and context and context.command.epilog:
        misuse.message = context.command.epilog
    elif kind == "NoSuchOption" and context:
        hints = [*_as_key(misuse.option_name, context), *_elsewhere(misuse.option_name, context)]
        if hints:
            misuse.message = f"{misuse.message}; {', '.join(hints)}"
            misuse.possibilities = None  # which are less near


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
    return {name for each in command.params for name in each.opts}
