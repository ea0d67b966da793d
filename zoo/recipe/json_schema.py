"""A JSON schema of recipes, derived from the installed parts."""

from __future__ import annotations

from typing import Any

from zoo.kinds import KINDS, key_of, kinds_of
from zoo.part_entries import PartEntry
from zoo.recipe.options import RecipeOptions
from zoo.recipe.parts import BESIDE
from zoo.recipe.schema import SECTIONS
from zoo.registry import Registry

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def recipe_schema(registry: Registry) -> dict[str, Any]:
    """A schema that accepts recipes for these parts.

    What has a default may be null, which means that default. A recipe that ``extends`` another may leave anything out,
    and override single options of a part; any other needs what has no default. Sums and divisions are checked by zoo
    alone.
    """
    definitions: dict[str, Any] = {}
    whole = {name: _section(name, registry, definitions, partial=False) for name in SECTIONS}
    partial = {name: _section(name, registry, definitions, partial=True) for name in SECTIONS}
    own = RecipeOptions.model_json_schema()["properties"]
    return {
        "$schema": DRAFT,
        "title": "zoo recipe",
        "type": "object",
        "properties": {
            **{key: _nullable(schema) for key, schema in own.items()},
            "extends": {"type": "string", "description": "another recipe, by path or name, that this one overrides"},
            **{section: {"type": "object" if section == "backbone" else ["object", "null"]} for section in SECTIONS},
        },
        "additionalProperties": False,
        "if": {"required": ["extends"]},
        "then": {"properties": {section: _nullable(schema) for section, schema in partial.items()}},
        "else": {
            "properties": {section: _nullable(schema) for section, schema in whole.items()},
            "required": ["backbone"],
        },
        "$defs": definitions,
    }


def _section(section: str, registry: Registry, definitions: dict[str, Any], *, partial: bool) -> dict[str, Any]:
    own = SECTIONS[section][0].model_json_schema()
    properties = dict(own["properties"])
    if section == "backbone":
        properties["latent"] = {"anyOf": [_with_nulls(form, partial=partial) for form in own["$defs"].values()]}
    else:
        definitions |= own.get("$defs", {})
    required = list(own.get("required", []))
    for kind in kinds_of(section):
        if KINDS[kind].many:  # replaced as a whole, so that its parts are whole in a recipe that extends another, too
            properties[key_of(kind)] = {
                "type": "array",
                "items": _listed(kind, registry, definitions),
                "minItems": 0 if KINDS[kind].may_be_none else 1,
                "default": list(KINDS[kind].defaults),
            }
            continue
        default = KINDS[kind].default
        properties[kind] = _part(kind, registry, definitions, default, partial=partial)
        if KINDS[kind].beside:
            runs = {"type": "array", "items": _listed(kind, registry, definitions), "minItems": 1}
            properties[kind] = {**properties[kind], "anyOf": [*properties[kind]["anyOf"], runs]}
        required += [] if default else [kind]
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return _with_nulls(schema, partial=partial)


def _listed(kind: str, registry: Registry, definitions: dict[str, Any]) -> dict[str, Any]:
    """A part in a list, where something may stand beside its type: of a block, how many there are."""
    if not KINDS[kind].beside:
        return _part(kind, registry, definitions, partial=False)
    beside = _with_nulls(BESIDE[kind].model_json_schema(), partial=False)
    branches: list[dict[str, Any]] = []
    for entry in registry.entries(kind):
        part = _mapping(entry, f"{kind}_listed.{entry.name}", registry, definitions, partial=False)
        properties = {"type": part["properties"].pop("type"), **beside["properties"], **part["properties"]}
        required = [*([] if entry.name == KINDS[kind].default else ["type"]), *beside["required"], *part["required"]]
        branches.append({**part, "properties": properties, "required": required})
    bare = [entry.name for entry in registry.entries(kind) if not entry.signature.required]
    return {"anyOf": [*([] if beside["required"] else [{"enum": bare}]), *branches]}


def _part(
    kind: str, registry: Registry, definitions: dict[str, Any], default: str | None = None, *, partial: bool
) -> dict[str, Any]:
    """A part of a kind, which is defined once: a bare name, or a mapping that names it by ``type``.

    A mapping without ``type`` is the ``default``; where it overrides another part, ``partial``, it may leave out any.
    """
    key = f"{kind}_override" if partial else kind
    if key not in definitions:
        definitions[key] = {}  # a part may hold parts of its own kind
        entries = registry.entries(kind)
        bare = [entry.name for entry in entries if not entry.signature.required]
        branches: list[dict[str, Any]] = []
        for entry in entries:
            name = f"{key}.{entry.name}"
            definitions[name] = _mapping(entry, name, registry, definitions, partial=partial)
            branches.append({"$ref": f"#/$defs/{name}", **({} if partial else {"required": ["type"]})})
        definitions[key] = {"anyOf": [{"enum": bare}, *branches]}
    part = {"$ref": f"#/$defs/{key}"}
    if default is None:
        return part
    forms = [part, {"$ref": f"#/$defs/{key}.{default}"}]
    if KINDS[kind].short:  # which that of the default has
        forms.append({"$ref": f"#/$defs/{key}.{default}/properties/{KINDS[kind].short}"})
    return {"anyOf": forms, "default": default}


def _mapping(
    entry: PartEntry, name: str, registry: Registry, definitions: dict[str, Any], *, partial: bool
) -> dict[str, Any]:
    """One part with its options; ``name`` is what its definition is called."""
    options = entry.signature.options.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    definitions |= {f"{name}.{model}": below for model, below in options.pop("$defs", {}).items()}
    nested = {
        option: _part(inside.kind, registry, definitions, inside.default_name, partial=partial)
        for option, inside in entry.signature.parts.items()
    }
    properties = {**options.get("properties", {}), **nested}
    schema = _with_nulls({"properties": properties, "required": list(entry.signature.required)}, partial=partial)
    return {
        "title": f"{entry.kind} {entry.name}",
        "description": entry.summary,
        "type": "object",
        "properties": {"type": {"const": entry.name}, **schema["properties"]},
        "required": schema["required"],
        "additionalProperties": False,
    }


def _with_nulls(schema: dict[str, Any], *, partial: bool) -> dict[str, Any]:
    """A mapping whose keys may be null, but for those that it requires; ``partial`` requires none."""
    required = [] if partial else schema.get("required", [])
    properties = {
        name: each if name in required else _nullable(each) for name, each in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties, "required": required}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}
