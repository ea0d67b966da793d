"""What parts say of themselves: a word that is misspelt, or of another type, is told where it was written."""

from dataclasses import fields

import pytest
import yaml
from torch import nn

from tests.assembly.base import BASE, problems_of, registry_with
from zoo.attributes import FIELDS
from zoo.callbacks import Callback
from zoo.errors import PluginError
from zoo.evaluate.base import FeatureSet
from zoo.evaluate.frechet import FID
from zoo.flow.guidance import ClassifierFreeGuidance
from zoo.parts.base import PatchSchedule
from zoo.parts.blocks import DiTBlock
from zoo.parts.class_conditioners import EmbeddingConditioner
from zoo.parts.heads import LinearHead
from zoo.parts.modulations import AdaLNZero
from zoo.parts.routers import NoRouter
from zoo.parts.skips import LinearSkip
from zoo.registry import part
from zoo.schedule import Level, Stage

SET = "; let it be a set of facts, such as {'context'}"
AXES = "; let it be a set of those of 1, 2 and 3 that it takes, such as {2}"
VECTORS = "; let it be a whole number from 0 to 1000"
TOKENS = "; let it be a whole number from 0 to 100000"
BLOCKS = "; let it be a tuple of the numbers of earlier blocks, such as (0,)"
FEEDS = "; let it be one of 'latents', 'kept', 'nothing'"

WRONG = [
    (DiTBlock, "needs", "rotary", f"'rotary'{SET}"),
    (DiTBlock, "needs", None, f"None{SET}"),
    (DiTBlock, "needs", ("rotary",), f"('rotary',){SET}"),
    (DiTBlock, "needs", {"rotory"}, "{'rotory'}; 'rotory' is none of its facts; did you mean 'rotary'?"),
    (
        DiTBlock,
        "uses",
        frozenset({7}),
        "frozenset({7}); 7 is none of its facts; there are: context, kept, label, prefix, rotary, subset, vectors",
    ),
    (EmbeddingConditioner, "gives", {"labels"}, "{'labels'}; 'labels' is none of its facts; did you mean 'label'?"),
    (NoRouter, "gives", {"rotary"}, "{'rotary'}; 'rotary' is none of its facts; there are: subset"),
    (DiTBlock, "gives", {"vectors"}, "{'vectors'}; a block gives nothing that others ask for: leave it out"),
    (DiTBlock, "refuses", {"prefixes"}, "{'prefixes'}; 'prefixes' is none of its facts; did you mean 'prefix'?"),
    (
        DiTBlock,
        "refuses",
        {"kept"},
        "{'kept'}; 'kept' is none of its facts; there are: context, label, prefix, rotary, subset, vectors",
    ),
    (DiTBlock, "axes", 2, f"2{AXES}"),
    (DiTBlock, "axes", {"2"}, f"{{'2'}}{AXES}"),
    (DiTBlock, "axes", frozenset(), f"frozenset(){AXES}"),
    (DiTBlock, "axes", {2, 4}, f"{{2, 4}}{AXES}"),
    (DiTBlock, "modulation_vectors", -1, f"-1{VECTORS}"),
    (DiTBlock, "modulation_vectors", 2.5, f"2.5{VECTORS}"),
    (DiTBlock, "modulation_vectors", "6", f"'6'{VECTORS}"),
    (LinearHead, "modulation_vectors", True, f"True{VECTORS}"),
    (LinearHead, "modulation_vectors", 10**9, f"1000000000{VECTORS}"),
    (DiTBlock, "takes", 0, f"0{BLOCKS}"),
    (DiTBlock, "takes", ("0",), f"('0',){BLOCKS}"),
    (DiTBlock, "lends", (3,), "(3,); let it be two of its vectors by index, shift and scale, such as (3, 4), or None"),
    (EmbeddingConditioner, "class_tokens", -1, f"-1{TOKENS}"),
    (EmbeddingConditioner, "drops", -1, f"-1{TOKENS}"),
    (EmbeddingConditioner, "uses_labels", 0, "0; let it be True or False"),
    (AdaLNZero, "tokens", 1.0, f"1.0{TOKENS}"),
    (NoRouter, "first", 1.5, "1.5; let it be a whole number from 0 to 1000000"),
    (NoRouter, "stop", "1", "'1'; let it be a whole number from 0 to 1000000"),
    (NoRouter, "spans_widths", None, "None; let it be True or False"),
    (LinearSkip, "feeds", "latent", f"'latent'{FEEDS}; did you mean 'latents'?"),
    (LinearSkip, "feeds", None, f"None{FEEDS}; did you mean 'nothing'?"),
]
TOGETHER = [(NoRouter, "first", 1, "1 and stop = 0; let stop come after first, or equal it for no route")]
"""Of a class it may be mended by its constructor."""
DEEP = "{type: by_depth, levels: [{patch: 4, blocks: 1}, {patch: 2, blocks: 1}]}"


@pytest.mark.parametrize(("base", "attribute", "value", "told"), WRONG)
def test_of_a_class_that_is_registered(base, attribute, value, told):
    cls = part(base.kind, "mine")(type("Mine", (base,), {attribute: value, "__module__": "strangers"}))
    with pytest.raises(PluginError) as caught:
        registry_with(cls)
    assert str(caught.value) == f"plug-in zoo-extra: strangers.Mine has {attribute} = {told}"


