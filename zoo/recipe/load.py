"""From a recipe file to a draft: what it says, checked against the schema and the registry, with every problem."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from zoo.errors import KeyPath, PluginError, RecipeError, dotted
from zoo.recipe.find import find_recipe
from zoo.recipe.merge import expand_part, merge, override
from zoo.recipe.schema import (
    DEFAULT_PARTS,
    BackboneOptions,
    BackboneRecipe,
    LatentRecipe,
    PartSpec,
    Recipe,
    RecipeOptions,
)
from zoo.recipe.source import Node, Origin, read_yaml
from zoo.registry import KINDS, PartEntry, Registry, did_you_mean

LATER_SECTIONS = ("objective", "data", "train", "sample", "evaluate")
"""Sections that a recipe will have; none of them is read yet."""

M = TypeVar("M", bound=BaseModel)


@dataclass
class Draft:
    """A recipe while it is being checked.

    Attributes:
        tree: the recipe with ``extends`` and ``--set`` applied.
        values: the fields of the backbone that are valid, parts aside.
        parts: the parts that exist and whose options are valid.
        problems: what is wrong, and at which key path.
    """

    tree: Node
    name: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, tuple[PartEntry, PartSpec]] = field(default_factory=dict)
    problems: list[tuple[KeyPath, str]] = field(default_factory=list)

    def recipe(self) -> Recipe:
        """The validated recipe.

        Raises:
            RecipeError: there are problems; the message has a line for each.
        """
        if self.problems:
            raise RecipeError([self._line(path, message) for path, message in self.problems])
        specs = {kind: spec for kind, (_, spec) in self.parts.items()}
        return Recipe(name=self.name, backbone=BackboneRecipe(**{**self.values, **specs}))

    def _line(self, path: KeyPath, message: str) -> str:
        where = f"{self.tree.origin_of(path)}: "
        return where + (f"{dotted(path)}: {message}" if path else message)


def read_tree(name: str, overrides: Iterable[str] = ()) -> Node:
    """A recipe file with what it extends and with ``--set`` overrides applied; not yet checked.

    Raises:
        RecipeError: a file that is missing or not plain YAML, a loop of ``extends``, an override of no such form.
    """
    path = find_recipe(name)
    tree = _read_extended(path, [])
    assert isinstance(tree.value, dict)
    if "name" not in tree.value:
        tree = Node({"name": Node(path.stem, tree.origin), **tree.value}, tree.origin)
    for assignment in overrides:
        tree = override(tree, assignment)
    return tree


def draft_recipe(tree: Node, registry: Registry) -> Draft:
    """Check everything about a recipe that can be told without building a part."""
    draft = Draft(tree)
    raw = tree.plain()
    backbone = raw.pop("backbone", None)
    own = _validate(RecipeOptions, raw, (), draft, known=[*RecipeOptions.model_fields, "extends", "backbone"])
    draft.name = own.name if own else ""
    if "backbone" not in tree.plain():
        draft.problems.append((("backbone",), "missing; it is required"))
    elif not isinstance(backbone, dict):
        draft.problems.append((("backbone",), f"should be a mapping, got {_show(backbone)}"))
    else:
        _draft_backbone(backbone, registry, draft)
    return draft


def _read_extended(path: Path, chain: list[Path]) -> Node:
    resolved = path.resolve()
    if resolved in chain:
        names = " -> ".join(link.name for link in [*chain[chain.index(resolved) :], resolved])
        raise RecipeError([f"{path}: extends goes in a circle: {names}"])
    tree = read_yaml(path)
    if not isinstance(tree.value, dict):
        raise RecipeError([f"{tree.origin}: a recipe is a mapping with `backbone:`, not {_show(tree.plain())}"])
    if "extends" not in tree.value:
        return _merge_onto_nothing(tree)
    extends = tree.value["extends"]
    if not isinstance(extends.value, str):
        raise RecipeError([f"{extends.origin}: extends: should be one recipe, got {_show(extends.plain())}"])
    try:
        below = find_recipe(extends.value, beside=path)
    except RecipeError as error:
        raise RecipeError([f"{extends.origin}: extends: {error}"]) from error
    base = _read_extended(below, [*chain, resolved])
    assert isinstance(base.value, dict)
    # A name belongs to its own file: a recipe that extends another is not that one.
    inherited = Node({key: node for key, node in base.value.items() if key != "name"}, base.origin)
    rest = Node({key: node for key, node in tree.value.items() if key != "extends"}, tree.origin)
    return merge(inherited, rest)


def _merge_onto_nothing(tree: Node) -> Node:
    return merge(Node({}, tree.origin), tree)


def _draft_backbone(raw: dict[str, Any], registry: Registry, draft: Draft) -> None:
    path = ("backbone",)
    plain = {key: value for key, value in raw.items() if key not in KINDS}
    before = len(draft.problems)
    _validate(BackboneOptions, plain, path, draft, known=[*BackboneOptions.model_fields, *KINDS])
    bad = {problem[0][1] for problem in draft.problems[before:] if len(problem[0]) > 1}
    for name, info in BackboneOptions.model_fields.items():
        if name not in bad and (name in plain or not info.is_required()):
            value = plain.get(name, info.default)
            draft.values[name] = LatentRecipe.model_validate(value) if name == "latent" else value
    for kind in KINDS:
        _draft_part(kind, raw.get(kind), registry, draft)


def _draft_part(kind: str, raw: Any, registry: Registry, draft: Draft) -> None:
    path: KeyPath = ("backbone", kind)
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        draft.problems.append((path, f"should be a part's name or a mapping with `type`, got {_show(raw)}"))
        return
    name = raw.get("type", DEFAULT_PARTS.get(kind))
    if name is None:
        names = ", ".join(entry.name for entry in registry.entries(kind))
        draft.problems.append((path, f"missing; it is required, with a type: {names}"))
        return
    if not isinstance(name, str):
        draft.problems.append(((*path, "type"), f"should be a part's name, got {_show(name)}"))
        return
    try:
        entry = registry.get(kind, name)
    except PluginError as error:
        draft.problems.append(((*path, "type"), str(error)))
        return
    given = {key: value for key, value in raw.items() if key != "type"}
    model = entry.signature.options
    options = _validate(model, given, path, draft, known=_property_names(model))
    if options is not None:
        draft.parts[kind] = (entry, PartSpec(type=name, options=options))


def _validate(model: type[M], raw: Mapping[str, Any], path: KeyPath, draft: Draft, known: Iterable[str]) -> M | None:
    try:
        # As JSON, so that strict types still take a list for a tuple.
        return model.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        known = list(known)
        draft.problems.extend(
            ((*path, *_without_branches(each["loc"], raw)), _message(each, path, known)) for each in error.errors()
        )
        return None


def _without_branches(location: tuple[str | int, ...], raw: Any) -> KeyPath:
    """A pydantic location without the names of union members that pydantic puts into it."""
    path: list[str | int] = []
    value = raw
    for key in location:
        if isinstance(value, dict) or (isinstance(value, list) and isinstance(key, int)):
            path.append(key)
            value = value.get(key) if isinstance(value, dict) else value[key] if key < len(value) else None  # type: ignore[operator,index]
    return tuple(path)


def _message(error: Any, path: KeyPath, known: list[str]) -> str:
    kind, got = error["type"], error["input"]
    if kind == "missing":
        return "missing; it is required"
    if kind == "extra_forbidden":
        key = str(error["loc"][-1])
        if not path and key in LATER_SECTIONS:
            return "not read yet: this version of zoo composes and audits backbones; remove the section"
        choices = did_you_mean(key, known) or (f"; there are: {', '.join(known)}" if known else "; it takes none")
        return f"unknown option{choices}"
    message = str(error["msg"])
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    message = message.replace("Input should be", "should be").replace("an object", "a mapping")
    message = message.replace("valid array", "list").replace("a valid tuple", "a list of two numbers")
    return f"{message[:1].lower()}{message[1:]}, got {_show(got)}"


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _property_names(model: type[BaseModel]) -> list[str]:
    schema = model.model_json_schema()
    nested = [name for each in schema.get("$defs", {}).values() for name in each.get("properties", {})]
    return list(dict.fromkeys([*schema.get("properties", {}), *nested]))


__all__ = ["Draft", "Origin", "draft_recipe", "expand_part", "read_tree"]
