"""Random assemblies keep the laws, and every law catches what breaks it."""

import math
import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Literal

import pytest
import torch
from hypothesis import Phase, find, settings
from torch import nn

from tests.testing.broken.blocks import OneByOne
from tests.testing.test_right_parts import StandsInForTheRest
from zoo import hookimpl, load_recipe
from zoo.backbone import Backbone
from zoo.conditioning import conditions_of, modulations_of
from zoo.errors import PluginError, RecipeError
from zoo.lockstep import Piece
from zoo.parts.base import PatchSchedule
from zoo.parts.blocks import DiTBlock
from zoo.parts.class_conditioners import EmbeddingConditioner
from zoo.parts.heads import LinearHead
from zoo.parts.layers import Linear
from zoo.parts.time_embedders import SinusoidalTimeEmbedder
from zoo.plugins import Plugin
from zoo.registry import Registry, part
from zoo.schedule import Level, Patch, Stage
from zoo.testing import assemblies, check_assemblies, law, recipes
from zoo.testing.asserts import storages
from zoo.testing.cases import randomise
from zoo.testing.random_assemblies import random_assemblies


def registry_with(*parts: type) -> Registry:
    registry = Registry()
    registry.register(SimpleNamespace(zoo_parts=hookimpl(lambda: list(parts))), Plugin("tests", "0"))
    return registry


def test_random_assemblies_keep_every_law(registry):
    check_assemblies(registry, examples=20)


def test_no_law_sees_what_another_did_to_an_assembly(registry):
    recipe = load_recipe("digits_dit", registry=registry)
    first, second = assemblies.build_random(recipe), assemblies.build_random(recipe)
    assert not storages(first) & storages(second)
    expected = {name: value.clone() for name, value in second.state_dict().items()}
    randomise(first, 1)
    for name, value in assemblies.build_random(recipe).state_dict().items():
        assert torch.equal(value, expected[name])
    other = assemblies._build_random(recipe, seed=1).state_dict()
    assert any(not torch.equal(value, expected[name]) for name, value in other.items())


@part("block", "attends_across_the_batch")
class AttendsAcrossTheBatch(OneByOne):
    """What a wrong mask over packed images does: each sees a little of the others."""

    def forward_stage(self, tokens, vectors, layout, *taken):
        return super().forward_stage(tokens + 0.01 * tokens.mean(dim=0, keepdim=True), vectors, layout, *taken)


@part("block", "attends_across_stages")
class AttendsAcrossStages(DiTBlock):
    """Sees a little of the other stages where they are there; a stage by itself comes out right."""

    def forward(self, groups):
        means = [group.tokens.mean(dim=(0, 1)) for group in groups]
        rest = [sum(means) / len(means) - own for own in means]
        return super().forward(
            [group._replace(tokens=group.tokens + 1e-6 * each) for group, each in zip(groups, rest, strict=True)]
        )


@part("block", "learns_from_the_first_stage")
class LearnsFromTheFirstStage(DiTBlock):
    """Right velocities, and gradients of one group alone."""

    def forward(self, groups):
        first, *others = super().forward(groups)
        return [first, *(each.detach() for each in others)]


@part("head", "single_precision")
class SinglePrecisionHead(LinearHead):
    def forward(self, tokens, vectors, grid):
        return super().forward(tokens, vectors, grid).float()


