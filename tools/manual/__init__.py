"""The pages of the manual that are made of the code: kinds and their parts, laws, recipe sections, commands.

They are Markdown, the same whenever they are made of the same code. ``manual_hook.py`` beside this folder gives them
to mkdocs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePosixPath

from manual import laws, parts
from manual.commands import commands_page
from manual.recipe import recipe_page
from zoo.kinds import KINDS

Page = Callable[[], str]


def pages(*, costs: bool = True) -> Mapping[str, Page]:
    """What makes each page, by its path in the manual.

    Args:
        costs: count what parts cost, which takes about a minute for all.
    """
    return {
        "parts/index.md": parts.index,
        **{f"parts/{kind}.md": partial(parts.kind_page, kind, costs=costs) for kind in KINDS},
        "laws/index.md": laws.index,
        **{f"laws/{name}.md": partial(laws.law_page, name) for name in laws.pages()},
        "recipe.md": recipe_page,
        "commands.md": commands_page,
    }


def navigation() -> Mapping[str, list[str | dict[str, str]]]:
    """The pages of those sections of the navigation that are made of the code as a whole, by their titles."""
    folders = {"Kind by kind": "parts/", "Laws": "laws/"}
    return {title: [_entry(path) for path in pages() if path.startswith(at)] for title, at in folders.items()}


def _entry(path: str) -> str | dict[str, str]:
    """A page of the navigation, called as its kind is; the index is the section's own."""
    name = PurePosixPath(path).stem
    return path if name == "index" else {laws.title_of(name) if path.startswith("laws/") else name: path}
