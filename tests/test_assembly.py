"""What a whole recipe cannot be: told by ``load_recipe``, all at once, and nothing is allocated. And building it."""

import copy
import pickle
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel

import zoo
from tests.train.small import small
from zoo.assembly import build, load_recipe
from zoo.errors import OptionError, PluginError, RecipeError
from zoo.parts import Attention, Norm, Part
from zoo.parts.attentions import SoftmaxAttention
from zoo.parts.base import PatchSchedule, Position, PositionEmbedding, Rotary, TimeEmbedder
from zoo.parts.blocks import DiTBlock
from zoo.parts.mlps import SwiGLU
from zoo.plugins import Plugin
from zoo.recipe.find import package_recipes
from zoo.registry import Registry, part
from zoo.schedule import Level, Stage
from zoo.testing import strategies

UNIFORM = "{type: uniform, patch: 2}"
BASE = f"""\
backbone:
  latent: {{channels: 4, height: 8, width: 12}}
  num_classes: 10
  dim: 32
  depth: 2
  heads: 2
  patch_schedule: {UNIFORM}
"""


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def problems_of(source, registry, overrides=()) -> list[str]:
    """What is wrong with a recipe; nothing but a ``RecipeError`` is ever raised."""
    try:
        load_recipe(source, overrides, registry)
    except RecipeError as error:
        return list(error.problems)
    return []


@pytest.fixture
def problems(registry):
    def problems(text, overrides=(), registry=registry):
        Path("r.yaml").write_text(text)
        return problems_of("r.yaml", registry, overrides)

    return problems


MULTIPLE = "levels go from coarse to fine, each patch a whole multiple of the next: "


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("{type: uniform, patch: 3}", ["patch: patch 3x3 does not divide the latent 8x12 (height x width)"]),
        ("{type: uniform, patch: [2, 5]}", ["patch: patch 2x5 does not divide the latent 8x12 (height x width)"]),
        (
            f"{{type: uniform, patch: {10**30}}}",
            [f"patch: patch {10**30}x{10**30} does not divide the latent 8x12 (height x width)"],
        ),
        (
            "{type: by_depth, levels: [{patch: 4, blocks: 6}, {patch: 2, blocks: 6}]}",
            ["levels: block counts must add up to depth: 6 + 6 = 12, but backbone.depth is 2"],
        ),
        (
            "{type: by_depth, levels: [{patch: 2, blocks: 1}, {patch: 4, blocks: 1}]}",
            [f"levels.1.patch: {MULTIPLE}2x2 is no such multiple of 4x4"],
        ),
        (
            "{type: by_depth, levels: [{patch: [4, 3], blocks: 1}, {patch: 2, blocks: 1}]}",
            [f"levels.1.patch: {MULTIPLE}4x3 is no such multiple of 2x2"],
        ),
        (
            "{type: by_depth, levels: [{patch: 2, blocks: 1}, {patch: 2, blocks: 1}]}",
            [f"levels.1.patch: {MULTIPLE}2x2 is no such multiple of 2x2"],
        ),
        (
            "{type: by_timestep, stages: [{noise_above: 0.5, patch: 4}, {noise_above: 0.1, patch: 2}]}",
            ["stages.1.noise_above: the last stage must have noise_above 0.0, not 0.1"],
        ),
        (
            "{type: by_timestep, stages: [{noise_above: 0.2, patch: 4}, {noise_above: 0.5, patch: 4}, {noise_above: 0,"
            " patch: 3}]}",
            [
                "stages.1.noise_above: stages go from noisy to clean: noise_above 0.5 must be below 0.2",
                "stages.2.patch: patch 3x3 does not divide the latent 8x12 (height x width)",
            ],
        ),
        (
            "{type: by_depth_and_timestep, stages: [{noise_above: 0.5, levels: [{patch: 4, blocks: 3}]},"
            " {noise_above: 0.0, levels: [{patch: 3, blocks: 1}, {patch: 2, blocks: 1}]}]}",
            [
                "stages.0: block counts must add up to depth: 3, but backbone.depth is 2",
                "stages.1.levels.0.patch: patch 3x3 does not divide the latent 8x12 (height x width)",
                f"stages.1.levels.1.patch: {MULTIPLE}3x3 is no such multiple of 2x2",
            ],
        ),
    ],
)
def test_a_schedule_that_does_not_fit(problems, schedule, expected):
    got = problems(BASE.replace(UNIFORM, schedule))
    assert got == [f"r.yaml:7: backbone.patch_schedule.{line}" for line in expected]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("heads: 2", "heads: 5", "r.yaml:1: backbone.block.attention: softmax: dim 32 does not divide by 5 heads"),
        (
            "heads: 2",
            "heads: 5\n  block: dit",
            "r.yaml:7: backbone.block.attention: softmax: dim 32 does not divide by 5 heads",
        ),
        ("dim: 32", "dim: 34", "r.yaml:1: backbone.position: sincos: "),
        (
            "num_classes: 10",
            "num_classes: 0",
            "r.yaml:1: backbone.class_conditioner: embedding: needs backbone.num_classes"
            " of at least 1; for an unconditional backbone write `none`",
        ),
        (
            "num_classes: 10",
            "class_conditioner: class_tokens",
            "r.yaml:3: backbone.class_conditioner: class_tokens: needs"
            " backbone.num_classes of at least 1; for an unconditional backbone write `none`",
        ),
        (
            "heads: 2",
            "heads: 2\n  time_embedder:\n    type: fno\n    modes: 18",
            "r.yaml:9: backbone.time_embedder.modes:"
            " 18 is more than the 17 frequencies of a grid of 32 points (grid // 2 + 1)",
        ),
        (
            "heads: 2",
            "heads: 2\n  time_embedder: {type: fno, modes: 8, grid: 12}",
            "r.yaml:7: backbone.time_embedder.modes:"
            " 8 is more than the 7 frequencies of a grid of 12 points (grid // 2 + 1)",
        ),
    ],
)
def test_a_part_that_does_not_fit(problems, old, new, expected):
    (problem,) = problems(BASE.replace(old, new))
    assert problem.startswith(expected)


