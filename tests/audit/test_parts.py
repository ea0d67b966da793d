"""The report names every part, those in slots too, with what it holds and costs."""

from __future__ import annotations

from torch import Tensor, nn

import zoo
from tests.audit.test_report import REGISTRY, built, each_schedule, recipe_of, report_of
from zoo.assembly import load_recipe
from zoo.audit import Audit, audit_backbone, count_params
from zoo.audit.parts import PartAudit
from zoo.parts import MLP, Block, Layout, Part, Vectors
from zoo.parts.mlps import GELUMLP
from zoo.report.tables import parts_table


def slots_of(report: Audit, kind: str) -> dict[str, PartAudit]:
    (part,) = (part for part in report.parts if part.kind == kind)
    return {slot.kind: slot for slot in part.slots}


def test_parts_in_slots_are_named_with_what_they_hold_and_cost() -> None:
    blocks = [
        {"type": "dit", "blocks": 1, "mlp": "swiglu"},
        {"type": "dit", "blocks": 2, "attention": {"type": "softmax", "qk_norm": {"type": "rms", "affine": True}}},
    ]
    recipe = recipe_of("by_depth", block=blocks, position={"type": "rope", "add": "sincos"})
    backbone = built(recipe)
    report = audit_backbone(backbone, recipe)
    (block,) = (part for part in report.parts if part.kind == "block")
    slots = slots_of(report, "block")
    assert [(slot.kind, slot.type) for slot in block.slots] == [
        ("attention", "softmax"),
        ("mlp", "swiglu, gelu"),
        ("norm", "layer"),
    ]
    (inside,) = slots["attention"].slots
    assert (inside.kind, inside.type, inside.count, inside.params) == ("qk_norm", "rms", 4, 4 * 12)
    assert slots["mlp"].params == sum(count_params(each.mlp).total for each in backbone.blocks)
    assert slots["norm"].count == 6  # none of those inside attention among them
    assert slots["attention"].macs + slots["mlp"].macs == block.macs > 0
    added = sum(count_params(each.add).total for each in backbone.positions.values())
    assert slots_of(report, "position")["add"].params == added > 0


@zoo.part("block", "two")
class TwoMLPs(Block):
    """Both may be of one class, and are made in another order than they are asked for."""

    modulation_vectors = 0

    def __init__(self, dim: int, *, first: Part[MLP] = GELUMLP, second: Part[MLP] = GELUMLP) -> None:
        super().__init__()
        self.second, self.first = second(dim), first(dim)

    def forward_stage(self, tokens: Tensor, vectors: Vectors, layout: Layout, *taken: Tensor) -> Tensor:
        return self.first(self.second(tokens, layout), layout)


def test_slots_that_hold_one_class_are_told_apart() -> None:
    values = recipe_of("uniform", block="dit").resolved()
    values["backbone"]["block"] = {"type": "two", "second": {"type": "gelu", "ratio": 2.0}}
    recipe = load_recipe(values, registry=REGISTRY.with_parts([TwoMLPs]))
    backbone = built(recipe)
    found = slots_of(audit_backbone(backbone, recipe), "block")
    assert list(found) == ["first", "second"]
    for slot, part in found.items():
        own = nn.ModuleList(getattr(each, slot) for each in backbone.blocks)
        assert (part.params, part.count) == (count_params(own).total, 3)
    assert found["first"].macs == 2 * found["second"].macs > 0


def test_slots_that_not_every_block_has_say_whose_they_are() -> None:
    blocks = [{"type": "dit", "blocks": 1}, {"type": "two", "blocks": 2}]
    values = recipe_of("uniform", block="dit").resolved()
    values["backbone"]["block"] = blocks
    recipe = load_recipe(values, registry=REGISTRY.with_parts([TwoMLPs]))
    report = audit_backbone(built(recipe), recipe)
    of_dit, of_two = ("attention", "mlp", "norm"), ("first", "second")
    within = {slot: part.within for slot, part in slots_of(report, "block").items()}
    assert within == {**dict.fromkeys(of_dit, "dit"), **dict.fromkeys(of_two, "two")}
    assert {"  mlp of dit", "  second of two"} <= {row[0] for row in parts_table(report).rows}


@each_schedule
def test_a_part_without_a_place_is_said_to_have_none(schedule: str) -> None:
    counts = {part.kind: part.count for part in report_of(schedule).parts}
    assert counts["block"] == 3
    assert counts["router"] == counts["patch_schedule"] == 1
    is_refined = "by_depth" in schedule
    assert (counts["upsampler"] > 0, counts["skip"] > 0, counts["downsampler"] > 0) == (is_refined, is_refined, False)
