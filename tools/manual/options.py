"""Options as tables: what a recipe may say of a part, and of a section."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from manual.text import docstring, escaped, table
from zoo.cli.parts import type_words
from zoo.part_entries import PartEntry
from zoo.signature import Nested

HEADS = ("option", "type and bounds", "default", "what it is")
Row = tuple[str, str, str, str]


def options_table(entry: PartEntry) -> str:
    """The options of a part; empty where it has none."""
    said = docstring(entry.cls).sections.get("Options", {})
    values = model_rows(entry.signature.options, said)
    return table(HEADS, [*values, *(_part(name, each, said) for name, each in entry.signature.parts.items())])


def model_rows(model: type[BaseModel], said: Mapping[str, str] | None = None) -> Iterator[Row]:
    """The fields of a model, each with what is said of it, or else with its description."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    for name, field in schema.get("properties", {}).items():
        words = (said or {}).get(name) or escaped(_described(field, definitions))
        default = f"`{json.dumps(field['default'])}`" if "default" in field else "must be said"
        yield f"`{name}`", f"`{type_words(field, definitions)}`", default, words


def _described(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """The description of a field, or those of the forms that it may have."""
    forms = [definitions[each["$ref"].rsplit("/", 1)[-1]] for each in field.get("oneOf", ()) if "$ref" in each]
    return str(field.get("description") or " ".join(form["description"] for form in forms))


def _part(name: str, nested: Nested, said: Mapping[str, str]) -> Row:
    default = "must be said" if nested.required else f"`{nested.default_name or 'none'}`"
    return f"`{name}`", f"[a part: {nested.kind}]({nested.kind}.md)", default, said.get(name, "")