def test_problems_of_every_sort_are_told_at_once(problems):
    text = BASE.replace("dim: 32", "dim: 34").replace("heads: 2", "heads: 3")
    schedule = "{type: by_depth, levels: [{patch: 4, blocks: 2}, {patch: 3, blocks: 2}]}"
    text = text.replace(UNIFORM, schedule).replace("num_classes: 10", "num_classes: 0")
    got = problems(text + "  time_embedder: {type: fno, modes: 99}\n  head: lin\nxx: 1\n", ["backbone.skip=maybe"])
    assert {tuple(line.split(": ")[:2]) for line in got} == {
        ("overrides['backbone.skip']", "backbone.skip"),
        ("r.yaml:1", "backbone.block.attention"),
        ("r.yaml:1", "backbone.position"),
        ("r.yaml:1", "backbone.class_conditioner"),
        ("r.yaml:7", "backbone.patch_schedule.levels"),
        ("r.yaml:7", "backbone.patch_schedule.levels.1.patch"),
        ("r.yaml:8", "backbone.time_embedder.modes"),
        ("r.yaml:9", "backbone.head.type"),
        ("r.yaml:10", "xx"),
    }


def test_what_cannot_be_told_before_something_else_is_mended_is_left_out(problems):
    assert problems(BASE.replace("depth: 2", "depth: two").replace("dim: 32", "dim: x")) == [
        'r.yaml:4: backbone.dim: should be a whole number, got "x"',
        'r.yaml:5: backbone.depth: should be a whole number, got "two"',
    ]


def test_one_override_may_be_given_as_text():
    assert load_recipe("dit_s", "backbone.depth=2").backbone.depth == 2


