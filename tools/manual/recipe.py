"""Every section and key of a recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator

from manual.options import Row, model_rows
from manual.text import code, docstring, page, table
from zoo.kinds import KINDS, base_of, key_of, kinds_of
from zoo.recipe.options import RecipeOptions
from zoo.recipe.schema import SECTIONS

HEADS = ("key", "type and bounds", "default", "what it is")


def recipe_page() -> str:
    """The sections of a recipe, key by key."""
    name, *others = model_rows(RecipeOptions)
    extends = ("`extends`", "`string`", "none", "another recipe, by path or name, that this one overrides")
    return page(
        "# Every key of a recipe",
        "A recipe is a YAML file. Only `backbone` must be there, unless it `extends` another, which it overrides key by"
        " key. What has a default may be left out, or be `null`, which means that default. `--set"
        " section.key=value` overrides a key on the command line. A part is a name, or a mapping of its `type` and its"
        " options: see [Parts](parts/index.md).",
        code("zoo schema > zoo.schema.json  # for yaml-language-server and check-jsonschema", "bash"),
        "## recipe",
        "What stands beside the sections:",
        table(HEADS, [(*name[:2], "the file's", "what runs and weights are called by"), extends, *others]),
        *(block for section in SECTIONS for block in _section(section)),
    )


def _section(section: str) -> Iterator[str]:
    options, whole = SECTIONS[section]
    yield f"## {section}"
    yield docstring(whole).first
    yield table(HEADS, [*model_rows(options), *map(_kind, kinds_of(section))])


def _kind(kind: str) -> Row:
    record = KINDS[kind]
    default = f"`{record.default}`" if record.default else "must be said"
    if record.many:
        default = f"`{json.dumps(list(record.defaults))}`"
    several = "a list of parts" if record.many else "a part"
    return f"`{key_of(kind)}`", f"[{several}: {kind}](parts/{kind}.md)", default, docstring(base_of(kind)).first