@part("block", "narrow_under_autocast")
class NarrowUnderAutocast(OneByOne):
    """Ends in a Linear, and adds nothing to what it was given."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.last = Linear(dim, dim)

    def forward_stage(self, tokens, vectors, layout, *taken):
        return self.last(super().forward_stage(tokens, vectors, layout, *taken))


@part("class_conditioner", "detached")
class DetachedConditioner(EmbeddingConditioner):
    def forward(self, labels):
        condition = super().forward(labels)
        return type(condition)(vector=condition.vector.detach())


@part("time_embedder", "hidden_state")
class HiddenState(SinusoidalTimeEmbedder):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.shift = float(torch.rand((), device="cpu"))

    def forward(self, t):
        return super().forward(t) + self.shift


SHARED = nn.Parameter(torch.zeros(1))


@part("time_embedder", "shared")
class Shared(SinusoidalTimeEmbedder):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.shift = SHARED

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.shift)


@part("time_embedder", "zeroed_in_the_constructor")
class ZeroedInTheConstructor(SinusoidalTimeEmbedder):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        nn.init.zeros_(self.layers[0].weight)


class Fails(SinusoidalTimeEmbedder):
    """Does what no options mend, for half of them; the option has no default, so that it is always drawn."""

    def __init__(self, dim: int, *, layers: Literal[1, 2]) -> None:
        super().__init__(dim, layers=layers)
        if layers == 1:
            raise TypeError("only two will do")


class BareParameter(SinusoidalTimeEmbedder):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.shift = nn.Parameter(torch.zeros(dim))


@part("block", "holds_what_no_copy_has")
class HoldsWhatNoCopyHas(DiTBlock):
    """A lock, a module, and functions that know the block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.lock, self.math = threading.Lock(), math
        self.scale = nn.Parameter(torch.empty(dim))
        self.scaled = lambda tokens: tokens * self.scale
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale)

    def forward_stage(self, tokens, vectors, layout, *taken):
        with self.lock:
            return super().forward_stage(self.scaled(tokens) * self.math.cos(0), vectors, layout, *taken)


