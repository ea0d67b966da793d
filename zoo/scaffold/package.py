"""The files of a new package: parts copied under their own names, and what is around them from templates."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from datetime import date
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from packaging.version import InvalidVersion, Version

from zoo.errors import OutputError, PluginError
from zoo.files import reason_of, whole_folder, write_new
from zoo.kinds import BACKBONE_KINDS, KINDS, SECTIONS, kinds_of
from zoo.plugins import zoo_version
from zoo.scaffold.names import Names

TEMPLATES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "LICENSE": "LICENSE",
    ".gitignore": "gitignore",
    ".github/workflows/test.yml": "test.yml",
    "{package}/__init__.py": "package.py",
    "{package}/recipes/__init__.py": "recipes.py",
    "{package}/recipes/{recipe}.yaml": "recipe.yaml",
    "tests/test_laws.py": "test_laws.py",
    "tests/test_recipe.py": "test_recipe.py",
}
"""Where each file of a package comes from."""

BETWEEN_LEVELS = frozenset(name for name, kind in KINDS.items() if kind.per in ("ups", "downs"))
WITH_OPTIONS = frozenset({"patch_schedule", "block", "router"})
"""Of the backbone's, those of which the recipe says more than the name."""
SLOTS = tuple(name for name, kind in KINDS.items() if kind.section is None)


def write_package(folder: Path, names: Names, kinds: Sequence[str]) -> int:
    """Write a package, whole or not at all, and tell how many files it has.

    Args:
        folder: which is not there yet; its parent is.
        names: of the package and its parts.
        kinds: of the parts, one of each.

    Raises:
        PluginError: there is something already.
        OutputError: it cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        raise PluginError(f"{folder} is there already, and nothing is overwritten; choose another name, or --out")
    files = files_of(names, kinds)
    try:
        with whole_folder(folder) as unfinished:
            for path, text in files.items():
                (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
                write_new(unfinished / path, text, synced=False)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {reason_of(error)}") from error
    return len(files)


def files_of(names: Names, kinds: Sequence[str]) -> dict[str, str]:
    """The text of every file of a package, by its path in it."""
    environment = Environment(
        loader=PackageLoader("zoo.scaffold", "package"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - no page
    )
    known = {
        "names": names,
        "parts": {kind: names.class_of(kind) for kind in kinds},
        "summaries": {kind: summary_of(source_of(kind, names)) for kind in kinds},
        "slots": [kind for kind in kinds if kind in SLOTS],
        "alone": [kind for kind in kinds if kind in BACKBONE_KINDS and kind not in WITH_OPTIONS],
        "beside": {section: kinds_of(section) for section in SECTIONS if section not in ("backbone", "evaluate")},
        "listed": {name: kind.many for name, kind in KINDS.items() if kind.many},
        "defaults": {name: kind.defaults for name, kind in KINDS.items() if kind.many},
        "between": not BETWEEN_LEVELS.isdisjoint(kinds),
        "asked": asked_range(zoo_version()),
        "year": date.today().year,
    }
    places = {"package": names.package, "recipe": names.recipe}
    files = {
        path.format_map(places): environment.get_template(f"{source}.jinja").render(known)
        for path, source in TEMPLATES.items()
    }
    files[f"{names.package}/py.typed"] = ""
    return files | {f"{names.package}/{kind}.py": source_of(kind, names) for kind in kinds}


def source_of(kind: str, names: Names) -> str:
    """The module of a part, under its own names."""
    source = resources.files("zoo.scaffold.parts").joinpath(f"{kind}.py").read_text(encoding="utf-8")
    return re.sub(r"\bMine(?=[A-Z])", names.prefix, re.sub(r"\bmine\b", names.part, source))


def summary_of(source: str) -> str:
    """The first sentence of the docstring of the part in a module."""
    marked = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.decorator_list)
    (text,) = map(ast.get_docstring, marked)
    return " ".join((text or "").split("\n\n")[0].split())


def asked_range(version: str) -> str:
    """The versions of diffusion-zoo that a package written with this one asks for: ``>=0.1,<0.2``; any, if unknown."""
    try:
        major, minor = Version(version).release[:2]
    except (InvalidVersion, ValueError):
        return ""
    return f">={major}.{minor},<{major}.{minor + 1}" if major == 0 else f">={major}.{minor},<{major + 1}"
