"""A scrap of recipe for each kind, which is a recipe that zoo takes."""

from __future__ import annotations

import textwrap
from functools import cache
from typing import Any

import yaml

from manual.costs import home_of, part_of
from manual.packages import recipes, registry
from zoo.assembly import load_recipe
from zoo.kinds import KINDS, key_of
from zoo.part_entries import PartEntry
from zoo.recipe.parts import BESIDE

PLAIN = "dit_b"
"""What a recipe extends where any would do."""

WIDTH = 70
"""Of a part on one line."""


@cache
def example(kind: str) -> str:
    """A recipe with a built-in part of a kind: if it can be, one that is no default, and has options."""
    record, defaults = KINDS[kind], _defaults(kind)
    own = [entry for entry in registry().entries(kind) if entry.plugin.name == "zoo" and _is_whole(entry)]
    for entry in sorted(own, key=lambda entry: (entry.name in defaults, not _options(entry))):
        part = {"type": entry.name, **_options(entry)}
        if record.section in ("backbone", None):
            home = home_of(entry, part)
            if home is not None:
                return _written(home.base, home.key, part)
        else:
            return _written(PLAIN, f"{record.section}.{key_of(kind)}", _listed(entry, part) if record.many else part)
    hybrid = load_recipe(recipes()["hybrid_b"], registry=registry())
    return _written("", f"{record.section}.{kind}", hybrid.resolved()[record.section or ""][kind])


def _defaults(kind: str) -> set[str | None]:
    """What stands there if a recipe says nothing."""
    held = {nested.default_name for entry in registry().entries() for nested in entry.signature.parts.values()
            if nested.kind == kind}  # fmt: skip
    return {KINDS[kind].default, *KINDS[kind].defaults, *held}


def _is_whole(entry: PartEntry) -> bool:
    return not entry.signature.options.model_fields or set(entry.signature.required) <= set(part_of(entry))


def _listed(entry: PartEntry, part: dict[str, Any]) -> list[Any]:
    """A list with the part, behind those that are there by default."""
    beside = BESIDE[entry.kind]().model_dump() if entry.kind in BESIDE else {}
    before = [] if entry.name in KINDS[entry.kind].defaults else KINDS[entry.kind].defaults
    return [*before, {"type": entry.name, **beside, **part}]


def _options(entry: PartEntry) -> dict[str, Any]:
    """The options that a recipe may say, as they are by default, but for those that are nothing."""
    said = part_of(entry)
    said.pop("type")
    values = entry.signature.options.model_validate(said).model_dump(mode="json")
    parts = {name: nested.default_name for name, nested in entry.signature.parts.items()}
    return {name: value for name, value in {**values, **parts}.items() if value is not None}


def _written(base: str, key: str, part: Any) -> str:
    *above, last = key.split(".")
    flow, indent = _flow(_short(part)), "  " * len(above)
    if len(flow) > WIDTH:
        flow = "\n" + textwrap.indent(_block(_short(part)), f"{indent}  ")
    lines = [f"extends: {base}"] * bool(base)
    lines += [f"{'  ' * depth}{name}:" for depth, name in enumerate(above)]
    return "\n".join([*lines, f"{indent}{last}: {flow}".replace(": \n", ":\n")])


def _flow(part: Any) -> str:
    flow = yaml.safe_dump(part, default_flow_style=True, sort_keys=False, width=10_000)
    return flow.strip().removesuffix("...").strip()


def _block(part: Any) -> str:
    """A line for each key, or each item."""
    if isinstance(part, dict):
        return "\n".join(
            f"{key}: {_flow(value)}"
            if len(_flow(value)) <= WIDTH
            else f"{key}:\n{textwrap.indent(_block(value), '  ')}"
            for key, value in part.items()
        )
    return "\n".join(
        f"- {_flow(each)}" if len(_flow(each)) <= WIDTH else f"- {textwrap.indent(_block(each), '  ').strip()}"
        for each in part
    )


def _short(part: Any) -> Any:
    """Without what is nothing, and a part without options by its name."""
    if isinstance(part, list):
        return [_short(each) for each in part]
    if not isinstance(part, dict):
        return part
    return part["type"] if list(part) == ["type"] else {k: _short(v) for k, v in part.items() if v is not None}
