"""The closed form, fvcore and PyTorch's own counter agree to the last multiply-add on random assemblies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from torch.utils.flop_counter import FlopCounterMode

from tests.audit import closed_form
from tests.audit.closed_form import closed_form_macs
from tests.data.waves import Waves
from zoo.assembly import build, load_recipe
from zoo.audit import count_stage
from zoo.audit.trace import example_inputs
from zoo.backbone import Backbone
from zoo.errors import RecipeError
from zoo.kinds import BACKBONE_KINDS
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.testing import load_or_pass, recipes

REGISTRY = Registry()
WITH_MACS = set(BACKBONE_KINDS) - {"patch_schedule", "position", "stage_embedder", "router"}


def forward_macs(backbone: Backbone) -> list[int]:
    """What PyTorch's own counter sees in every stage."""
    macs = []
    for stage in range(len(backbone.stages)):
        with FlopCounterMode(display=False) as counter:
            backbone.forward_stage(stage, *example_inputs(backbone, stage))
        macs.append(counter.get_total_flops() // 2)
    return macs


@settings(max_examples=25)
@given(values=recipes(REGISTRY))
def test_counters_agree(values: dict[str, Any]) -> None:
    recipe = load_or_pass(values, REGISTRY)
    backbone = build(recipe, registry=REGISTRY, device="meta")
    expected = closed_form_macs(recipe)
    assert forward_macs(backbone) == expected
    assert [count_stage(backbone, stage).macs for stage in range(len(expected))] == expected


WIDTHS = [{"patch": 4, "blocks": 1}, {"patch": 4, "blocks": 1, "dim": 24}, {"patch": 2, "blocks": 1, "dim": 48}]
SHAPES: dict[str, dict[str, Any]] = {
    "widths": {"levels": WIDTHS},
    "a shared condition": {"levels": WIDTHS, "condition": "shared", "class_conditioner": "embedding"},
    "a wide middle": {
        "levels": [{"patch": 2, "blocks": 1}, {"patch": 4, "blocks": 1, "dim": 48}, {"patch": 2, "blocks": 1}],
        "skip": "kept_concat",
    },
    "one axis": {"levels": WIDTHS, "latent": {"channels": 3, "size": [8]}},
    "three axes": {
        "levels": [{"patch": [1, 4, 4], "blocks": 2}, {"patch": [1, 2, 2], "blocks": 1}],
        "latent": {"channels": 3, "size": [2, 8, 4]},
        "position": "none",
    },
    "a smaller stage": {
        "stages": [
            {"noise_above": 0.5, "scale": 2, "levels": [{"patch": 4, "blocks": 3}]},
            {"noise_above": 0.0, "levels": [{"patch": 4, "blocks": 3}]},
        ]
    },
}


@pytest.mark.parametrize("modulation", ["adaln_zero", "shared_adaln"])
@pytest.mark.parametrize("shape", SHAPES)
def test_counters_agree_on_any_shape(shape: str, modulation: str) -> None:
    given = dict(SHAPES[shape])
    of_schedule = {name: given.pop(name) for name in ("levels", "stages") if name in given}
    backbone = {
        "latent": {"channels": 3, "height": 8, "width": 16},
        "num_classes": 5,
        "dim": 16,
        "depth": 3,
        "heads": 2,
        "patch_schedule": {"type": "by_depth" if "levels" in of_schedule else "by_depth_and_timestep", **of_schedule},
        "class_conditioner": {"type": "class_tokens", "tokens": 3},
        "modulation": modulation,
        **given,
    }
    data = {"dataset": "waves", "normalize": "none"}  # which has latents of any axes
    recipe = load_recipe({"backbone": backbone, "data": data}, registry=REGISTRY, parts=[Waves])
    built = build(recipe, registry=REGISTRY, device="meta")
    expected = closed_form_macs(recipe)
    assert forward_macs(built) == expected
    assert [count_stage(built, stage).macs for stage in range(len(expected))] == expected


def test_there_is_a_formula_for_every_built_in_part() -> None:
    formulas = {(kind, name) for kind, of_kind in closed_form.FORMULAS.items() for name in of_kind}
    parts = {(entry.kind, entry.name) for entry in REGISTRY.entries() if entry.kind in WITH_MACS}
    assert formulas == parts - closed_form.WITHOUT_MACS
    assert parts >= closed_form.WITHOUT_MACS


def find_any(condition: Callable[[Recipe], bool], **fixed: str) -> dict[str, Any]:
    """The first assembly that meets the condition, not the simplest; ``fixed`` kinds have that part."""

    def meets(values: dict[str, Any]) -> bool:
        try:
            return condition(load_recipe(values, registry=REGISTRY))
        except RecipeError:  # parts that do not go together
            return False

    search = settings(derandomize=True, max_examples=2000, phases=[Phase.generate])  # a witness, by whatever seed
    return find(recipes(REGISTRY, **fixed), meets, settings=search)


def disagrees(recipe: Recipe) -> bool:
    return forward_macs(build(recipe, registry=REGISTRY, device="meta")) != closed_form_macs(recipe)


BETWEEN = {"upsampler", "downsampler", "skip"}
"""Kinds whose parts stand between levels."""

ALL_FORMULAS = [(kind, name) for kind, of_kind in closed_form.FORMULAS.items() for name in of_kind]


@pytest.mark.parametrize(("kind", "name"), ALL_FORMULAS)
def test_a_formula_that_is_off_by_one_is_caught(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the assemblies of the same strategy that have the part."""
    right: Callable[..., int] = closed_form.FORMULAS[kind][name]
    used = list[str]()

    def wrong(*arguments: Any) -> int:
        used.append(name)
        return right(*arguments) + 1

    def catches(recipe: Recipe) -> bool:
        used.clear()
        closed_form_macs(recipe)
        return bool(used) and disagrees(recipe)  # which takes long

    monkeypatch.setitem(closed_form.FORMULAS[kind], name, wrong)
    levels = {"patch_schedule": "by_depth"} if kind in BETWEEN else {}
    assert find_any(catches, **{kind: name}, **levels)


def test_a_plugins_part_has_no_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(closed_form.FORMULAS["block"], "dit")
    with pytest.raises(KeyError, match="dit"):
        find_any(lambda recipe: bool(closed_form_macs(recipe)))
