"""The parts that the manual tells of, wherever it is made: the built-in ones, and those of the packages beside."""

from __future__ import annotations

import sys
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

from zoo import Registry, hookimpl
from zoo.plugins import Plugin

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes"
PACKAGES = ROOT / "plugins"


@cache
def registry() -> Registry:
    """The built-in parts, and those of the packages beside, whether these are installed or not."""
    found = Registry()
    for path in sorted(PACKAGES.glob("*/pyproject.toml")):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        named = [value.partition(":") for value in project["entry-points"].get("zoo.parts", {}).values()]
        classes = [getattr(import_module(module), name) for module, _, name in named]
        hooks = SimpleNamespace(zoo_parts=hookimpl(lambda classes=classes: classes))
        found.register(hooks, Plugin(project["name"], project["version"]))
    return found


@cache
def recipes() -> dict[str, Path]:
    """Every recipe by its name, those of the packages among them."""
    return {path.stem: path for path in (*RECIPES.rglob("*.yaml"), *sorted(PACKAGES.glob("*/*/recipes/*.yaml")))}