@pytest.mark.parametrize(("base", "attribute", "value", "told"), [*WRONG, *TOGETHER])
def test_of_a_part_that_is_built(base, attribute, value, told):
    class Mine(base):
        def __init__(self, dim: int, heads: int) -> None:
            nn.Module.__init__(self)
            setattr(self, attribute, value)

    class Alone(base):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            setattr(self, attribute, value)

    cls = part(base.kind, "mine")(Mine if base.kind == "block" else Alone)
    values = yaml.safe_load(BASE.replace("{type: uniform, patch: 2}", DEEP))
    values["backbone"][base.kind] = "mine"
    (problem,) = problems_of(values, registry_with(cls))
    assert problem == f"recipe: backbone.{base.kind}: mine, of plug-in zoo-extra: has {attribute} = {told}"


def test_of_guidance_that_needs_what_there_is_not():
    given = {"second": "nul", "__module__": "strangers"}
    cls = part("guidance", "mine")(type("Mine", (ClassifierFreeGuidance,), given))
    told = "has second = 'nul'; let it be one of 'null', 'weights'; did you mean 'null'"
    with pytest.raises(PluginError, match=told):
        registry_with(cls)


@pytest.mark.parametrize(
    ("attribute", "value", "told"),
    [
        ("needs", ("poled",), "('poled',); 'poled' is no field of a FeatureSet; did you mean 'pooled'?"),
        ("needs", "pooled", "'pooled'; let it be a tuple of fields of a FeatureSet, such as ('pooled',)"),
        ("more_is_better", "mine", "'mine'; let it be a tuple of names, such as ('features',)"),
    ],
)
def test_of_a_metric_that_needs_what_no_features_have(attribute, value, told):
    given = {attribute: value, "__module__": "strangers"}
    cls = part("metric", "mine")(type("Mine", (FID,), given))
    with pytest.raises(PluginError) as caught:
        registry_with(cls)
    assert str(caught.value) == f"plug-in zoo-extra: strangers.Mine has {attribute} = {told}"
    assert tuple(each.name for each in fields(FeatureSet)) == FIELDS


@pytest.mark.parametrize("folder", ["checkpoints", "evaluations", "parts", "snapshots"])
def test_of_a_callback_that_writes_where_the_run_itself_does(folder):
    cls = part("callback", "mine")(type("Mine", (Callback,), {"writes_to": folder, "__module__": "strangers"}))
    with pytest.raises(PluginError, match=f"has writes_to = '{folder}'; let it be the name of a folder in a run, such"):
        registry_with(cls)


def test_of_a_block_that_lends_what_it_does_not_take():
    class Mine(DiTBlock):
        def __init__(self, dim: int, heads: int) -> None:
            nn.Module.__init__(self)
            self.modulation_vectors, self.lends = 4, (3, 4)

    values = yaml.safe_load(BASE)
    values["backbone"]["block"] = "mine"
    (problem,) = problems_of(values, registry_with(part("block", "mine")(Mine)))
    assert problem.endswith(
        "has lends = (3, 4), and takes 4 vectors; let it name two of them, from 0, or set lends = None"
    )


def test_of_what_a_property_says_it_is_told_when_the_part_is_built():
    def told(self):
        return "rotary"

    class Mine(DiTBlock):
        needs = property(told)

        def __init__(self, dim: int, heads: int) -> None:
            nn.Module.__init__(self)

    registry = registry_with(part("block", "mine")(Mine))
    values = yaml.safe_load(BASE)
    values["backbone"]["block"] = "mine"
    (problem,) = problems_of(values, registry)
    assert problem.endswith(f"mine, of plug-in zoo-extra: has needs = 'rotary'{SET}")


def test_of_a_property_that_raises_and_why():
    class Mine(DiTBlock):
        @property
        def needs(self):
            return self.turned

        def __init__(self, dim: int, heads: int) -> None:
            nn.Module.__init__(self)

    values = yaml.safe_load(BASE)
    values["backbone"]["block"] = "mine"
    (problem,) = problems_of(values, registry_with(part("block", "mine")(Mine)))
    assert problem.endswith("has needs that cannot be read: 'Mine' object has no attribute 'turned'")


def test_of_a_schedule_and_which_stage_a_threshold_belongs_to():
    @part("patch_schedule", "mine")
    class Mine(PatchSchedule):
        def __init__(self, depth: int, *, ties: str = "cleanest") -> None:
            self.ties, self.depth = ties, depth

        def stages(self):
            return (Stage(noise_above=0.0, levels=(Level(patch=2, blocks=self.depth),)),)

    values = yaml.safe_load(BASE)
    values["backbone"]["patch_schedule"] = "mine"
    (problem,) = problems_of(values, registry_with(Mine))
    assert problem == (
        "recipe: backbone.patch_schedule: mine, of plug-in zoo-extra: has ties = 'cleanest'; let it be one of"
        " 'cleaner', 'noisier'; did you mean 'cleaner'?"
    )


def test_a_constructor_may_say_the_rest():
    late = part("router", "late")(type("Late", (NoRouter,), {"first": 1, "__init__": lambda self: None}))
    assert registry_with(late).get("router", "late").cls is late
