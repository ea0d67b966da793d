"""``--vary``: what a grid is made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import ZooError
from zoo.recipe.source import parse_yaml
from zoo.registry import Registry
from zoo.report.sweep import Variation, combinations, name_of, read_variation
from zoo.report.sweep_run import folder_name

REGISTRY = Registry()


def test_values_are_what_set_takes():
    text = "backbone.upsampler={type: linear_mlp, ratio: 2},linear, 'conv_transpose'"
    found = read_variation(text, REGISTRY)
    assert found == Variation("backbone.upsampler", ("{type: linear_mlp, ratio: 2}", "linear", "'conv_transpose'"))
    assert parse_yaml(found.values[0], "").plain() == {"type": "linear_mlp", "ratio": 2}
    assert read_variation("a=[1,2],[3]", REGISTRY).values == ("[1,2]", "[3]")


@given(st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, unique=True))
def test_numbers_come_back_as_they_were_written(numbers):
    assert read_variation(f"train.x={','.join(map(repr, numbers))}", REGISTRY).values == tuple(map(repr, numbers))


def test_all_stands_for_every_part_that_needs_no_option():
    names = tuple(entry.name for entry in REGISTRY.entries("upsampler"))
    assert read_variation("backbone.upsampler=all", REGISTRY).values == names
    assert read_variation("backbone.upsampler.type=all", REGISTRY).values == names
    assert "latents" not in read_variation("data.dataset=all", REGISTRY).values  # which needs a folder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backbone.depth", "write it as key=a,b or key=all"),
        ("=1", "write it as key=a,b"),
        ("backbone.depth=", "write it as key=a,b"),
        ("backbone.depth=all", "`all` stands for the parts of a kind, and backbone.depth is none of: backbone.patch"),
        ("evaluate.metrics=all", "backbone.head, backbone.router, objective.noise_sampler"),
        ("backbone.depth=1,,2", "not valid YAML"),
        ("backbone.depth={1", "not valid YAML"),
        ("backbone.depth=2,3,2", "a value is there twice"),
        ("backbone.dim=96]#,[3", "not valid YAML"),
    ],
)
def test_what_is_no_variation(text, message):
    with pytest.raises(ZooError, match=r"--vary ") as caught:
        read_variation(text, REGISTRY)
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
