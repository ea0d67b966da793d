"""``--vary``: what a grid is made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import ZooError
from zoo.recipe import read_tree
from zoo.recipe.source import parse_yaml
from zoo.registry import Registry
from zoo.report.sweep import Variation, combinations, name_of, read_variation
from zoo.report.sweep_run import folder_name

REGISTRY = Registry()
BLOCKS = "[{type: dit, blocks: 6}, {type: dit, mlp: swiglu, blocks: 6}]"


def read(text, *overrides):
    return read_variation(text, read_tree("dit_s", overrides), REGISTRY)


def test_values_are_what_set_takes():
    text = "backbone.upsampler={type: linear_mlp, ratio: 2},linear, 'conv_transpose'"
    found = read(text)
    assert found == Variation("backbone.upsampler", ("{type: linear_mlp, ratio: 2}", "linear", "'conv_transpose'"))
    assert parse_yaml(found.values[0], "").plain() == {"type": "linear_mlp", "ratio": 2}
    assert read("a=[1,2],[3]").values == ("[1,2]", "[3]")


@given(st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, unique=True))
def test_numbers_come_back_as_they_were_written(numbers):
    assert read(f"train.x={','.join(map(repr, numbers))}").values == tuple(map(repr, numbers))


def test_all_stands_for_every_part_that_needs_no_option():
    names = tuple(entry.name for entry in REGISTRY.entries("upsampler"))
    assert read("backbone.upsampler=all").values == names
    assert read("backbone.upsampler.type=all").values == names
    assert "latents" not in read("data.dataset=all", "data.dataset=digits").values  # which needs a folder


def test_what_all_leaves_out_is_told_with_what_it_needs():
    found = read("backbone.router=all")
    assert found.values == ("none",)
    assert found.left_out == (
        "--vary backbone.router=all: leaves out tread (needs first and stop); to have it too, write out what"
        " backbone.router takes, such as {type: tread, ...}"
    )
    assert read("backbone.upsampler=all").left_out is None


def test_all_has_the_part_that_the_recipe_gives_the_options_of():
    found = read("backbone.router=all", "backbone.router={type: tread, first: 1, stop: 3}")
    assert found == Variation("backbone.router", ("none", "tread"))


def test_all_of_a_kind_of_which_every_part_needs_options_is_refused():
    with pytest.raises(ZooError, match=r"every patch_schedule needs options: by_depth \(needs levels\), "):
        read("backbone.patch_schedule=all", "backbone.patch_schedule=another")


@pytest.mark.parametrize(
    ("key", "overrides", "kind"),
    [
        ("backbone.block.mlp", (), "mlp"),
        ("backbone.block.attention.type", (), "attention"),
        ("backbone.block.cross", (), "attention"),
        ("backbone.position.add", ("backbone.position=rope",), "position"),
        ("backbone.block.1.mlp", (f"backbone.block={BLOCKS}",), "mlp"),
        ("evaluate.metrics.0", ("evaluate.metrics=[fid]",), "metric"),
    ],
)
def test_all_stands_for_the_parts_that_may_stand_inside_another(key, overrides, kind):
    names = [entry.name for entry in REGISTRY.entries(kind) if not entry.signature.required]
    assert read(f"{key}=all", *overrides).values == tuple(names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backbone.depth", "write it as key=a,b or key=all"),
        ("=1", "write it as key=a,b"),
        ("backbone.depth=", "write it as key=a,b"),
        ("backbone.depth=all", "`all` stands for the parts of a kind, and backbone.depth is none of: backbone.patch"),
        ("backbone.block.ratio=all", "backbone.block.ratio is none of"),
        ("backbone.block.mlp.ratio=all", "backbone.block.mlp.ratio is none of"),
        ("backbone=all", "backbone is none of"),
        ("evaluate.metrics=all", "backbone.head, backbone.router, objective.path"),
        ("backbone.depth=1,,2", "not valid YAML"),
        ("backbone.depth={1", "not valid YAML"),
        ("backbone.depth=2,3,2", "a value is there twice"),
        ("backbone.dim=96]#,[3", "not valid YAML"),
    ],
)
def test_what_is_no_variation(text, message):
    with pytest.raises(ZooError, match=r"--vary ") as caught:
        read(text)
    assert message in str(caught.value)


def test_combinations_are_the_whole_grid_with_the_last_key_fastest():
    grid = [Variation("a", ("1", "2")), Variation("b", ("x", "y", "z"))]
    found = list(combinations(grid))
    assert len(found) == 6
    assert [each["a"] + each["b"] for each in found] == ["1x", "1y", "1z", "2x", "2y", "2z"]
    with pytest.raises(ZooError, match="--vary a: is there twice"):
        list(combinations([Variation("a", ("1",)), Variation("a", ("2",))]))


def test_names_are_short_and_tell_keys_apart():
    assert name_of({"backbone.upsampler": "linear", "backbone.class_conditioner.tokens": "4"}) == (
        "upsampler=linear, tokens=4"
    )
    assert name_of({"backbone.upsampler.type": "linear", "backbone.block.type": "dit"}) == (
        "backbone.upsampler.type=linear, backbone.block.type=dit"
    )


@given(st.lists(st.text(max_size=120), min_size=2, max_size=2, unique=True))
def test_two_combinations_never_share_a_folder(names):
    one, other = map(folder_name, names)
    assert one != other
    assert "/" not in one


def test_a_plain_name_is_its_folder():
    assert folder_name("upsampler=linear, tokens=4") == "upsampler=linear,tokens=4"
