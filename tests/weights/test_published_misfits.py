"""Which format a checkpoint is of, what its shapes tell, and which backbones a format cannot hold."""

from pathlib import Path

import pytest
import torch

from tests.weights.layouts import EXAMPLES, FORMATS, MPDIT, REGISTRY, infer, load, of_stages, own_tensors, published_of
from tests.weights.small import of_axes
from zoo.assembly import build
from zoo.errors import RecipeError, WeightsError
from zoo.weights import Weights, from_published, to_published
from zoo.weights.foreign import ForeignCheckpoint
from zoo.weights.recognition import recognised

# -- which format it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_format_is_recognised_by_its_keys(name):
    keys = list(published_of(name)[1])
    expected = ["sit", "dit"] if name in ("sit", "dit") else [name]
    assert recognised(keys, REGISTRY.formats) == expected
    assert recognised([*keys, "another"], REGISTRY.formats) == expected
    assert recognised([f"model.{key}" for key in keys], REGISTRY.formats) == []


def test_keys_of_none_are_of_no_format():
    assert recognised([], REGISTRY.formats) == []
    assert recognised(list(own_tensors(load(EXAMPLES["sit"]))), REGISTRY.formats) == []


# -- keys that do not fit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_key_that_is_missing_is_told(name):
    recipe, tensors = published_of(name)
    for missing in tensors:
        left = {key: tensor for key, tensor in tensors.items() if key != missing}
        with pytest.raises(WeightsError) as caught:
            from_published(ForeignCheckpoint(Path("x.pt"), left, ""), recipe, REGISTRY, format=name)
        assert caught.value.problems[-1] == f"{missing} is missing"
        assert sum("is missing" in problem for problem in caught.value.problems) == 1


def without(*keys):
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if not key.startswith(keys)}


def changed(**shapes):
    return lambda tensors: tensors | {key: torch.ones(shape) for key, shape in shapes.items()}


