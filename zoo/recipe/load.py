"""From a tree to a draft: what a recipe says, checked against the schema and the registry, with every problem."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from zoo.companions import UNKNOWN, pip_install
from zoo.errors import KeyPath, PluginError, dotted, near
from zoo.kinds import KINDS, key_of, kinds_of, path_of
from zoo.part_entries import PartEntry
from zoo.plugins import Plugin, not_installed
from zoo.recipe.draft import Draft
from zoo.recipe.merge import expand_part, without_nulls
from zoo.recipe.messages import MISSING, OTHERS, Problem, called_here, misspelt, problems_of, problems_of_coerced
from zoo.recipe.misspelt import leave_out_what_follows
from zoo.recipe.options import RecipeOptions
from zoo.recipe.parts import BESIDE, AnyPart, AsWritten, BlockRun, KeptPart, PartSpec, Term
from zoo.recipe.places import located
from zoo.recipe.recorded import Recorded
from zoo.recipe.schema import SECTIONS
from zoo.recipe.source import Node, Origin, node_of, show
from zoo.registry import Registry
from zoo.signature import Nested

M = TypeVar("M", bound=BaseModel)


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
    draft = Draft(tree, registry, recorded=recorded, needs=needs)
    raw = without_nulls(tree).plain()
    sections = {name: raw.pop(name, None) for name in SECTIONS}
    own = _validate(RecipeOptions, raw, (), draft, others=["extends", *SECTIONS])
    if own:
        draft.name, draft.packages = own.name, own.packages
    for name, given in sections.items():
        if given is None and name == "backbone":
            draft.put_down((name,), MISSING)
        elif not isinstance(given, dict | None):
            draft.put_down((name,), f"should be a mapping, got {show(given)}")
        else:
            _draft_section(name, given or {}, draft)
    _tell_where_options_are(draft, ())
    leave_out_what_follows(draft)
    if draft.missing:
        for package in not_installed(draft.packages):
            draft.put_down(("packages",), f"{package} is not installed; {pip_install(Plugin(package, UNKNOWN))}")
    return draft


def part_given(kind: str, given: Any, registry: Registry) -> PartSpec:
    """A part that stands in a section, from Python in any form that a recipe takes.

    Raises:
        ValueError: it is none, or its options are wrong; the message has everything that is.
    """
    tree = expand_part(node_of(given, Origin(kind)), path_of(kind))
    draft = Draft(tree, registry)
    found = _draft_part(kind, without_nulls(tree).plain(), (kind,), draft)
    leave_out_what_follows(draft)
    if found is None:
        raise ValueError("; ".join(f"{dotted(problem.path)}: {problem.message}" for problem in draft.problems))
    return found


def _draft_section(section: str, raw: dict[str, Any], draft: Draft) -> None:
    options, kinds = SECTIONS[section][0], kinds_of(section)
    keys = [key_of(kind) for kind in kinds]
    plain = {key: value for key, value in raw.items() if key not in keys}
    before = len(draft.problems)
    valid = _validate(options, plain, (section,), draft, others=keys)
    if valid:
        valid = located(valid, lambda name: draft.tree.origin_of((section, name)).file if name in plain else None)
    bad = {problem.path[1] for problem in draft.problems[before:] if len(problem.path) > 1}
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
            found: Any = _draft_parts(kind, given, draft)
        elif KINDS[kind].beside:
            found = _draft_runs(kind, given, draft)
        else:
            found = _draft_one(kind, given, (section, kind), draft)
        if found is not None:
            draft.values[section][key_of(kind)] = found
    _tell_where_options_are(draft, (section,), before)


def _tell_where_options_are(draft: Draft, above: KeyPath, first: int = 0) -> None:
    """Of options that are written ``above`` and belong below, say so in place of what is spelled alike."""
    whose = above[0] if above else "a recipe"
    for index, problem in enumerate(draft.problems[first:], start=first):
        key = problem.path[-1]
        if problem.path != (*above, key) or not problem.message.startswith("unknown option"):
            continue
        if above and called_here(str(key), [str(place[-1]) for place in problem.meant]):
            continue
        named = str(key) if above else next((own for own, others in OTHERS.items() if key in others), str(key))
        if found := _places_of(named, above, draft) or _places_of(str(key), above, draft):
            message = f"unknown option of {whose} itself; write {' or '.join(map(dotted, found[:3]))}"
            draft.problems[index] = problem._replace(message=message, meant=found)


def _places_of(key: str, above: KeyPath, draft: Draft) -> list[KeyPath]:
    """Where an option of that name may be written, of the parts there are: the places that are nearest to the top."""
    found: list[KeyPath] = []
    for section in above or SECTIONS:
        known = [*SECTIONS[str(section)][0].model_fields, *map(key_of, kinds_of(str(section)))]
        found += [(section, key)] if key in known else []
        for path, spec in draft.parts.items():
            if path[0] == section:
                found += _places_in(key, path, spec)
    return [path for path in found if len(path) == min(map(len, found))]


def _places_in(key: str, path: KeyPath, spec: PartSpec) -> Iterator[KeyPath]:
    """The same in a part, and in those inside it."""
    if key in spec.entry.signature.options.model_fields or key in spec.entry.signature.parts:
        yield (*path, key)
    for slot, inside in spec.parts.items():
        if inside is not None:
            yield from _places_in(key, (*path, slot), inside)


def _draft_parts(kind: str, raw: Any, draft: Draft) -> tuple[AnyPart | Term, ...] | None:
    """The parts of a kind of which a recipe holds several."""
    path = path_of(kind)
    if raw is None:
        raw = list(KINDS[kind].defaults)
    if not isinstance(raw, list) or not (raw or KINDS[kind].may_be_none):
        draft.put_down(path, f"should be a list of parts, got {show(raw)}")
        return None
    if KINDS[kind].beside:
        listed = [_draft_listed(kind, each, (*path, index), draft) for index, each in enumerate(raw)]
        return tuple(Term(part=part, weight=own.weight) for part, own in listed if part is not None and own is not None)
    found = [_draft_one(kind, each, (*path, index), draft) for index, each in enumerate(raw)]
    return tuple(each for each in found if each is not None)


def _draft_runs(kind: str, raw: Any, draft: Draft) -> tuple[BlockRun, ...] | None:
    """The blocks: all of one part, or a list of runs that add up to the depth."""
    path, depth = path_of(kind), draft.values["backbone"].get("depth")
    if not isinstance(raw, list):
        stray = [key for key in KINDS[kind].beside if isinstance(raw, dict) and key in raw]  # and no option's name
        for key in stray:
            run = f"{{type: {raw.get('type', KINDS[kind].default)}, {key}: {show(raw[key])}}}"
            draft.put_down((*path, key), f"is for a list: write [{run}, ...], or leave it out")
            raw = {each: value for each, value in raw.items() if each not in stray}
        part = _draft_one(kind, raw, path, draft)
        return None if part is None or depth is None else (BlockRun(part=part, blocks=depth),)
    found = [_draft_listed(kind, each, (*path, index), draft) for index, each in enumerate(raw)]
    counts = [beside.blocks for _, beside in found if beside is not None]
    if not found:
        draft.put_down(path, "should be a part or a list of runs, got []")
    elif len(counts) == len(found) and depth is not None and sum(counts) != depth:
        added = f"{' + '.join(map(str, counts))} = " if len(counts) > 1 else ""
        told = f"block counts must add up to depth: {added}{sum(counts)}, but backbone.depth is {depth}"
        draft.put_down(path, told)
    return tuple(
        BlockRun(part=part, blocks=beside.blocks) for part, beside in found if part is not None and beside is not None
    )


def _draft_listed(kind: str, raw: Any, path: KeyPath, draft: Draft) -> tuple[AnyPart | None, Any]:
    """A part in a list, and what stands beside it."""
    if isinstance(raw, str | None):
        raw = {} if raw is None else {"type": raw}
    if not isinstance(raw, dict):
        return _draft_one(kind, raw, path, draft), None
    keys = KINDS[kind].beside
    beside = _validate(BESIDE[kind], {key: raw[key] for key in keys if key in raw}, path, draft, others=())
    part = _draft_one(kind, {key: value for key, value in raw.items() if key not in keys}, path, draft)
    return part, beside


def _draft_one(kind: str, raw: Any, path: KeyPath, draft: Draft) -> AnyPart | None:
    """A part that stands in a section, alone or in a list."""
    if path[0] not in draft.needs:
        return _kept_part(kind, {"type": raw} if isinstance(raw, str) else raw, path, draft)
    found = _draft_part(kind, raw, path, draft)
    if found is not None:
        draft.parts[path] = found
    return found


def _kept_part(kind: str, raw: Any, path: KeyPath, draft: Draft) -> AnyPart | None:
    """A part that is not needed: as zoo wrote it where it cannot be checked here."""
    alone = Draft(draft.tree, draft.registry)
    found = _draft_part(kind, raw, path, alone)
    if found is not None:
        return found
    if draft.recorded is None or not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        draft.problems.extend(alone.problems)
        return None
    options = AsWritten(**{key: value for key, value in raw.items() if key != "type"})
    absent, version = draft.recorded.absent(draft.registry), draft.recorded.part(kind, raw["type"])
    problem = "; ".join(f"{dotted(each.path)}: {each.message}" for each in alone.problems)
    if alone.missing and absent:
        problem = draft.recorded.refusal([message for _, message in alone.missing], draft.registry)
    own = absent if version is None else {version.plugin: draft.recorded.packages[version.plugin]}
    versions = () if version is None else (version,)
    return KeptPart(type=raw["type"], options=options, plugins=own, versions=versions, problem=problem)


def _draft_part(kind: str, raw: Any, path: KeyPath, draft: Draft, default: PartEntry | None = None) -> PartSpec | None:
    """A part with those inside it; ``default`` is the one if the recipe names none, or else its kind's."""
    if raw is None:
        raw = {}
    if isinstance(raw, str):
        raw = {"type": raw}
    if not isinstance(raw, dict):
        told = f"should be a part's name or a mapping with `type`, got {show(raw)}"
        many = f"{path[-1]}s"  # heads, which take a number, and not head
        meant = [(path[0], many)] if many in _options_beside(path) else []
        hint = f"; did you mean {many!r}?" if meant else ""
        draft.problems.append(Problem(path, told + hint, meant=meant))
        return None
    entry = _entry(kind, raw, path, draft, default)
    if entry is None:
        return None
    before, nested = len(draft.problems), entry.signature.parts
    given = {key: value for key, value in raw.items() if key != "type" and key not in nested}
    beside = KINDS[kind].beside if isinstance(path[-1], int) else ()
    if key := _misspelt_type(given, ["type", *beside, *entry.signature.options.model_fields, *nested]):
        draft.problems.append(misspelt((*path, key), "type"))  # the others are for the part that it names
        return None
    options = _validate(entry.signature.options, given, path, draft, others=["type", *beside, *nested])
    parts = {name: _draft_nested(inside, raw.get(name), (*path, name), draft) for name, inside in nested.items()}
    if options is None or len(draft.problems) > before:
        return None
    options = located(options, lambda name: draft.tree.origin_of((*path, name)).file if name in given else None)
    return PartSpec(entry=entry, options=options, parts=parts)


