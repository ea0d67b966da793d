"""The hook of mkdocs that adds the pages made of the code: see ``manual``."""

from __future__ import annotations

from typing import Any

from manual import navigation, pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_made: dict[str, str] = {}
"""Pages by path: `mkdocs serve` builds again and again, and the code is as it was when that began."""


def on_config(config: MkDocsConfig) -> None:
    """Fill in the sections of the navigation that are made of the code as a whole."""
    _fill(config.nav)


def _fill(nav: Any) -> None:
    sections = navigation()
    for entry in nav if isinstance(nav, list) else ():
        for title, below in entry.items() if isinstance(entry, dict) else ():
            if title in sections:
                entry[title] = sections[title]
            _fill(below)


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages."""
    for path, make in pages().items():
        if path not in _made:
            _made[path] = make()
        files.append(File.generated(config, path, content=_made[path]))
