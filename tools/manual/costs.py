"""What a part costs on a B model: the part in place of the one there, and all else as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from manual.packages import recipes, registry
from manual.text import table
from zoo.assembly import build, load_recipe
from zoo.audit.report import Audit, audit_backbone
from zoo.backbone import Backbone
from zoo.errors import ZooError
from zoo.kinds import KINDS
from zoo.part_entries import PartEntry
from zoo.recipe import Recipe

BASES = ("dit_b", "mpdit_b", "ppflow_b_2", "hybrid_b", "uvit_mpdit_b", "dico_b", "dic_b", "lightning_b")
"""Recipes of B size: a part is counted in the first that it can be built in. The last ones, of packages, have what goes
with hourglasses, and with blocks without vectors."""

SAID = {"router/tread": {"first": 2, "stop": 8}, "dataset/latents": {"folder": "my_latents"}}
"""Options that a part does not go without."""


@dataclass(frozen=True)
class Cost:
    """An assembly with the part.

    Attributes:
        base: the recipe that it is in.
        parameters: of the whole backbone.
        macs: multiply-adds of one forward pass, the mean over uniform noise levels.
        training_macs: the same in training, where a router leaves out tokens.
    """

    base: str
    parameters: int
    macs: int
    training_macs: int


def cost_table(entries: tuple[PartEntry, ...]) -> str:
    """The parts of a kind, each with what it comes to."""
    heads = ("part", "in", "parameters", "multiply-adds", "beside the recipe as it is")
    return table(heads, map(_row, entries))


def _row(entry: PartEntry) -> tuple[str, ...]:
    cost = cost_of(entry)
    if cost is None:
        return f"[{entry.name}](#{entry.name})", "-", "-", "-", "-"
    macs = f"{cost.macs / 1e9:.3f} G"
    if cost.training_macs != cost.macs:
        macs += f" (in training {cost.training_macs / 1e9:.3f} G)"
    share = f"{cost.macs / as_it_is(cost.base).macs:.1%}"
    return f"[{entry.name}](#{entry.name})", f"`{cost.base}`", f"{cost.parameters / 1e6:.2f} M", macs, share


def cost_of(entry: PartEntry) -> Cost | None:
    """The cost at its home; None where it has none."""
    home = home_of(entry)
    return None if home is None else _counted(home.base, audit_backbone(home.backbone, home.recipe))


@dataclass(frozen=True)
class Home:
    """Where a part can be built: a recipe that it is put into under a key, and the backbone, on the meta device."""

    base: str
    key: str
    recipe: Recipe
    backbone: Backbone


def home_of(entry: PartEntry, said: Mapping[str, Any] | None = None) -> Home | None:
    """The first recipe that a part can be built in; None where it fits nowhere, or is no part of a backbone.

    Args:
        entry: the part.
        said: the part as a recipe would write it; with no more options than it must have if left out.
    """
    if not (KINDS[entry.kind].has_forward or entry.kind == "patch_schedule"):
        return None
    for base in BASES:
        for key in _keys(entry):
            try:
                recipe = load_recipe(recipes()[base], {key: dict(said or part_of(entry))}, registry())
                backbone = build(recipe, device="meta")
            except ZooError:
                continue
            if _stands_in(entry, backbone):
                return Home(base, key, recipe, backbone)
    return None


def part_of(entry: PartEntry) -> dict[str, Any]:
    """The part as a recipe would write it, with no more options than it must have."""
    return {"type": entry.name, **SAID.get(f"{entry.kind}/{entry.name}", {})}


def _keys(entry: PartEntry) -> Iterator[str]:
    """Where in a recipe the part may stand: in the block, if it is for inside of parts."""
    if KINDS[entry.kind].section:
        yield f"backbone.{entry.kind}"
        return
    for option, nested in registry().get("block", "dit").signature.parts.items():
        if nested.kind == entry.kind:
            yield f"backbone.block.{option}"


def _stands_in(entry: PartEntry, backbone: Backbone) -> bool:
    if entry.kind == "patch_schedule":
        return True
    return any(isinstance(module, entry.cls) for module in backbone.modules())


@cache
def as_it_is(base: str) -> Cost:
    """A recipe without a change."""
    recipe = load_recipe(recipes()[base], registry=registry())
    return _counted(base, audit_backbone(build(recipe, device="meta"), recipe))


def _counted(base: str, audit: Audit) -> Cost:
    training = sum(stage.share * stage.training_macs for stage in audit.stages)
    sampling = sum(stage.share * stage.macs for stage in audit.stages)
    return Cost(base, audit.params.total, audit.macs, audit.macs if training == sampling else round(training))
