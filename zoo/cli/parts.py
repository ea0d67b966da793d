"""``zoo parts``: what a recipe can be composed of."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from zoo.cli.common import PartsFiles, console, installed_registry
from zoo.cli.kinds_option import ALL, kinds_asked
from zoo.part_entries import PartEntry
from zoo.plugins import HASHED, Plugin


def parts(
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="Only parts of this kind, or of several: block,mlp."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    files: PartsFiles = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the tracebacks of plug-ins that failed.")] = False,
) -> None:
    """List parts: name, options with defaults and bounds, and the plug-in or file that each comes from.

    An option such as `mlp: mlp = gelu` is a part itself, of that kind, with options of its own.
    """
    kinds = kinds_asked(kind or [ALL])
    registry = installed_registry(files, debug=debug)
    entries = [entry for each in kinds for entry in registry.entries(each)]
    if as_json:
        print(json.dumps([_plain(entry) for entry in entries], indent=2))
    else:
        table = Table("kind", "part", "options", "what it is", "from", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        before = None
        for entry in entries:
            table.add_row(
                "" if entry.kind == before else entry.kind,
                f"[bold]{entry.name}[/]" + (f" (version {entry.version})" if entry.version > 1 else ""),
                escape("\n".join(describe_options(entry))) or "-",
                escape(entry.summary.replace("``", "`")),  # as a terminal shows code
                _from(entry.plugin),
            )
            before = entry.kind
        console().print(table)
    if not debug and any(problem.error for problem in registry.problems):
        print("(zoo parts --debug shows the tracebacks)", file=sys.stderr)


def _from(plugin: Plugin) -> str:
    """Where a part comes from; of a file's hash so much as people compare."""
    return str(plugin)[: len(f"{plugin.name} {HASHED}") + 8] if plugin.is_file else str(plugin)


def describe_options(entry: PartEntry) -> list[str]:
    """Each option with its type, bounds and default: ``blocks: integer >= 1 = 3``; or its kind: ``mlp: mlp = gelu``."""
    schema = entry.signature.options.model_json_schema()
    found = []
    for name, option in schema.get("properties", {}).items():
        default = f" = {json.dumps(option['default'])}" if "default" in option else ", required"
        found.append(f"{name}: {type_words(option, schema.get('$defs', {}))}{default}")
    for name, nested in entry.signature.parts.items():
        default = ", required" if nested.required else f" = {nested.default_name or 'none'}"
        found.append(f"{name}: {nested.kind}{default}")
    return found


def type_words(option: dict[str, Any], definitions: dict[str, Any]) -> str:
    """The type and bounds of an option: ``number > 0.0 and <= 64.0``.

    Args:
        option: its JSON schema.
        definitions: the ``$defs`` that it refers to.
    """
    if "$ref" in option:
        below = definitions[option["$ref"].rsplit("/", 1)[-1]]
        if "properties" not in below:  # an Enum's
            return type_words(below, definitions)
        inner = ", ".join(f"{key}: {type_words(value, definitions)}" for key, value in below["properties"].items())
        return f"{{{inner}}}"
    if "const" in option:
        return str(option["const"])
    if "enum" in option:
        return " | ".join(map(str, option["enum"]))
    if choices := option.get("anyOf", option.get("oneOf")):
        return " or ".join(type_words(each, definitions) for each in choices)
    if "prefixItems" in option:
        return f"[{', '.join(type_words(each, definitions) for each in option['prefixItems'])}]"
    if option.get("type") == "array" and option.get("minItems") == option.get("maxItems") == 2:
        item = type_words(option["items"], definitions)
        return f"[{item}, {item}]"
    if option.get("type") == "array":
        least, most = option.get("minItems", 0), option.get("maxItems")
        length = f" ({least} to {most})" if most is not None else f" ({least} or more)" * bool(least)
        return f"list{length} of {type_words(option.get('items', {}), definitions)}"
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = " and ".join(f"{sign} {option[key]}" for key, sign in signs.items() if key in option)
    return f"{option.get('type', 'any')} {bounds}".strip()


def _plain(entry: PartEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "summary": entry.summary,
        "options": entry.signature.options.model_json_schema(),
        "parts": {
            name: {"kind": nested.kind, "default": nested.default_name, "required": nested.required}
            for name, nested in entry.signature.parts.items()
        },
        "plugin": entry.plugin.name,
        "version": entry.plugin.version,
        "part_version": entry.version,
    }