def test_a_line_that_is_about_other_keys_says_where_they_were_written(problems, monkeypatch):
    (line,) = problems(BASE, "backbone.heads=5")
    assert line.endswith(
        "softmax: dim 32 does not divide by 5 heads (dim from r.yaml:4, heads from overrides['backbone.heads'])"
    )


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (
            "{guidance: [1.0, 2.0]}",
            "guidance: 2 scales for 1 stage; give one for every stage, noisiest first, or one",
        ),
        ("{guided_channels: 5}", "guided_channels: 5, but the latents have 4 channels"),
        (
            "{guidance_interval: [0.8, 0.2]}",
            "guidance_interval: goes from lowest to highest noise level, not from 0.8 to 0.2",
        ),
    ],
)
def test_sampling_that_does_not_fit_the_backbone(problems, sample, expected):
    assert problems(f"{BASE}sample: {sample}\n") == [f"r.yaml:8: sample.{expected}"]


def test_an_assembly_that_no_machine_could_hold(problems):
    text = BASE.replace("height: 8, width: 12", "height: 65536, width: 65536").replace("dim: 32", "dim: 65536")
    text = text.replace(UNIFORM, "{type: by_depth, levels: [{patch: 65536, blocks: 1}, {patch: 1, blocks: 1}]}")
    assert problems(text) == [
        "r.yaml:1: backbone.upsampler: linear_linear: has more numbers than any machine holds; take smaller ones in the"
        " recipe"
    ]


def test_a_schedule_is_checked_also_where_the_latent_is_wrong(problems):
    text = BASE.replace("height: 8", "height: 0").replace(UNIFORM, "{type: by_depth, levels: [{patch: 3, blocks: 1}]}")
    assert problems(text) == [
        "r.yaml:2: backbone.latent.height: should be at least 1, got 0",
        "r.yaml:7: backbone.patch_schedule.levels: block counts must add up to depth: 1, but backbone.depth is 2",
    ]


# -- parts of plug-ins ----------------------------------------------------------------------------------------------


@part("position", "turns")
class Turns(PositionEmbedding):
    gives_rotary = True

    def __init__(self) -> None:
        super().__init__()

    def forward(self) -> Position:
        return Position(rotary=Rotary(torch.ones(1), torch.zeros(1)))


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
        self.axes = axes
        self.inside = None if inside is None else inside(*[dim] * (2 if how == "twice" else 1))

    def forward(self, tokens, layout):
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


@pytest.fixture(scope="module")
def with_plug_in():
    registry = Registry()
    module = type("Module", (), {"zoo_parts": staticmethod(zoo.hookimpl(lambda: [Turns, Picky, PickyAttention]))})
    registry.register(module, Plugin("strangers", "1.2"))
    return registry


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "block: {attention: picky}\n  position: turns",
            ["position: position 'turns' gives rotary angles, and block 'dit' does not use them"],
        ),
        ("block: {cross: {type: picky, how: value}}", ["block.cross: picky: not so"]),
        ("block: {cross: {type: picky, how: option}}", ["block.cross.how: must be another"]),
        (
            "block: {attention: {type: picky, how: broken}}",
            ["block.attention: picky, of plug-in strangers, failed: KeyError: 'no such thing'"],
        ),
        (
            "block: {attention: {type: picky, how: rules}}",
            ["block.attention: picky, of plug-in strangers: breaks a rule"],
        ),
        (
            "block: {attention: {type: picky, how: twice, inside: rms}}",
            ["block.attention.inside: rms, of plug-in zoo: is made with 2 values, and its kind takes dim"],
        ),
        ("block: {cross: cross}", ["block: block 'dit' needs context, which no part gives"]),
        ("time_embedder: picky", [r"time_embedder: picky: two\nlines"]),
        (
            "time_embedder: {type: picky, how: option}",
            ["time_embedder.how: must be another", "time_embedder: and on the whole"],
        ),
        (
            "time_embedder: {type: picky, how: broken}",
            ["time_embedder: picky, of plug-in strangers, failed: KeyError: 'no such thing'"],
        ),
    ],
)
def test_a_plug_ins_part_that_does_not_fit(problems, with_plug_in, line, expected):
    got = problems(f"{BASE}  {line}\n", registry=with_plug_in)
    last = 8 + line.count("\n")
    assert got == [f"r.yaml:{last}: backbone.{each}" for each in expected]


