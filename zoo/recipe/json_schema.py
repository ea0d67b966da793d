"""A JSON schema of recipes, derived from the installed parts."""

from __future__ import annotations

from typing import Any

from zoo.recipe.schema import DEFAULT_PARTS, BackboneOptions, RecipeOptions
from zoo.registry import KINDS, PartEntry, Registry

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def recipe_schema(registry: Registry) -> dict[str, Any]:
    """A schema that accepts recipes for these parts.

    A recipe that ``extends`` another may leave anything out, override single options of a part, and write null for the
    default; any other needs what has no default. Sums and divisions are checked by zoo alone.
    """
    definitions: dict[str, Any] = {}
    whole = _backbone(registry, definitions, partial=False)
    partial = _backbone(registry, definitions, partial=True)
    name = RecipeOptions.model_json_schema()["properties"]["name"]
    return {
        "$schema": DRAFT,
        "title": "zoo recipe",
        "type": "object",
        "properties": {
            "name": name,
            "extends": {"type": "string", "description": "another recipe, by path or name, that this one overrides"},
            "backbone": {"type": "object"},
        },
        "additionalProperties": False,
        "if": {"required": ["extends"]},
        "then": {"properties": {"backbone": partial}},
        "else": {"properties": {"backbone": whole}, "required": ["backbone"]},
        "$defs": definitions,
    }


def _backbone(registry: Registry, definitions: dict[str, Any], *, partial: bool) -> dict[str, Any]:
    own = BackboneOptions.model_json_schema()
    latent = own.pop("$defs")["LatentRecipe"]
    properties = {**own["properties"], "latent": _partial(latent) if partial else latent}
    for kind in KINDS:
        key = f"{kind}_override" if partial else kind
        definitions[key] = _part(registry.entries(kind), definitions, partial=partial)
        properties[kind] = {"$ref": f"#/$defs/{key}", **_default(kind)}
    schema = {
        "type": "object",
        "properties": {name: _nullable(each) if partial else each for name, each in properties.items()},
        "additionalProperties": False,
    }
    return schema if partial else {**schema, "required": [*own["required"], "patch_schedule"]}


def _default(kind: str) -> dict[str, Any]:
    return {"default": DEFAULT_PARTS[kind]} if kind in DEFAULT_PARTS else {}


def _part(entries: tuple[PartEntry, ...], definitions: dict[str, Any], *, partial: bool) -> dict[str, Any]:
    """A bare name, or a mapping with the options of the part that ``type`` names."""
    by_name = {entry.name: _options(entry, definitions) for entry in entries}
    bare = [name for name, options in by_name.items() if not options.get("required")]
    default = DEFAULT_PARTS.get(entries[0].kind) if entries else None
    branches: list[dict[str, Any]] = []
    for entry in entries:
        name, options = entry.name, by_name[entry.name]
        options = _partial(options) if partial else options
        required = [*options.get("required", []), *([] if partial or name == default else ["type"])]
        branches.append(
            {
                "title": f"{entry.kind} {name}",
                "description": entry.summary,
                "type": "object",
                "properties": {"type": {"const": name}, **options.get("properties", {})},
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


def _partial(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {name: _nullable(each) for name, each in schema.get("properties", {}).items()}
    return {**schema, "properties": properties, "required": []}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}
