"""A JSON schema of recipes, derived from the installed parts."""

from __future__ import annotations

from typing import Any

from zoo.kinds import KINDS, key_of, kinds_of
from zoo.recipe.schema import SECTIONS, RecipeOptions
from zoo.registry import PartEntry, Registry

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
    name = RecipeOptions.model_json_schema()["properties"]["name"]
    return {
        "$schema": DRAFT,
        "title": "zoo recipe",
        "type": "object",
        "properties": {
            "name": _nullable(name),
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
    required = list(own.get("required", []))
    for kind in kinds_of(section):
        if KINDS[kind].many:  # replaced as a whole, so that its parts are whole in a recipe that extends another, too
            definitions[kind] = _part(registry.entries(kind), definitions, partial=False)
            properties[key_of(kind)] = {
                "type": "array",
                "items": {"$ref": f"#/$defs/{kind}"},
                "minItems": 1,
                "default": list(KINDS[kind].defaults),
            }
            continue
        key = f"{kind}_override" if partial else kind
        definitions[key] = _part(registry.entries(kind), definitions, partial=partial)
        default = KINDS[kind].default
        properties[kind] = {"$ref": f"#/$defs/{key}", **({"default": default} if default else {})}
        required += [] if default else [kind]
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return _with_nulls(schema, partial=partial)


def _part(entries: tuple[PartEntry, ...], definitions: dict[str, Any], *, partial: bool) -> dict[str, Any]:
    """A bare name, or a mapping with the options of the part that ``type`` names."""
    by_name = {entry.name: _options(entry, definitions) for entry in entries}
    bare = [name for name, options in by_name.items() if not options.get("required")]
    default = KINDS[entries[0].kind].default if entries else None
    branches: list[dict[str, Any]] = []
    for entry in entries:
        name, options = entry.name, _with_nulls(by_name[entry.name], partial=partial)
        required = [*options["required"], *([] if partial or name == default else ["type"])]
        branches.append(
            {
                "title": f"{entry.kind} {name}",
                "description": entry.summary,
                "type": "object",
                "properties": {"type": {"const": name}, **options["properties"]},
                "required": required,
                "additionalProperties": False,
            }
        )
    return {"anyOf": [{"enum": bare}, *branches]}


def _options(entry: PartEntry, definitions: dict[str, Any]) -> dict[str, Any]:
    prefix = f"{entry.kind}.{entry.name}."
    schema = entry.signature.options.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    for name, below in schema.pop("$defs", {}).items():
        definitions[prefix + name] = below
    return schema


def _with_nulls(schema: dict[str, Any], *, partial: bool) -> dict[str, Any]:
    """A mapping whose keys may be null, but for those that it requires; ``partial`` requires none."""
    required = [] if partial else schema.get("required", [])
    properties = {
        name: each if name in required else _nullable(each) for name, each in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties, "required": required}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}
