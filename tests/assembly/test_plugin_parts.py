"""Parts of plug-ins that do not fit, and parts inside parts: told by ``load_recipe``, or built."""

import pickle
import re
from pathlib import Path

import pytest
import torch
import yaml

from tests.assembly.base import BASE, problems_of, registry_with
from zoo.assembly import build, load_recipe
from zoo.errors import OptionError, PluginError
from zoo.parts import Attention, Norm, Part
from zoo.parts.attentions import SoftmaxAttention
from zoo.parts.base import PositionEmbedding, TimeEmbedder
from zoo.parts.blocks import DiTBlock
from zoo.parts.mlps import SwiGLU
from zoo.parts.values import Position, Rotary
from zoo.registry import part


@part("position", "turns")
class Turns(PositionEmbedding):
    gives = frozenset({"rotary"})

    def __init__(self) -> None:
        super().__init__()

    def forward(self) -> Position:
        return Position(rotary=Rotary(torch.ones(1, 1), torch.zeros(1, 1)))


@part("attention", "picky")
class PickyAttention(Attention):
    def __init__(self, dim: int, axes: int, *, how: str = "well", inside: Part[Norm] | None = None) -> None:
        super().__init__()
        if how == "value":
            raise ValueError("not so")
        if how == "option":
            raise OptionError([(("how",), "must be another")])
        if how == "broken":
            raise KeyError("no such thing")
        if how == "rules":
            raise PluginError("breaks a rule")
        self.of_axes = axes
        self.inside = None if inside is None else inside(*[dim] * (2 if how == "twice" else 1))

    def forward_stage(self, tokens, layout):
        return tokens


@part("time_embedder", "picky")
class Picky(TimeEmbedder):
    def __init__(self, dim: int, *, how: str = "value") -> None:
        super().__init__()
        if how == "value":
            raise ValueError("two\nlines")
        if how == "option":
            raise OptionError([(("how",), "must be another"), ((), "and on the whole")])
        if how == "broken":
            raise KeyError("no such thing")

    def forward(self, t): ...


PARTS = (Turns, PickyAttention, Picky)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "block: {attention: picky}\n  position: turns",
            ["position: position 'turns' gives rotary angles, and no part takes that"],
        ),
        ("block: {cross: {type: picky, how: value}}", ["block.cross: picky: not so"]),
        ("block: {cross: {type: picky, how: option}}", ["block.cross.how: must be another"]),
        (
            "block: {attention: {type: picky, how: broken}}",
            ["block.attention: picky, of plug-in zoo-extra, failed: KeyError: 'no such thing'"],
        ),
        (
            "block: {attention: {type: picky, how: rules}}",
            ["block.attention: picky, of plug-in zoo-extra: breaks a rule"],
        ),
        (
            "block: {attention: {type: picky, how: twice, inside: rms}}",
            ["block.attention.inside: rms, of plug-in zoo: is made with 2 values, and its kind takes dim"],
        ),
        (
            "block: {cross: cross}",
            ["block: block 'dit' needs a context to attend to, and class_conditioner 'embedding' gives none"],
        ),
        ("time_embedder: picky", [r"time_embedder: picky: two\nlines"]),
        (
            "time_embedder: {type: picky, how: option}",
            ["time_embedder.how: must be another", "time_embedder: and on the whole"],
        ),
        (
            "time_embedder: {type: picky, how: broken}",
            ["time_embedder: picky, of plug-in zoo-extra, failed: KeyError: 'no such thing'"],
        ),
    ],
)
def test_a_plug_ins_part_that_does_not_fit(problems, line, expected):
    got = problems(f"{BASE}  {line}\n", registry=registry_with(*PARTS))
    last = 8 + line.count("\n")
    assert [without_line(each) for each in got] == [f"r.yaml:{last}: backbone.{each}" for each in expected]


def without_line(problem: str) -> str:
    """The same, once the line that it names of this file is the one that fails."""
    found = re.search(rf" \({Path(__file__).name}:(\d+)\)$", problem)
    if found is None:
        assert "failed: " not in problem
        return problem
    assert 'KeyError("no such thing")' in Path(__file__).read_text().splitlines()[int(found[1]) - 1]
    return problem[: found.start()]


def test_a_part_inside_a_part_gets_what_that_one_leaves_out():
    values = yaml.safe_load(BASE)
    recipe = load_recipe(values, ["backbone.block.attention=picky", "backbone.block.mlp=swiglu"], registry_with(*PARTS))
    backbone = build(recipe, device="meta")
    assert [block.attention.of_axes for block in backbone.blocks] == [2, 2]
    assert {type(block.mlp) for block in backbone.blocks} == {SwiGLU}