def _options_beside(path: KeyPath) -> Collection[str]:
    """The options of the section that a part stands in, by itself."""
    return SECTIONS[str(path[0])][0].model_fields if len(path) == 2 and path[0] in SECTIONS else ()


def _misspelt_type(raw: dict[str, Any], known: Collection[str]) -> str | None:
    """The key of a text that is meant to be ``type``; None where there is none."""
    texts = (key for key, value in raw.items() if isinstance(value, str) and key not in known)
    return next((key for key in texts if near(key, known) == "type"), None)


def _entry(kind: str, raw: dict[str, Any], path: KeyPath, draft: Draft, default: PartEntry | None) -> PartEntry | None:
    name = raw.get("type")
    if name is None and default is not None:
        return default
    name = name or KINDS[kind].default
    if name is None and (key := _misspelt_type(raw, ["type"])):
        draft.problems.append(misspelt((*path, key), "type"))
        return None
    if name is None:
        names = ", ".join(draft.registry.names(kind))
        where = (*path, "type") if raw else path
        draft.put_down(where, f"{MISSING}, one of: {names}")
        return None
    if not isinstance(name, str):
        draft.put_down((*path, "type"), f"should be a part's name, got {show(name)}")
        return None
    try:
        return draft.registry.get(kind, name)
    except PluginError as error:
        draft.put_down((*path, "type"), str(error))
        draft.missing.append(((*path, "type"), f"{kind} {name!r}"))
        return None


def _draft_nested(nested: Nested, raw: Any, path: KeyPath, draft: Draft) -> PartSpec | None:
    """The part that an option holds; None for none."""
    if raw is None and nested.default is None and not nested.required:
        return None
    try:
        default = None if nested.default is None else draft.registry.entry_of(nested.default)
    except PluginError as error:
        draft.put_down(path, f"its default: {error}")
        draft.fault = error
        return None
    return _draft_part(nested.kind, raw, path, draft, default)


def _validate(model: type[M], raw: dict[str, Any], path: KeyPath, draft: Draft, others: Iterable[str]) -> M | None:
    try:
        # As JSON, so that strict types still take a list for a tuple.
        options = model.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        problems = list(problems_of(error, model, raw, others))
    else:
        problems = list(problems_of_coerced(raw, options.model_dump(mode="json")))
    for below, message, _, meant in problems:
        draft.problems.append(Problem((*path, *below), message, meant=[(*path, *place) for place in meant]))
    return None if problems else options
