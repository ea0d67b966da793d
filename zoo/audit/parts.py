"""The parts of an assembly: where each comes from, what it holds and costs, and the same of those in its slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from zoo.backbone import Backbone
from zoo.kinds import BACKBONE_KINDS, KINDS
from zoo.recipe import Recipe

Macs = Callable[[Collection[str]], int]
"""Multiply-adds of sub-modules of the backbone, by their dotted names."""


@dataclass(frozen=True)
class Params:
    """Parameters: trainable ones, and fixed tables, which the papers count as parameters too."""

    total: int
    trainable: int
    fixed: int


@dataclass(frozen=True)
class PartAudit:
    """A part: where it comes from, its parameters, and its multiply-adds, averaged over uniform noise levels.

    Attributes:
        kind: of the part; of one inside another the option that holds it, its slot.
        type: its name.
        plugin: that it is of.
        params: that it holds, with the parts inside it.
        macs: likewise; 0 where they are not counted.
        count: how many of it there are; 0 where the assembly has no place for one.
        slots: the parts inside it.
        within: of one inside several, the names of those that hold one, where not all do.
    """

    kind: str
    type: str
    plugin: str
    params: int
    macs: int
    count: int = 1
    slots: tuple[PartAudit, ...] = ()
    within: str = ""

    def with_slots(self, depth: int = 0) -> Iterator[tuple[int, PartAudit]]:
        """The part and those inside it, each with how many parts are around it."""
        yield depth, self
        for each in self.slots:
            yield from each.with_slots(depth + 1)


def count_params(module: nn.Module) -> Params:
    """Trainable parameters, and fixed ones: frozen parameters and tables kept as buffers."""
    sizes = Counter[bool]()
    for parameter in module.parameters():
        sizes[parameter.requires_grad] += parameter.numel()
    fixed = sizes[False] + sum(buffer.numel() for buffer in module.buffers())
    return Params(total=sizes[True] + fixed, trainable=sizes[True], fixed=fixed)


def parts_of(backbone: Backbone, recipe: Recipe, macs: Macs = lambda names: 0) -> tuple[PartAudit, ...]:
    """Every part of a backbone with its parameters, and its multiply-adds where they have been counted."""
    return tuple(_of_kind(kind, backbone, recipe, macs) for kind in BACKBONE_KINDS)


@dataclass(frozen=True)
class _Held:
    """A part as it stands in the backbone; ``module`` is None where it is none."""

    spec: Any
    name: str
    module: nn.Module | None


def _of_kind(kind: str, backbone: Backbone, recipe: Recipe, macs: Macs) -> PartAudit:
    specs: Any = recipe.backbone.of(kind)
    where = KINDS[kind].where
    if where is None:
        return _audited(kind, [_Held(spec, "", None) for spec in specs], macs)
    holder = backbone.get_submodule(where)
    if not isinstance(holder, nn.ModuleList | nn.ModuleDict):
        return _audited(kind, [_Held(specs[0], where, holder)], macs)
    each = specs if isinstance(holder, nn.ModuleList) else [specs[0]] * len(holder)
    named = zip(each, holder.named_children(), strict=True)
    held = [_Held(spec, f"{where}.{key}", part) for spec, (key, part) in named]
    return _audited(kind, held, macs) if held else replace(_audited(kind, [_Held(specs[0], "", None)], macs), count=0)


def _audited(kind: str, held: Sequence[_Held], macs: Macs, within: str = "") -> PartAudit:
    """Parts that stand in the same place of several: as one, which has the names of all."""
    entries = [each.spec.entry for each in held]
    modules = [each.module for each in held if each.module is not None]
    inside: dict[str, list[_Held]] = {}
    holders: dict[str, dict[str, None]] = {}
    for each in held:
        for slot, part in _inside(each):
            inside.setdefault(slot, []).append(part)
            holders.setdefault(slot, {})[each.spec.entry.name] = None
    names = dict.fromkeys(entry.name for entry in entries)
    return PartAudit(
        kind,
        ", ".join(names),
        ", ".join(dict.fromkeys(entry.plugin.name for entry in entries)),
        count_params(nn.ModuleList(modules)).total,
        macs(dict.fromkeys(each.name for each in held if each.module is not None)),
        len(held),
        tuple(
            _audited(slot, parts, macs, ", ".join(holders[slot]) if len(holders[slot]) < len(names) else "")
            for slot, parts in inside.items()
        ),
        within,
    )


def _inside(held: _Held) -> Iterator[tuple[str, _Held]]:
    """What is in each slot of a part: all modules of the class that the recipe puts there, and else the class alone."""
    slots = {slot: spec for slot, spec in held.spec.parts.items() if spec is not None}
    found = list(_modules_in(slots, held.name, held.module)) if slots and held.module is not None else []
    for slot, spec in slots.items():
        here = [_Held(spec, name, module) for each, name, module in found if each == slot]
        for part in here or [_Held(spec, "", None)]:
            yield slot, part


def _modules_in(slots: Mapping[str, Any], name: str, module: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """Slots, and the names and modules of the outermost parts in them."""
    for key, below in module.named_children():
        alike = [slot for slot, spec in slots.items() if type(below) is spec.entry.cls]
        if alike:
            yield max(alike, key=lambda slot: (key.startswith(slot), len(slot))), f"{name}.{key}", below
        else:
            yield from _modules_in(slots, f"{name}.{key}", below)
