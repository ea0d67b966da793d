"""Where recipes are: paths, the working folder, the installed package, plug-ins. Imports no part."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from zoo.companions import hint_of_recipe
from zoo.errors import RecipeError, did_you_mean
from zoo.files import files_beside, meant_of
from zoo.plugin_loading import visit_plugins
from zoo.plugins import RECIPES, Package, Plugin, PluginProblem, plugin_packages, zoo_version
from zoo.recipe.source import shown_path

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class RecipeFolder:
    """A folder of recipes, and the package that ships it (None: the working folder's own)."""

    path: Path
    plugin: Plugin | None

    def recipes(self) -> list[Path]:
        """Every recipe in it, also in sub-folders, by name."""
        found = [path for suffix in SUFFIXES for path in self.path.rglob(f"*{suffix}") if path.is_file()]
        return sorted(found, key=lambda path: (path.stem, path))


@dataclass(frozen=True)
class RecipeSummary:
    """A recipe as ``zoo recipes`` lists it: its name, and its first comment."""

    name: str
    title: str
    path: Path
    plugin: Plugin | None


def recipe_folders(packages: list[Package] | None = None) -> tuple[list[RecipeFolder], list[PluginProblem]]:
    """Where recipes are looked up by name, in order; and what is wrong with those of plug-ins.

    Args:
        packages: the plug-ins; the installed ones, if left out.
    """
    folders = []
    own = package_recipes()
    working = Path("recipes")
    if working.is_dir() and working.resolve() != own.resolve():
        folders.append(RecipeFolder(working, None))
    folders.append(RecipeFolder(own, Plugin("zoo", zoo_version())))

    def visit(plugin: Plugin, entry_point: metadata.EntryPoint) -> None:
        spec = importlib.util.find_spec(entry_point.value)
        locations = list(spec.submodule_search_locations or []) if spec else []
        if not locations:
            raise ModuleNotFoundError(f"{entry_point.value!r} is no package")
        folders.extend(RecipeFolder(Path(location), plugin) for location in locations)

    return folders, visit_plugins(RECIPES, plugin_packages() if packages is None else packages, visit)


def package_recipes() -> Path:
    """The recipes that zoo ships: inside the installed package, or beside it in a source checkout."""
    package = Path(__file__).parents[1]
    shipped = package / "_recipes"
    return shipped if shipped.is_dir() else package.parent / "recipes"


def list_recipes(packages: list[Package] | None = None) -> tuple[list[RecipeSummary], list[PluginProblem]]:
    """Every recipe that has a name, and what is wrong with those of plug-ins, as ``recipe_folders`` has it."""
    folders, problems = recipe_folders(packages)
    found = [
        RecipeSummary(path.stem, _title(path), path, folder.plugin) for folder in folders for path in folder.recipes()
    ]
    return found, problems


def find_recipe(name: str, *, beside: Path | None = None) -> Path:
    """The file of a recipe.

    Args:
        name: a path, or a name with or without ``.yaml``, looked up in the working folder, its ``recipes/``, the
            installed package and plug-ins, in that order.
        beside: the recipe that extends it, whose folder takes the place of the working folder. One that extends its own
            name means the next of that name.

    Raises:
        RecipeError: there is none, or two plug-ins ship one of that name.
    """
    if not name.strip():
        raise RecipeError(["the name of a recipe is empty; `zoo recipes` lists those that have a name"])
    path = Path(name)
    try:
        here = (beside.parent if beside else Path()) / path.expanduser()
        candidates = [here, *(here.parent / (here.name + suffix) for suffix in SUFFIXES)]
        beside_it = [path for path in candidates if path.exists() and not path.is_dir()]
        is_folder = here.is_dir()
    except (OSError, RuntimeError) as error:  # no right to look there, a name too long, or ~user without a home
        problem = error.strerror if isinstance(error, OSError) else error
        raise RecipeError([f"{name}: cannot be read: {problem}"]) from error
    if beside_it and not _same_file(beside_it[0], beside):
        return beside_it[0]
    packages = plugin_packages()
    folders, problems = recipe_folders(packages)
    if beside and any(folder.plugin and beside.resolve().is_relative_to(folder.path.resolve()) for folder in folders):
        # What a package ships means the same in every working folder.
        folders = [folder for folder in folders if folder.plugin]
    listed = [(folder, recipe) for folder in folders for recipe in folder.recipes()] if path.name == name else []
    stem = path.stem if path.suffix in SUFFIXES else path.name
    matches = [each for each in listed if each[1].stem == stem and not _same_file(each[1], beside)]
    if matches:
        return _only(name, matches)
    if beside_it:
        return beside_it[0]
    if is_folder:
        raise RecipeError([f"{shown_path(here)}: a folder, not a recipe; give a YAML file in it"])
    beside_zoo = hint_of_recipe(name, [package.plugin.name for package in packages]) if path.name == name else ""
    near_it = [each for each in files_beside(here, SUFFIXES) if not _same_file(here.with_name(each), beside)]
    is_path = path.name != name or path.suffix in SUFFIXES
    hint = beside_zoo or (meant_of(path, near_it) if is_path else "")
    hint = hint or did_you_mean(path.stem, [*(recipe.stem for _, recipe in listed), *(Path(e).stem for e in near_it)])
    hint = hint or "; `zoo recipes` lists those that have a name"
    failed = [f"Plug-in {each.plugins[0].name} failed: {each.reason}" for each in problems if each.missing]
    for package in packages:
        if package.is_idle and any(package.of(RECIPES)):
            failed.append(f"{package.plugin.name} may hold it, which {package.why_idle}")
    is_linked = beside is not None and beside.is_symlink()
    looked = f" (looked for {os.path.abspath(here)})" if is_linked or path.name != name else ""
    end = "" if not failed else " " if hint.endswith("?") else ". "
    raise RecipeError([f"{name}: there is no such recipe{looked}{hint}{end}{'. '.join(failed)}"])


def _same_file(a: Path, b: Path | None) -> bool:
    return b is not None and a.resolve() == b.resolve()


def _only(name: str, matches: list[tuple[RecipeFolder, Path]]) -> Path:
    first, path = matches[0]
    rivals = [recipe for folder, recipe in matches[1:] if folder.plugin == first.plugin or _strangers(first, folder)]
    if rivals:
        both = ", ".join(str(recipe) for recipe in [path, *rivals])
        raise RecipeError([f"{name}: several recipes have this name: {both}; give the path of one"])
    return path


def _strangers(a: RecipeFolder, b: RecipeFolder) -> bool:
    """Whether both are plug-ins', so that neither goes before the other."""
    return all(folder.plugin is not None and folder.plugin.name != "zoo" for folder in (a, b))


def _title(path: Path) -> str:
    """The first comment of a recipe, up to the command that it ends with."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline(400)
    except OSError:
        return ""
    return first.lstrip("# ").split("   ")[0].strip() if first.startswith("#") else ""
