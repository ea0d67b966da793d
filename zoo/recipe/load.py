"""From a recipe file to a draft: what it says, checked against the schema and the registry, with every problem."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from zoo.errors import KeyPath, PluginError, RecipeError, dotted
from zoo.kinds import KINDS, key_of, kind_at, kinds_of, path_of
from zoo.recipe.find import find_recipe
from zoo.recipe.latent import PLANE
from zoo.recipe.merge import merge, override, override_value, without_nulls
from zoo.recipe.messages import problems_of, problems_of_coerced
from zoo.recipe.parts import AnyPart, AsWritten, Beside, KeptPart, PartSpec, Run
from zoo.recipe.places import located
from zoo.recipe.recorded import Recorded
from zoo.recipe.schema import SECTIONS, Recipe, RecipeOptions
from zoo.recipe.source import Node, Origin, node_of, read_yaml, show
from zoo.registry import PartEntry, Registry
from zoo.signature import Nested

_SUPPLIED: tuple[KeyPath, ...] = tuple(
    ("backbone", *key) for key in (*(("latent", each) for each in (*PLANE, "size")), ("dim",), ("depth",), ("heads",))
)
"""What messages about other keys speak of, so that they can say where it was written."""

M = TypeVar("M", bound=BaseModel)

Overrides = str | Iterable[str] | Mapping[str, Any]
"""``key.path=value``, or values by key path: ``{"backbone.dim": 192}``."""


@dataclass
class Draft:
    """A recipe while it is being checked.

    Attributes:
        tree: the recipe with ``extends`` and ``--set`` applied.
        values: by section, the fields that are valid.
        parts: by key path, the parts that are needed, that exist and whose options are valid; not those inside them.
        problems: what is wrong, and at which key path.
        fault: of a part itself, which no other options would mend.
        missing: the parts that do not exist, and at which key path.
        recorded: of a recipe that zoo wrote, its record.
        needs: the sections whose parts are needed. Of a recorded recipe, others are kept as written where they
            cannot be checked.
    """

    tree: Node
    name: str = ""
    values: dict[str, dict[str, Any]] = field(default_factory=lambda: {section: {} for section in SECTIONS})
    parts: dict[KeyPath, PartSpec] = field(default_factory=dict)
    problems: list[tuple[KeyPath, str]] = field(default_factory=list)
    fault: Exception | None = None
    missing: list[tuple[KeyPath, str]] = field(default_factory=list)
    recorded: Recorded | None = None
    needs: Collection[str] = tuple(SECTIONS)

    def at(self, kind: str, key: Any = None) -> KeyPath | None:
        """Where the part of a kind that stands under a key of the backbone is written; None if it is not valid."""
        section, name = path_of(kind)
        path: KeyPath = (section, name)
        if path in self.parts:
            return path
        if not KINDS[kind].beside:  # a part that is kept as written, where it is not needed
            return None
        runs = [run.blocks for run in self.values[section].get(name) or ()]
        path = (*path, bisect_right(list(accumulate(runs)), key))
        return path if path in self.parts else None

    def recipe(self) -> Recipe:
        """The validated recipe.

        Raises:
            RecipeError: there are problems; the message has a line for each. Its cause is the fault, if there is one.
        """
        if self.problems:
            raise RecipeError([self._line(path, message) for path, message in self.problems]) from self.fault
        sections: dict[str, Any] = {}
        for name, (_, section) in SECTIONS.items():
            sections[name] = section(**self.values[name])
        return Recipe(name=self.name, **sections)

    def _line(self, path: KeyPath, message: str) -> str:
        origin = self.tree.origin_of(path)
        fallback = origin == self.tree.origin_of(("backbone",))  # the part is not written, but a default
        others = [
            f"{dotted(key[1:])} from {other}"
            for key in _SUPPLIED
            if len(path) > 1 and kind_at(str(path[0]), str(path[1])) and re.search(rf"\b{key[-1]}\b", message)
            if self.tree.holds(key)
            and (other := self.tree.origin_of(key)) != origin
            and (fallback or other.source != origin.source)
        ]
        text = f"{dotted(path)}: {message}" if path else message
        return f"{origin}: {text}" + (f" ({', '.join(others)})" if others else "")


def read_tree(
    source: str | Path | Mapping[str, Any], overrides: Overrides = (), *, option: str | None = "--set"
) -> Node:
    """A recipe with what it extends and with overrides applied; not yet checked.

    Args:
        source: a file's path or name, or a recipe as plain values.
        overrides: ``key.path=value``, or values by key path.
        option: of the shell, from which the overrides are; None: from Python. Messages name it.

    Raises:
        RecipeError: a file that is missing or not plain YAML, a loop of ``extends``, an override of no such form.
    """
    if isinstance(source, Mapping):
        name, tree = "recipe", _extended(node_of(source, Origin("recipe")), None)
    elif not isinstance(source, str | Path):
        raise RecipeError([f"a recipe is a name, a path or a mapping with `backbone`, not {type(source).__name__}"])
    else:
        path = find_recipe(str(source))
        name, tree = path.stem, _extended(read_yaml(path, piped=True), path)
    problems: list[str] = []
    if isinstance(overrides, str):
        overrides = [overrides]
    for each in overrides:
        try:
            if isinstance(overrides, Mapping):
                tree = override_value(tree, each, overrides[each])
            else:
                tree = override(tree, each, option)
        except RecipeError as error:
            problems.extend(error.problems)
    if problems:
        raise RecipeError(problems)
    assert isinstance(tree.value, dict)
    if "name" not in tree.value or tree.value["name"].value is None:
        tree = Node({**tree.value, "name": Node(name, tree.origin)}, tree.origin)
    return tree


def draft_recipe(
    tree: Node, registry: Registry, recorded: Recorded | None = None, needs: Collection[str] = tuple(SECTIONS)
) -> Draft:
    """Check everything about a recipe that can be told without building a part.

    Args:
        tree: the recipe.
        registry: the parts to choose from.
        recorded: the record of a recipe that zoo wrote.
        needs: the sections whose parts are needed; all of a recipe that somebody wrote.
    """
    draft = Draft(tree, recorded=recorded, needs=needs)
    raw = without_nulls(tree).plain()
    sections = {name: raw.pop(name, None) for name in SECTIONS}
    own = _validate(RecipeOptions, raw, (), draft, others=["extends", *SECTIONS])
    draft.name = own.name if own else ""
    for name, given in sections.items():
        if given is None and name == "backbone":
            draft.problems.append(((name,), "missing; it is required"))
        elif not isinstance(given, dict | None):
            draft.problems.append(((name,), f"should be a mapping, got {show(given)}"))
        else:
            _draft_section(name, given or {}, registry, draft)
    return draft


def _extended(tree: Node, path: Path | None) -> Node:
    """``tree``, which stands at ``path``, on top of what it extends."""
    trees, files = [tree], [path.resolve()] if path else []
    while (extends := _extends(trees[-1])) is not None:
        try:
            path = find_recipe(str(extends.value), beside=path)
        except RecipeError as error:
            raise RecipeError([f"{extends.origin}: extends: {error}"]) from error
        if path.resolve() in files:
            circle = [*files[files.index(path.resolve()) :], path]
            names = " -> ".join(file.name for file in circle)
            raise RecipeError([f"{extends.origin}: extends: goes in a circle: {names}; take one of them out"])
        files.append(path.resolve())
        trees.append(read_yaml(path))
    merged = Node({}, trees[-1].origin)
    for each in reversed(trees):
        # A name belongs to its own file: a recipe that extends another is not that one.
        merged = merge(_without(merged, "name"), _without(each, "extends"))
    return merged


def _extends(tree: Node) -> Node | None:
    """The name of the recipe that ``tree`` extends, if any."""
    if tree.value is None:
        raise RecipeError([f"{tree.origin}: empty; a recipe needs at least `backbone:` or `extends:`"])
    if not isinstance(tree.value, dict):
        raise RecipeError([f"{tree.origin}: a recipe is a mapping with `backbone:`, not {show(tree.plain())}"])
    extends = tree.value.get("extends")
    if extends is not None and not isinstance(extends.value, str):
        given = show(extends.plain())
        raise RecipeError([f"{extends.origin}: extends: should be the path or name of one recipe, got {given}"])
    return extends


def _without(tree: Node, key: str) -> Node:
    assert isinstance(tree.value, dict)
    return Node({each: node for each, node in tree.value.items() if each != key}, tree.origin)


def _draft_section(section: str, raw: dict[str, Any], registry: Registry, draft: Draft) -> None:
    options, kinds = SECTIONS[section][0], kinds_of(section)
    keys = [key_of(kind) for kind in kinds]
    plain = {key: value for key, value in raw.items() if key not in keys}
    before = len(draft.problems)
    valid = _validate(options, plain, (section,), draft, others=keys)
    if valid:
        valid = located(valid, lambda name: draft.tree.origin_of((section, name)).file if name in plain else None)
    bad = {problem[0][1] for problem in draft.problems[before:] if len(problem[0]) > 1}
    for name, info in options.model_fields.items():
        if name not in bad and (name in plain or not info.is_required()):
            if not valid and name in plain:  # what others of the section are wrong beside
                value = TypeAdapter(info.rebuild_annotation()).validate_json(json.dumps(plain[name]))
            else:
                value = getattr(valid, name) if valid else info.default
            draft.values[section][name] = value
    for kind in kinds:
        given = raw.get(key_of(kind))
        if KINDS[kind].many:
            found: Any = _draft_parts(kind, given, registry, draft)
        elif KINDS[kind].beside:
            found = _draft_runs(kind, given, registry, draft)
        else:
            found = _draft_one(kind, given, (section, kind), registry, draft)
        if found is not None:
            draft.values[section][key_of(kind)] = found


def _draft_parts(kind: str, raw: Any, registry: Registry, draft: Draft) -> tuple[AnyPart, ...] | None:
    """The parts of a kind of which a recipe holds several."""
    path = path_of(kind)
    if raw is None:
        raw = list(KINDS[kind].defaults)
    if not isinstance(raw, list) or not raw:
        draft.problems.append((path, f"should be a list of parts, got {show(raw)}"))
        return None
    found = [_draft_one(kind, each, (*path, index), registry, draft) for index, each in enumerate(raw)]
    return tuple(each for each in found if each is not None)


def _draft_runs(kind: str, raw: Any, registry: Registry, draft: Draft) -> tuple[Run, ...] | None:
    """The blocks: all of one part, or a list of runs that add up to the depth."""
    path, depth = path_of(kind), draft.values["backbone"].get("depth")
    if not isinstance(raw, list):
        part = _draft_one(kind, raw, path, registry, draft)
        return None if part is None or depth is None else (Run(part=part, blocks=depth),)
    found = [_draft_run(kind, each, (*path, index), registry, draft) for index, each in enumerate(raw)]
    counts = [beside.blocks for _, beside in found if beside is not None]
    if not found:
        draft.problems.append((path, "should be a part or a list of runs, got []"))
    elif len(counts) == len(found) and depth is not None and sum(counts) != depth:
        added = f"{' + '.join(map(str, counts))} = " if len(counts) > 1 else ""
        told = f"block counts must add up to depth: {added}{sum(counts)}, but backbone.depth is {depth}"
        draft.problems.append((path, told))
    return tuple(
        Run(part=part, blocks=beside.blocks) for part, beside in found if part is not None and beside is not None
    )


def _draft_run(
    kind: str, raw: Any, path: KeyPath, registry: Registry, draft: Draft
) -> tuple[AnyPart | None, Beside | None]:
    """A part in a list, and what stands beside it."""
    if isinstance(raw, str | None):
        raw = {} if raw is None else {"type": raw}
    if not isinstance(raw, dict):
        return _draft_one(kind, raw, path, registry, draft), None
    keys = KINDS[kind].beside
    beside = _validate(Beside, {key: raw[key] for key in keys if key in raw}, path, draft, others=())
    part = _draft_one(kind, {key: value for key, value in raw.items() if key not in keys}, path, registry, draft)
    return part, beside


def _draft_one(kind: str, raw: Any, path: KeyPath, registry: Registry, draft: Draft) -> AnyPart | None:
    """A part that stands in a section, alone or in a list."""
    if path[0] not in draft.needs:
        return _kept_part(kind, {"type": raw} if isinstance(raw, str) else raw, path, registry, draft)
    found = _draft_part(kind, raw, path, registry, draft)
    if found is not None:
        draft.parts[path] = found
    return found


def _kept_part(kind: str, raw: Any, path: KeyPath, registry: Registry, draft: Draft) -> AnyPart | None:
    """A part that is not needed: as zoo wrote it where it cannot be checked here."""
    alone = Draft(draft.tree)
    found = _draft_part(kind, raw, path, registry, alone)
    if found is not None:
        return found
    if draft.recorded is None or not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        draft.problems.extend(alone.problems)
        return None
    options = AsWritten(**{key: value for key, value in raw.items() if key != "type"})
    absent, version = draft.recorded.absent(registry), draft.recorded.part(kind, raw["type"])
    problem = "; ".join(f"{dotted(key)}: {message}" for key, message in alone.problems)
    if alone.missing and absent:
        problem = draft.recorded.refusal([message for _, message in alone.missing], registry)
    own = absent if version is None else {version.plugin: draft.recorded.packages[version.plugin]}
    versions = () if version is None else (version,)
    return KeptPart(type=raw["type"], options=options, plugins=own, versions=versions, problem=problem)


def _draft_part(
    kind: str, raw: Any, path: KeyPath, registry: Registry, draft: Draft, default: PartEntry | None = None
) -> PartSpec | None:
    """A part with those inside it.

    Args:
        kind: of the part.
        raw: what the recipe says.
        path: where it stands.
        registry: the parts to choose from.
        draft: takes what is wrong.
        default: the part if the recipe names none; its kind's if left out.
    """
    if raw is None:
        raw = {}
    if isinstance(raw, str):
        raw = {"type": raw}
    if not isinstance(raw, dict):
        draft.problems.append((path, f"should be a part's name or a mapping with `type`, got {show(raw)}"))
        return None
    entry = _entry(kind, raw, path, registry, draft, default)
    if entry is None:
        return None
    before, nested = len(draft.problems), entry.signature.parts
    given = {key: value for key, value in raw.items() if key != "type" and key not in nested}
    beside = KINDS[kind].beside if isinstance(path[-1], int) else ()
    options = _validate(entry.signature.options, given, path, draft, others=["type", *beside, *nested])
    parts = {
        name: _draft_nested(inside, raw.get(name), (*path, name), registry, draft) for name, inside in nested.items()
    }
    if options is None or len(draft.problems) > before:
        return None
    options = located(options, lambda name: draft.tree.origin_of((*path, name)).file if name in given else None)
    return PartSpec(entry=entry, options=options, parts=parts)


def _entry(
    kind: str, raw: dict[str, Any], path: KeyPath, registry: Registry, draft: Draft, default: PartEntry | None
) -> PartEntry | None:
    name = raw.get("type")
    if name is None and default is not None:
        return default
    name = name or KINDS[kind].default
    if name is None:
        names = ", ".join(entry.name for entry in registry.entries(kind))
        where = (*path, "type") if raw else path
        draft.problems.append((where, f"missing; it is required, one of: {names}"))
        return None
    if not isinstance(name, str):
        draft.problems.append(((*path, "type"), f"should be a part's name, got {show(name)}"))
        return None
    try:
        return registry.get(kind, name)
    except PluginError as error:
        draft.problems.append(((*path, "type"), str(error)))
        draft.missing.append(((*path, "type"), f"{kind} {name!r}"))
        return None


def _draft_nested(nested: Nested, raw: Any, path: KeyPath, registry: Registry, draft: Draft) -> PartSpec | None:
    """The part that an option holds; None for none."""
    if raw is None and nested.default is None and not nested.required:
        return None
    try:
        default = None if nested.default is None else registry.entry_of(nested.default)
    except PluginError as error:
        draft.problems.append((path, f"its default: {error}"))
        draft.fault = error
        return None
    return _draft_part(nested.kind, raw, path, registry, draft, default)


def _validate(model: type[M], raw: dict[str, Any], path: KeyPath, draft: Draft, others: Iterable[str]) -> M | None:
    try:
        # As JSON, so that strict types still take a list for a tuple.
        options = model.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        problems = list(problems_of(error, model, raw, others))
    else:
        problems = list(problems_of_coerced(raw, options.model_dump(mode="json")))
    draft.problems.extend(((*path, *below), message) for below, message in problems)
    return None if problems else options