@part("block", "knows_itself")
class KnowsItself(HoldsWhatNoCopyHas):
    """By a function alone, of which a deep copy goes on to know the first block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        del self.math
        self.lock, self.math = nullcontext(), SimpleNamespace(cos=math.cos)


@pytest.mark.parametrize("block", [HoldsWhatNoCopyHas, KnowsItself])
def test_a_part_need_not_be_one_that_can_be_copied(block):
    check_assemblies(registry_with(block), block=block.__zoo_part__[1], examples=2)


def test_what_is_built_in_is_copied():
    for drawn in random_assemblies(Registry(), 20, {}):
        assert assemblies._kept(drawn.recipe).can_be_copied


@part("router", "holds_what_it_leaves_out")
class HoldsWhatItLeavesOut(StandsInForTheRest):
    """A second token that takes no place, in training or else."""

    def __init__(self, depth: int, block_dims: tuple[int, ...]) -> None:
        super().__init__(depth, block_dims)
        self.other = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if hasattr(self, "other"):
            nn.init.zeros_(self.other)


BROKEN = [
    (assemblies.sample_is_alone, AttendsAcrossTheBatch),
    (assemblies.lockstep_is_stage_by_stage, AttendsAcrossStages),
    (assemblies.lockstep_is_stage_by_stage, LearnsFromTheFirstStage),
    (assemblies.keeps_dtype_and_shape, SinglePrecisionHead),
    (assemblies.residual_stream_is_wide, NarrowUnderAutocast),
    (assemblies.gradient_reaches_all, DetachedConditioner),
    (assemblies.gradient_reaches_all, HoldsWhatItLeavesOut),
    (assemblies.state_round_trip, HiddenState),
    (assemblies.builds_share_nothing, Shared),
    (assemblies.initialises_whole, ZeroedInTheConstructor),
]
"""Laws, and parts that break them in an assembly."""


@pytest.mark.usefixtures("drawn_as_ever")
@pytest.mark.parametrize(("law", "broken"), BROKEN, ids=lambda value: value.__name__)
def test_law_catches_a_broken_part(law, broken):
    kind, name = broken.__zoo_part__
    examples = 40 if law is assemblies.lockstep_is_stage_by_stage else 8  # of which few have several stages
    with pytest.raises(AssertionError) as caught:
        check_assemblies(registry_with(broken), laws=[law], examples=examples, **{kind: name})
    lines = str(caught.value).splitlines()
    assert len(lines) <= 9  # with the lines of a test around it, pytest prints 12
    assert lines[0] == f"an assembly with {kind} {name} breaks the law {law.__name__}: {law.summary}".replace("``", "`")
    assert lines[1].startswith(("  found: ", "  fails: "))
    assert any(line.startswith("  recipe: {") and name in line for line in lines)
    assert f"advice: {law.advice} again, " in " ".join(str(caught.value).split())


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Fails, "mine, of plug-in tests, failed: TypeError: only two will do"),
        (BareParameter, r"mine, of plug-in tests: it owns shift and has no reset_parameters\(\)"),
    ],
)
def test_what_no_other_options_would_mend_is_not_passed_over(cls, message):
    mine = part("time_embedder", "mine")(cls)
    with pytest.raises(RecipeError, match=message):
        check_assemblies(registry_with(mine), laws=[assemblies.builds_share_nothing], time_embedder="mine")


def always_the_noisiest(self, t):
    return torch.zeros(len(t), dtype=torch.long)


def at_half_the_noise(self, stage, t, labels):
    return modulations_of(self, [Piece(0, t, t * 0.5, labels)], conditions_of(self, labels, len(t)))


BROKEN_METHODS = [
    (assemblies.follows_its_stages, "stage_of", always_the_noisiest),
    (assemblies.takes_modulation, "modulate", at_half_the_noise),
]
"""Laws, and methods of the backbone with what breaks them in their place."""


@pytest.mark.parametrize(("law", "method", "wrong"), BROKEN_METHODS)
def test_law_catches_a_broken_backbone(registry, monkeypatch, law, method, wrong):
    monkeypatch.setattr(Backbone, method, wrong)
    with pytest.raises(AssertionError):
        check_assemblies(registry, laws=[law], examples=40, patch_schedule="by_timestep")


class Halves(PatchSchedule):
    """Coarse patches in the first half of the blocks."""

    def __init__(self, depth: int, *, coarse: Patch = 6, fine: Patch = 3) -> None:
        self.depth, self.coarse, self.fine = depth, coarse, fine

    def stages(self):
        half = self.depth // 2
        levels = (Level(patch=self.coarse, blocks=half), Level(patch=self.fine, blocks=self.depth - half))
        return (Stage(noise_above=0.0, levels=levels),)


def test_a_schedule_of_a_plug_in_is_drawn():
    registry = registry_with(part("patch_schedule", "halves")(Halves))
    seen = set()

    def look(recipe):
        options = recipe.backbone
        axes = len(options.latent.size)
        stages = options.patch_schedule.create({"depth": options.depth, "axes": axes}).stages()
        patches = tuple(level.patch for stage in stages for level in stage.levels)
        seen.add((options.patch_schedule.type, patches))

    check_assemblies(registry, laws=[law("")(look)], patch_schedule="halves", examples=30)
    assert {name for name, _ in seen} == {"halves"}
    assert len({patches for _, patches in seen}) > 2
    for entry in registry.entries("patch_schedule"):
        find(
            recipes(registry),
            lambda values, name=entry.name: values["backbone"]["patch_schedule"]["type"] == name,
            settings=settings(phases=[Phase.generate], max_examples=2000),
        )


def test_a_schedule_that_never_fits_is_told():
    class TooDeep(Halves):
        def stages(self):
            return (Stage(noise_above=0.0, levels=(Level(patch=2, blocks=self.depth + 1),)),)

    registry = registry_with(part("patch_schedule", "too_deep")(TooDeep))
    with pytest.raises(TypeError, match=r"every example is refused.*backbone.patch_schedule: block counts must add up"):
        check_assemblies(registry, patch_schedule="too_deep", examples=2)


@pytest.mark.parametrize(
    ("fixed", "kind", "message"),
    [
        ({"patch_schedule": "mine"}, PluginError, "there is no patch_schedule 'mine'"),
        ({"block": "dti"}, PluginError, "there is no block 'dti'; did you mean 'dit'"),
        ({"nonsense": "x"}, TypeError, "nonsense='x': the backbone has no part of kind 'nonsense'; there are: patch_"),
        ({"blok": "dit"}, TypeError, "'blok'; did you mean 'block'"),
        ({"solver": "euler"}, TypeError, "the backbone has no part of kind 'solver'"),
        ({"laws": []}, TypeError, "laws: there is none to check"),
    ],
)
def test_what_would_check_nothing_is_an_error(registry, fixed, kind, message):
    with pytest.raises(kind, match=message):
        check_assemblies(registry, **fixed)


def test_a_schedule_whose_options_the_kit_cannot_draw_is_named():
    class Tall(Halves):
        def __init__(self, depth: int, *, levels: tuple[Level, ...]) -> None: ...

    registry = registry_with(part("patch_schedule", "tall")(Tall))
    told = r"patch_schedule tall: the kit cannot draw option 'levels' .* Patch, .*another part$"
    with pytest.raises(TypeError, match=told):
        check_assemblies(registry, patch_schedule="tall")  # with no note of hypothesis behind
