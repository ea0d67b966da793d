"""Backbones are built from recipes, and know theirs; and what parts must have for that."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.optim.swa_utils import AveragedModel

import zoo
from tests.assembly.base import BASE, UNIFORM, registry_with
from tests.train.small import small
from zoo.assembly import build, load_recipe
from zoo.devices import meta_device
from zoo.errors import RecipeError
from zoo.parts import Norm, initialise
from zoo.parts.base import PatchSchedule
from zoo.parts.blocks import DiTBlock
from zoo.registry import part
from zoo.schedule import Level, Stage


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


def test_a_dataset_is_opened_by_itself(registry):
    source = zoo.dataset("digits_dit", {"backbone.latent.height": 8}, registry=registry).open("held_out")
    samples = source.read(np.array([0, 598]), [np.random.default_rng(0)] * 2)
    assert samples.latents.shape == (2, 1, 8, 16)
    with pytest.raises(RecipeError, match=r"data\.dataset"):
        zoo.dataset("digits_dit", {"data.dataset": "none"}, registry=registry)


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
    assert not list(none.skips.parameters())


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


def test_weights_of_a_later_block_that_nobody_makes_are_refused_too(problems):
    (line,) = problems(BASE + "  block: {type: scaled, first: 1}\n", registry=registry_with(ScaledBlock))
    assert line.startswith("r.yaml:8: backbone.block: scaled, of plug-in zoo-extra: norm (Scale) owns weight")


def test_weights_of_a_later_run_that_nobody_makes_are_told_of_that_run(problems):
    line = "  block: [{blocks: 1}, {type: scaled, blocks: 1}]\n"
    (told,) = problems(BASE + line, registry=registry_with(ScaledBlock))
    assert told.startswith("r.yaml:8: backbone.block.1: scaled, of plug-in zoo-extra: norm (Scale) owns weight")


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
    [(None, "None"), ([Level(patch=2, blocks=1)], "a list of a Level"), (7, "an int"), ((1, 2), "(1, 2)")],
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


def test_building_on_the_meta_device_does_not_import_the_compiler():
    code = "import sys, zoo; zoo.build('mpdit_b', device='meta'); sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0


def test_only_tensors_of_the_meta_device_are_left_undrawn():
    with meta_device():
        here, there = torch.zeros(8, device="cpu"), torch.zeros(8)
        for tensor in (here, there):
            assert tensor.normal_() is tensor
            assert nn.init.normal_(tensor) is tensor
            assert tensor.uniform_() is tensor
            assert nn.init.uniform_(tensor, -1.0, 1.0) is tensor
            assert nn.init.xavier_normal_(tensor.view(2, 4)).shape == (2, 4)
    assert here.unique().numel() == 8
    assert there.is_meta


def test_a_weight_that_its_initialiser_forgets_is_refused_by_the_name_of_its_part():
    @part("norm", "forgetful")
    class Forgetful(Norm):
        def __init__(self, dim: int) -> None:
            super().__init__()
            self.scale, self.shift = (nn.Parameter(torch.empty(dim)) for _ in range(2))
            self.reset_parameters()

        def reset_parameters(self) -> None:
            nn.init.ones_(self.scale)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale + self.shift

    given = ({"backbone.depth": 1, "backbone.block.norm": "forgetful"},)
    recipe = load_recipe("digits_dit", *given, parts=[Forgetful])
    assert build(recipe, device="meta").blocks  # where nothing is allocated, and nothing looked at
    with pytest.raises(RecipeError, match=r"forgetful.*: shift is not made: NaN is left in it where memory was empty"):
        build(recipe, device="cpu")


class Tables(Norm):
    """Scales by tables that no state dict holds."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(dim))
        for name in ("table", "doubled"):
            self.register_buffer(name, torch.empty(dim), persistent=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        nn.init.normal_(self.scale)
        torch.arange(len(self.table), out=self.table)
        self.doubled.copy_(2 * self.scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.table * self.scale


@part("norm", "made_once")
class MadeOnce(Tables):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("table", torch.ones(dim), persistent=False)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.scale)
        self.doubled.zero_()


def test_a_table_that_the_constructor_alone_makes_is_refused_before_it_is_trained():
    """As weights, it would be saved and not load."""
    given = {"backbone.depth": 1, "backbone.block.norm": "made_once"}
    with pytest.raises(RecipeError, match=r"made_once.*: table is made by the constructor alone, and no file holds it"):
        build(load_recipe("digits_dit", given, parts=[MadeOnce]))


@part("norm", "indexed_once")
class IndexedOnce(Tables):
    """Has a table of whole numbers, which no NaN shows."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("index", torch.arange(dim), persistent=False)

    def reset_parameters(self) -> None:
        torch.nn.init.normal_(self.scale)
        self.table.fill_(1.0)
        self.doubled.zero_()


@part("norm", "indexed")
class Indexed(IndexedOnce):
    def reset_parameters(self) -> None:
        super().reset_parameters()
        if hasattr(self, "index"):
            torch.arange(len(self.index), out=self.index)


def test_a_table_of_whole_numbers_is_told_as_well():
    given = {"backbone.depth": 1, "backbone.block.norm": "indexed"}
    build(load_recipe("digits_dit", given, parts=[Indexed]))
    given["backbone.block.norm"] = "indexed_once"
    with pytest.raises(RecipeError, match=r"indexed_once.*: index is made by the constructor alone"):
        build(load_recipe("digits_dit", given, parts=[IndexedOnce]))


def test_to_look_for_such_tables_draws_nothing_and_changes_nothing():
    recipe = load_recipe("digits_dit", {"backbone.block.norm": "tables"}, parts=[part("norm", "tables")(Tables)])
    torch.manual_seed(0)
    built = build(recipe)
    after = torch.rand(1)
    assert all(torch.isfinite(each).all() for each in built.buffers())
    drawn: list[int] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(initialise, "_made_by_the_constructor_alone", lambda module: drawn)
        torch.manual_seed(0)
        other = build(recipe)
    assert torch.rand(1) == after
    for (name, one), two in zip(built.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two), name