UNCLEAR = {
    "missing": ("sit", without("y_embedder"), "y_embedder.embedding_table.weight is missing"),
    "missing block": ("sit", without("blocks.0"), "blocks.0 is missing"),
    "no block": ("sit", without("blocks"), "blocks.0.mlp.fc1.weight is missing"),
    "axes": (
        "sit", changed(**{"x_embedder.proj.weight": (8, 3, 2)}),
        "x_embedder.proj.weight has shape [8, 3, 2], which should have 4 axes, none of them empty",
    ),
    "nothing in it": (
        "sit", changed(**{"x_embedder.proj.weight": (8, 3, 0, 2)}),
        "x_embedder.proj.weight has shape [8, 3, 0, 2], which should have 4 axes, none of them empty",
    ),
    "outputs": (
        "mpdit", changed(**{"final_layer.linear.weight": (25, 8)}),
        "final_layer.linear.weight has 25 rows, and a patch has 24 pixels",
    ),
    "class tokens": (
        "mpdit", changed(**{"y_embedder.embedding_table.weight": (4, 20)}),
        "y_embedder.embedding_table.weight has 20 columns, and the width 8",
    ),
    "grid": (
        "sit", changed(pos_embed=(1, 6, 8)), "pos_embed has 6 positions, of no sin-cos grid and of no square",
    ),
    "tables": ("ppflow", without("pos_embed.1", "pos_embed.2"), "there are 1 position tables in place of two or three"),
    "level": ("mpditv2", without("x_embedder_lvl1"), "x_embedder_lvl1.proj.weight is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "change", "reason"), UNCLEAR.values(), ids=list(UNCLEAR))
def test_shapes_that_tell_no_recipe(name, change, reason):
    with pytest.raises(WeightsError) as caught:
        infer(name, change(published_of(name)[1]))
    assert str(caught.value) == f"x.pt: no recipe can be told from its shapes: {reason}; give --recipe R"


def test_a_table_of_another_kind_is_taken_for_that_of_a_square():
    _, tensors = published_of("sit", EXAMPLES["sit"] | of_stages("sit", [(4, 2)]))
    sizes = []
    for table in (tensors["pos_embed"], torch.ones(1, 16, 8)):
        latent = infer("sit", tensors | {"pos_embed": table}).backbone.latent
        sizes.append((latent.height, latent.width))
    assert sizes == [(8, 16), (16, 8)]


# -- backbones that a format cannot hold ------------------------------------------------------------------------------


def refusal(name, backbone):
    """What is told of an export, a line for every reason."""
    with pytest.raises(WeightsError, match=rf"^drawn: {name} cannot hold it(, and --to [a-z0-9 ]+ can)?:\n") as caught:
        to_published(Weights(load(backbone, name), {}, {}), name, REGISTRY)
    return list(caught.value.problems)


def with_part(name, kind, part):
    """The example of a format with another part, and what goes with it; None where the parts do not go together."""
    others = {"position": "rotary", "block": "rotary"}
    for more in ({}, {other: value for other, value in others.items() if other != kind}):
        try:
            return load(EXAMPLES[name] | more | {kind: part}, name), more
        except RecipeError:
            pass
    return None


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_part_that_the_format_has_not(name):
    seen = set()
    for kind, names in FORMATS[name].parts.items():
        for entry in REGISTRY.entries(kind):
            if entry.name in names or (found := with_part(name, kind, entry.name)) is None:
                continue
            seen.add(kind)
            with pytest.raises(WeightsError) as caught:
                to_published(Weights(found[0], {}, {}), name, REGISTRY)
            line = f"backbone.{kind}: {name} has {' or '.join(names)}, the recipe {entry.name}"
            assert line in caught.value.problems
            assert found[1] or caught.value.problems == (line,)
    choices = {kind for kind in FORMATS[name].parts if len(REGISTRY.entries(kind)) > len(FORMATS[name].parts[kind])}
    assert seen == choices


def stages(thresholds, patches, ties="noisier"):
    given = [{"noise_above": above, "patch": patch} for above, patch in zip(thresholds, patches, strict=True)]
    return {"patch_schedule": {"type": "by_timestep", "stages": given, "ties": ties}}


def levels(*patches):
    given = [{"patch": patch, "blocks": 1} for patch in patches]
    return {"depth": len(given), "patch_schedule": {"type": "by_depth", "levels": given}}


TWO_OF_EACH = {
    "depth": 2,
    "patch_schedule": {
        "type": "by_depth_and_timestep",
        "stages": [
            {"noise_above": above, "levels": [{"patch": 4, "blocks": 1}, {"patch": 2, "blocks": 1}]}
            for above in (0.5, 0.0)
        ],
        "ties": "noisier",
    },
}
ONE_PATCH = "backbone.patch_schedule: {} has one patch for all blocks and noise levels"
STAGES = "backbone.patch_schedule: ppflow has two or three stages by noise level, with one patch each"
MISFITS = {
    "sit stages": ("sit", stages([0.5, 0.0], [4, 2]), ONE_PATCH.format("sit")),
    "dit levels": ("dit", levels(4, 2), ONE_PATCH.format("dit")),
    "one stage": ("ppflow", stages([0.0], [2]), STAGES),
    "four stages": ("ppflow", stages([0.75, 0.5, 0.25, 0.0], [4, 4, 4, 2]), STAGES),
    "stages of levels": ("ppflow", TWO_OF_EACH, STAGES),
    "patches": (
        "ppflow",
        stages([0.5, 0.25, 0.0], [[4, 4], [4, 2], [2, 2]]),
        "backbone.patch_schedule: ppflow's patches would be 4x4, 2x4, 2x2, the recipe's are 4x4, 4x2, 2x2",
    ),
    "thresholds": (
        "ppflow",
        stages([0.6, 0.0], [4, 2]),
        "backbone.patch_schedule: ppflow's stages begin above [0.5, 0.0], the recipe's above [0.6, 0.0]",
    ),
    "attention": (
        "sit",
        {"block": {"attention": {"bias": False}}},
        "backbone.block.attention.bias: sit has True, the recipe False",
    ),
    "norm": ("dit", {"block": {"norm": "rms"}}, "backbone.block.norm: dit has layer, the recipe rms"),
    "cross": ("ppflow", {"block": {"cross": "softmax"}}, "backbone.block.cross: ppflow has none, the recipe softmax"),
    "mlp": (
        "mpdit",
        {"block": {"mlp": {"approximate": "none"}}},
        "backbone.block.mlp.approximate: mpdit has tanh, the recipe none",
    ),
    "runs": (
        "mpdit",
        {"depth": 2, "block": [{"blocks": 1}, {"blocks": 1, "mlp": "swiglu"}]} | levels(4, 2),
        "backbone.block.1.mlp: mpdit has gelu, the recipe swiglu",
    ),
    "one level": ("mpdit", levels(4), "backbone.patch_schedule: mpdit has 2 levels, the recipe 1"),
    "three levels": ("mpdit", levels(8, 4, 2), "backbone.patch_schedule: mpdit has 2 levels, the recipe 3"),
    "two levels": ("mpditv2", levels(4, 2), "backbone.patch_schedule: mpditv2 has 3 levels, the recipe 2"),
    "levels in stages": (
        "mpdit",
        TWO_OF_EACH,
        "backbone.patch_schedule: mpdit has the same patches at every noise level",
    ),
    "no skip": ("mpdit", {"skip": "none"}, "backbone.skip: mpdit has linear, the recipe none"),
    "clock": ("sit", {"time_embedder": "sinusoidal"}, "backbone.time_embedder.clock: sit has data, the recipe noise"),
    "clock of stages": (
        "ppflow",
        {"time_embedder": "sinusoidal"},
        "backbone.time_embedder.clock: ppflow has data, the recipe noise",
    ),
    "clock of levels": (
        "mpditv2",
        {"time_embedder": {"type": "sinusoidal", "clock": "data"}},
        "backbone.time_embedder.clock: mpditv2 has noise, the recipe data",
    ),
    "scale": ("dit", {"time_embedder": "sinusoidal"}, "backbone.time_embedder.scale: dit has 1000.0, the recipe 1.0"),
    "velocity": ("dit", {"prediction": "velocity"}, "backbone.prediction: dit has noise, the recipe velocity"),
    "predicted noise": ("mpdit", {"prediction": "noise"}, "backbone.prediction: mpdit has velocity, the recipe noise"),
}


@pytest.mark.parametrize(("name", "change", "line"), MISFITS.values(), ids=list(MISFITS))
def test_what_a_format_cannot_hold_is_told(name, change, line):
    assert refusal(name, EXAMPLES[name] | change) == [line]


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize(("size", "told"), [((8,), "8"), ((2, 8, 8), "2 x 8 x 8")])
def test_a_format_has_height_and_width(name, size, told):
    recipe = load(EXAMPLES[name], name)
    problems = FORMATS[name].misfits(of_axes(recipe, *size), build(recipe, device="meta"))
    assert list(problems) == [f"backbone.latent: {name} has height and width, the recipe {told}"]


def test_ties_of_the_other_side_are_told_once():
    change = stages([0.5, 0.0], [[4, 8], [2, 4]], ties="cleaner")
    (line,) = refusal("ppflow", EXAMPLES["ppflow"] | change)
    assert line == "backbone.patch_schedule.ties: ppflow has noisier, the recipe cleaner"


ANOTHER_FUNCTION = {
    "grid": ("mpdit", {"time_embedder": {"type": "fno", "grid": 64}}),
    "blocks": ("mpdit", {"time_embedder": {"type": "fno", "blocks": 2}}),
    "layers": ("sit", {"time_embedder": {"type": "sinusoidal", "clock": "data", "layers": 3}}),
}


@pytest.mark.parametrize(("name", "change"), ANOTHER_FUNCTION.values(), ids=list(ANOTHER_FUNCTION))
def test_a_time_embedder_that_published_code_cannot_compute(name, change):
    recipe = load(EXAMPLES[name] | change, name)
    with pytest.raises(WeightsError, match=r"backbone\.time_embedder\.(grid|blocks|layers): "):
        to_published(Weights(recipe, own_tensors(recipe), {}), name, REGISTRY)


def test_all_reasons_are_told_at_once():
    change = {"prediction": "noise", "modulation": "adaln_zero", "skip": "none", **levels(4)}
    assert refusal("mpdit", MPDIT | change) == [
        "backbone.modulation: mpdit has shared_adaln, the recipe adaln_zero",
        "backbone.skip: mpdit has linear, the recipe none",
        "backbone.patch_schedule: mpdit has 2 levels, the recipe 1",
        "backbone.prediction: mpdit has velocity, the recipe noise",
    ]


def test_another_path_is_told():
    recipe = load(EXAMPLES["dit"], "sit")
    assert list(FORMATS["dit"].misfits(recipe, build(recipe, device="meta"))) == [
        "objective.path: dit has vp, the recipe linear"
    ]


def test_an_import_into_such_a_backbone_is_refused_alike():
    _, tensors = published_of("sit")
    recipe = load(EXAMPLES["sit"] | {"modulation": "shared_adaln"} | stages([0.5, 0.0], [4, 2]))
    with pytest.raises(WeightsError, match=r"^x\.pt: drawn cannot hold weights of sit:\n") as caught:
        from_published(ForeignCheckpoint(Path("x.pt"), tensors, ""), recipe, REGISTRY)
    assert caught.value.problems == (
        "backbone.modulation: sit has adaln_zero, the recipe shared_adaln",
        ONE_PATCH.format("sit"),
    )


def test_what_the_published_code_fixes_is_settled_on_import():
    _, tensors = published_of("ppflow")
    recipe = load(
        EXAMPLES["ppflow"]
        | stages([0.5, 0.25, 0.0], [[4, 8], [2, 8], [2, 4]], ties="cleaner")
        | {"time_embedder": {"type": "sinusoidal", "scale": 2.0}, "prediction": "noise"}
    )
    converted = from_published(ForeignCheckpoint(Path("x.pt"), tensors, ""), recipe, REGISTRY)
    assert converted.weights.recipe.backbone.resolved() == load(EXAMPLES["ppflow"]).backbone.resolved()
    assert set(converted.notes) == {
        "backbone.prediction is velocity, as ppflow has it",
        "backbone.time_embedder.clock is data, as ppflow has it",
        "backbone.time_embedder.scale is 1.0, as ppflow has it",
        "backbone.patch_schedule.ties is noisier, as ppflow has it",
    }