def test_a_part_inside_a_part_gets_what_that_one_leaves_out(with_plug_in):
    values = yaml.safe_load(BASE)
    recipe = load_recipe(values, ["backbone.block.attention=picky", "backbone.block.mlp=swiglu"], with_plug_in)
    backbone = build(recipe, device="meta")
    assert [block.attention.axes for block in backbone.blocks] == [2, 2]
    assert {type(block.mlp) for block in backbone.blocks} == {SwiGLU}


def test_every_block_is_built_of_its_own_run(with_plug_in):
    runs = [{"blocks": 1}, {"type": "dit", "attention": "picky", "blocks": 1}]
    recipe = load_recipe(yaml.safe_load(BASE), {"backbone.block": runs}, with_plug_in)
    first, second = build(recipe, device="meta").blocks
    assert isinstance(first.attention, SoftmaxAttention)
    assert isinstance(second.attention, PickyAttention)
    assert recipe.versions(["backbone"]).part("attention", "softmax") is not None
    assert recipe.versions(["backbone"]).part("attention", "picky") is not None
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert load_recipe(recipe.resolved(), (), with_plug_in) == recipe


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("[{blocks: 1}, {cross: {type: picky, how: value}, blocks: 1}]", ["block.1.cross: picky: not so"]),
        ("[{blocks: 1}, {cross: cross, blocks: 1}]", ["block.1: block 'dit' needs context, which no part gives"]),
        ("[{attention: picky, blocks: 1}, {blocks: 1}]\n  position: turns", []),
        (
            "[{attention: picky, blocks: 1}, {attention: picky, blocks: 1}]\n  position: turns",
            ["position: position 'turns' gives rotary angles, and block 'dit' does not use them"],
        ),
    ],
)
def test_runs_that_do_not_go_with_the_rest(problems, with_plug_in, block, expected):
    line = f"  block: {block}\n"
    got = problems(BASE + line, registry=with_plug_in)
    assert got == [f"r.yaml:{7 + line.count(chr(10))}: backbone.{each}" for each in expected]


def test_a_recipe_knows_the_parts_inside_its_parts(with_plug_in):
    cross = {"type": "picky", "inside": {"type": "rms", "affine": True}}
    recipe = load_recipe(yaml.safe_load(BASE), {"backbone.block.cross": cross}, with_plug_in)
    assert recipe.plugins().keys() == {"zoo", "strangers"}
    versions = recipe.versions(["backbone"])
    assert versions.part("attention", "picky").plugin == "strangers"
    assert versions.part("norm", "rms").plugin == "zoo"
    assert versions.part("norm", "layer") is not None
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert load_recipe(recipe.resolved(), (), with_plug_in) == recipe


# -- laws -----------------------------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=25)
def test_a_resolved_recipe_is_read_back_the_same(registry, data):
    try:
        recipe = load_recipe(data.draw(strategies.recipes(registry)), (), registry)
    except RecipeError:  # drawn parts need not go together
        reject()
    Path("resolved.yaml").write_text(yaml.safe_dump(recipe.resolved()))
    assert load_recipe("resolved.yaml", (), registry) == recipe
    assert load_recipe(recipe.resolved(), (), registry) == recipe


@given(st.integers(0, 2**32))
@settings(max_examples=100)
def test_mutated_recipes_are_read_or_refused(registry, seed):
    draw = random.Random(seed)
    text = list((package_recipes() / "hybrid_b.yaml").read_text().replace("extends: mpdit_b.yaml", "extends: mpdit_b"))
    for _ in range(draw.randint(1, 6)):
        start = draw.randrange(len(text))
        text[start : start + draw.randint(0, 3)] = draw.choice(
            [*"{}[]:,-#&*!|>'\"% \n\t0.9x", ": ", "true", "null", "1e9"]
        )
    Path("mutated.yaml").write_text("".join(text))
    assert all(line.startswith("mutated.yaml") and line.isprintable() for line in problems_of("mutated.yaml", registry))


VALUES = st.sampled_from(
    [
        None,
        True,
        0,
        1,
        -1,
        2,
        3,
        10**9,
        10**30,
        0.5,
        -0.0,
        float("inf"),
        "",
        "fno",
        "linear",
        [],
        [2, 4],
        {},
        {"type": "fno"},
    ]
)