def test_a_recipe_knows_the_parts_inside_its_parts():
    cross = {"type": "picky", "inside": {"type": "rms", "affine": True}}
    recipe = load_recipe(yaml.safe_load(BASE), {"backbone.block.cross": cross}, registry_with(*PARTS))
    assert recipe.plugins().keys() == {"zoo", "zoo-extra"}
    versions = recipe.versions(["backbone"])
    assert versions.part("attention", "picky").plugin == "zoo-extra"
    assert versions.part("norm", "rms").plugin == "zoo"
    assert versions.part("norm", "layer") is not None
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert load_recipe(recipe.resolved(), (), registry_with(*PARTS)) == recipe


def test_every_block_is_built_of_its_own_run():
    registry, runs = registry_with(*PARTS), [{"blocks": 1}, {"type": "dit", "attention": "picky", "blocks": 1}]
    recipe = load_recipe(yaml.safe_load(BASE), {"backbone.block": runs}, registry)
    first, second = build(recipe, device="meta").blocks
    assert isinstance(first.attention, SoftmaxAttention)
    assert isinstance(second.attention, PickyAttention)
    assert recipe.versions(["backbone"]).part("attention", "softmax") is not None
    assert recipe.versions(["backbone"]).part("attention", "picky") is not None
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert load_recipe(recipe.resolved(), (), registry) == recipe


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("[{blocks: 1}, {cross: {type: picky, how: value}, blocks: 1}]", ["block.1.cross: picky: not so"]),
        (
            "[{blocks: 1}, {cross: cross, blocks: 1}]",
            ["block.1: block 'dit' needs a context to attend to, and class_conditioner 'embedding' gives none"],
        ),
        ("[{attention: picky, blocks: 1}, {blocks: 1}]\n  position: turns", []),
        (
            "[{attention: picky, blocks: 1}, {attention: picky, blocks: 1}]\n  position: turns",
            ["position: position 'turns' gives rotary angles, and no part takes that"],
        ),
        ("[{cross: {type: picky, how: value}, blocks: 3}]", None),
    ],
)
def test_runs_that_do_not_go_with_the_rest(problems, block, expected):
    line = f"  block: {block}\n"
    got = problems(BASE + line, registry=registry_with(*PARTS))
    where = f"r.yaml:{7 + line.count(chr(10))}: backbone."
    if expected is None:  # both what is wrong with the counts, and with a run
        expected = [
            "block: block counts must add up to depth: 3, but backbone.depth is 2",
            "block.0.cross: picky: not so",
        ]
    assert got == [where + each for each in expected]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError(), "block: picky: refuses this by an error without words"),
        (KeyError(), "block: picky, of plug-in zoo-extra, failed: KeyError"),
    ],
)
def test_an_error_without_words_is_told_all_the_same(error, told):
    @part("block", "picky")
    class Picky(DiTBlock):
        def __init__(self, dim: int, heads: int) -> None:
            raise error

    values = yaml.safe_load(BASE)
    values["backbone"]["block"] = "picky"
    (problem,) = problems_of(values, registry_with(Picky))
    line = Picky.__init__.__code__.co_firstlineno + 1
    assert problem == f"recipe: backbone.{told}" + (f" (test_plugin_parts.py:{line})" if "failed" in told else "")


def test_a_part_that_fails_on_axes_that_its_class_leaves_out_is_told_of_these():
    @part("block", "flat")
    class Flat(DiTBlock):
        axes = frozenset({1})

        def __init__(self, dim: int, heads: int) -> None:
            raise IndexError("tuple index out of range")

    values = yaml.safe_load(BASE)
    values["backbone"]["block"] = "flat"
    (problem,) = problems_of(values, registry_with(Flat))
    assert problem == "recipe: backbone.block: block 'flat' takes latents of 1 axis, and these have 2"


def test_so_is_one_inside_another():
    @part("mlp", "flat")
    class Flat(SwiGLU):
        axes = frozenset({1})

        def __init__(self, dim: int) -> None:
            raise IndexError("tuple index out of range")

    values = yaml.safe_load(BASE)
    values["backbone"]["block"] = {"type": "dit", "mlp": "flat"}
    (problem,) = problems_of(values, registry_with(Flat))
    assert problem == "recipe: backbone.block.mlp: mlp 'flat' takes latents of 1 axis, and these have 2"


def test_a_part_may_take_more_axes_than_its_class_says():
    @part("block", "wider")
    class Wider(DiTBlock):
        axes = frozenset({1})

        def __init__(self, dim: int, heads: int) -> None:
            super().__init__(dim, heads)
            self.axes = frozenset({1, 2})

    values = yaml.safe_load(BASE)
    values["backbone"]["block"] = "wider"
    assert problems_of(values, registry_with(Wider)) == []
