"""The parts and recipes that the manual tells of: the built-in ones, and those of the packages beside."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import paper_tables

from zoo import Registry

ROOT = Path(__file__).resolve().parents[2]


@cache
def registry() -> Registry:
    """The parts, whether the packages are installed or not."""
    return paper_tables.with_packages()


@cache
def recipes() -> dict[str, Path]:
    """Every recipe by its name."""
    return paper_tables.recipes()