@given(st.data())
@settings(max_examples=100)
def test_recipes_with_odd_values_are_read_or_refused(registry, data):
    values = load_recipe(yaml.safe_load(BASE), (), registry).resolved()
    for _ in range(data.draw(st.integers(1, 3))):
        at = values
        while isinstance(at, dict) and at:
            key = data.draw(st.sampled_from(sorted(at)))
            if not isinstance(at[key], dict) or data.draw(st.integers(0, 3)) == 0:
                at[key] = copy.deepcopy(data.draw(VALUES))  # since the next of them may be put into this one
                break
            at = at[key]
    assert all(line.startswith("recipe: ") and line.isprintable() for line in problems_of(values, registry))


# -- building -------------------------------------------------------------------------------------------------------


def test_building_changes_no_recipe_and_shares_nothing(registry):
    recipe = load_recipe(yaml.safe_load(BASE), (), registry)
    before = recipe.resolved()
    first, second = build(recipe, registry=registry), build(recipe, registry=registry)
    assert recipe.resolved() == before
    assert not {id(each) for each in first.parameters()} & {id(each) for each in second.parameters()}
    assert len({each.data_ptr() for module in (first, second) for each in module.parameters()}) == 2 * len(
        list(first.parameters())
    )


def test_builds_on_a_device_and_in_a_type(registry):
    values = yaml.safe_load(BASE)
    assert {each.device.type for each in build(values, registry=registry, device="meta").parameters()} == {"meta"}
    assert {each.dtype for each in build(values, registry=registry, dtype=torch.bfloat16).parameters()} == {
        torch.bfloat16
    }


def test_builds_a_recipe_by_name_with_overrides(registry):
    backbone = build("dit_s", ["backbone.depth=1"], registry=registry, device="meta")
    assert len(backbone.blocks) == 1


def test_a_validated_recipe_takes_no_overrides_and_no_parts(registry):
    recipe = load_recipe("dit_s", (), registry)
    why = "a recipe that is validated already has its own; give them where it is made: zoo.load_recipe$"
    for parts in ([DiTBlock], DiTBlock):
        with pytest.raises(ValueError, match=f"^parts: {why}"):
            build(recipe, parts=parts)
    with pytest.raises(ValueError, match=f"^overrides: {why}"):
        build(recipe, ["backbone.depth=1"], registry=registry)


def test_a_backbone_takes_no_parts(registry):
    backbone = build("dit_s", ["backbone.depth=1"], registry=registry, device="meta")
    with pytest.raises(ValueError, match=r"^parts: a backbone has its own; give them .*: zoo.build or zoo.load$"):
        zoo.cost(backbone, parts=[DiTBlock])


def test_what_does_not_matter_for_a_recipe_is_not_built(registry):
    values = yaml.safe_load(
        BASE.replace(UNIFORM, "{type: by_depth, levels: [{patch: 4, blocks: 1}, {patch: 2, blocks: 1}]}")
    )
    linear = build(values, registry=registry, device="meta")
    assert set(linear.patch_embedders) == {"4x4", "2x2"}
    assert set(linear.heads) == {"2x2"}
    assert set(linear.upsamplers) == set(linear.skips) == {"4x4_to_2x2"}
    none = build(values, ["backbone.skip=none"], registry=registry, device="meta")
    assert set(none.patch_embedders) == {"4x4"}
    assert not none.skips


# -- a backbone knows its recipe -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda backbone: pickle.loads(pickle.dumps(backbone)), lambda each: AveragedModel(each).module],
    ids=["deepcopy", "pickle", "averaged"],
)
def test_a_backbone_knows_its_recipe_and_so_do_its_copies(registry, copied):
    recipe = small(registry=registry)
    backbone = build(recipe)
    assert backbone.recipe is recipe
    assert copied(backbone).recipe == recipe
    assert build(recipe, device="meta", dtype=torch.bfloat16).recipe is recipe


# -- what a plug-in must have ---------------------------------------------------------------------------------------


def registry_with(*parts):
    registry = Registry()
    registry.register(SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: list(parts))), Plugin("zoo-extra", "1"))
    return registry


class Scale(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))


@part("block", "scaled")
class ScaledBlock(DiTBlock):
    def __init__(self, dim: int, heads: int, index: int, *, first: int = 0) -> None:
        super().__init__(dim, heads)
        self.norm = Scale(dim) if index >= first else None


def test_weights_that_nobody_makes_are_refused_before_anything_is_built(problems):
    (line,) = problems(BASE + "  block: scaled\n", registry=registry_with(ScaledBlock))
    assert line == (
        "r.yaml:8: backbone.block: scaled, of plug-in zoo-extra: norm (Scale) owns weight and has no"
        " reset_parameters(), without which weights that are loaded or drawn after building on the meta device are"
        " garbage; write one that fills them in place, and call it in the constructor"
    )


@part("norm", "scaled")
class ScaledNorm(Norm):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = Scale(dim)

    def forward(self, tokens):
        return tokens


def test_weights_of_a_part_inside_are_told_of_that_part(problems):
    (line,) = problems(BASE + "  block: {attention: {qk_norm: scaled}}\n", registry=registry_with(ScaledNorm))
    assert line.startswith(
        "r.yaml:8: backbone.block.attention.qk_norm: scaled, of plug-in zoo-extra: scale (Scale) owns weight and has no"
    )


def test_weights_of_a_later_block_are_refused_when_it_is_built():
    registry = registry_with(ScaledBlock)
    recipe = load_recipe(yaml.safe_load(BASE), ["backbone.block={type: scaled, first: 1}"], registry)
    with pytest.raises(RecipeError, match=r"recipe: backbone.block: scaled, of plug-in zoo-extra: norm \(Scale\) owns"):
        build(recipe, registry=registry)
    runs = [{"type": "dit", "blocks": 1}, {"type": "scaled", "first": 1, "blocks": 1}]
    recipe = load_recipe(yaml.safe_load(BASE), {"backbone.block": runs}, registry)
    with pytest.raises(RecipeError, match=r"recipe: backbone.block.1: scaled, of plug-in zoo-extra: norm \(Scale\)"):
        build(recipe, registry=registry)


@part("patch_schedule", "mine")
class Mine(PatchSchedule):
    def __init__(self, depth: int, *, at: int = 0, late: bool = False) -> None:
        self.depth, self.at = depth, at
        if not late:
            self.stages()

    def stages(self):
        blocks = (self.at, self.depth - self.at)
        return (Stage(noise_above=0.0, levels=tuple(Level(patch=(2, 2), blocks=count) for count in blocks)),)


@pytest.mark.parametrize("late", ["true", "false"])
def test_a_level_that_a_schedule_makes_wrongly_is_told_in_a_line(problems, late):
    schedule = f"{{type: mine, late: {late}}}"
    (line,) = problems(BASE.replace(UNIFORM, schedule), registry=registry_with(Mine))
    assert line == "r.yaml:7: backbone.patch_schedule: mine: Level: blocks: should be above 0, got 0"


@pytest.mark.parametrize(
    ("stages", "words"),
    [(None, "None"), ([Level(patch=2, blocks=1)], "a list of a Level"), (7, "a int"), ((1, 2), "(1, 2)")],
)
def test_a_schedule_that_returns_no_stages_is_told_in_a_line(problems, monkeypatch, stages, words):
    monkeypatch.setattr(Mine, "stages", lambda self: stages)
    (line,) = problems(BASE.replace(UNIFORM, "mine"), registry=registry_with(Mine))
    assert line == (
        f"r.yaml:7: backbone.patch_schedule: mine, of plug-in zoo-extra: stages() returned {words} in place of a tuple"
        " of Stages"
    )


@part("patch_schedule", "mine")
class Misspelt(PatchSchedule):
    def __init__(self, depth: int) -> None:
        self.depth = depth

    def stages(self):
        return (Stage(levels=[Level(patch=2, block=self.depth)]),)


def test_all_that_is_wrong_with_a_level_is_in_the_line(problems):
    (line,) = problems(BASE.replace(UNIFORM, "mine"), registry=registry_with(Misspelt))
    assert line == (
        "r.yaml:7: backbone.patch_schedule: mine: Level: blocks: missing; it is required, block: unknown option"
    )
