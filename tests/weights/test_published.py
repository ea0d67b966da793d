"""Published layouts: every bit goes there and back, and shapes tell the backbone."""

import importlib
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.weights.layouts import (
    EXAMPLES,
    FORMATS,
    KINDS,
    MPDIT,
    backbones,
    check_inferred,
    check_there_and_back,
    infer,
    published_of,
    same_bits,
)
from zoo.errors import WeightsError, ZooError
from zoo.weights.published import Tensors
from zoo.weights.published.base import body_of
from zoo.weights.published.layout import Turn


@pytest.mark.parametrize(("name", "count"), KINDS, ids=str)
def test_every_bit_goes_there_and_back(name, count):
    oblong = 0

    @settings(max_examples=15)
    @given(
        backbone=backbones(name, count),
        seed=st.integers(0, 2**31),
        dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
        as_pickle=st.booleans(),
    )
    def law(backbone, seed, dtype, as_pickle):
        nonlocal oblong
        check_there_and_back(name, backbone, seed, dtype, as_pickle)
        oblong += backbone["latent"]["height"] != backbone["latent"]["width"]

    law()
    assert oblong


@pytest.mark.parametrize(("name", "count"), KINDS, ids=str)
def test_shapes_tell_the_backbone(name, count):
    @settings(max_examples=12)
    @given(backbone=backbones(name, count), dtype=st.sampled_from([torch.float32, torch.float16]))
    def law(backbone, dtype):
        check_inferred(name, backbone, dtype)

    law()


def test_bits_are_compared_one_by_one():
    one = {"a": torch.zeros(2)}
    assert same_bits(one, {"a": torch.zeros(2)})
    for other in ({"a": -torch.zeros(2)}, {"b": torch.zeros(2)}, {"a": torch.zeros(2, 1)}, {"a": torch.zeros(2).int()}):
        assert not same_bits(one, other)


@pytest.mark.parametrize("name", ["sit", "ppflow"])
def test_a_sign_that_turns_one_way_only_is_noticed(name, monkeypatch):
    monkeypatch.setattr(
        Turn, "to_own", lambda turn, tensor: replace(turn, sign=1)._turned(tensor, turn.published, turn.own)
    )
    with pytest.raises(AssertionError):
        check_there_and_back(name, EXAMPLES[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_tensor_that_is_forgotten_is_noticed(name, monkeypatch):
    sound = type(FORMATS[name]).entries
    monkeypatch.setattr(type(FORMATS[name]), "entries", lambda *given: list(sound(*given))[1:])
    with pytest.raises(WeightsError, match="has no place for them"):
        check_there_and_back(name, EXAMPLES[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_sides_that_are_mixed_up_are_noticed(name, monkeypatch):
    module = importlib.import_module(type(FORMATS[name]).infer.__module__)
    sound = module.grid_of_table
    monkeypatch.setattr(module, "grid_of_table", lambda *given: sound(*given)[::-1])
    oblong = EXAMPLES[name] | {"latent": {"channels": 3, "height": 8, "width": 48}}
    with pytest.raises((AssertionError, ZooError)):
        check_inferred(name, oblong)


def test_a_rounded_table_is_the_same_table():
    check_inferred("sit", EXAMPLES["sit"], torch.bfloat16)


def test_what_shapes_cannot_tell_is_the_default():
    drawn = MPDIT | {"class_conditioner": {"type": "class_tokens", "tokens": 2, "std": 1.0}}
    recipe = infer("mpdit", published_of("mpdit", drawn)[1]).backbone
    assert recipe.class_conditioner.resolved()["std"] == 0.02
    assert recipe.time_embedder.resolved()["grid"] == 32


@given(dim=st.integers(1, 64).map(lambda count: 4 * count), hidden=st.integers(1, 2000))
def test_an_inferred_ratio_gives_the_mlp_its_width(dim, hidden):
    tensors = Tensors({"blocks.0.mlp.fc1.weight": torch.empty(hidden, dim, device="meta")}, "x.pt")
    ratio = body_of(tensors, "blocks.0", 1).get("block", {"mlp": {"ratio": 4.0}})["mlp"]["ratio"]
    assert int(dim * ratio) == hidden


@pytest.mark.parametrize(("width", "heads"), [(384, 6), (768, 12), (1024, 16), (1152, 16), (400, None)])
def test_heads_of_published_widths_are_known(width, heads):
    tensors = Tensors({"blocks.0.mlp.fc1.weight": torch.empty(4 * width, width, device="meta")}, "x.pt")
    assert body_of(tensors, "blocks.0", 7) == {"dim": width, "depth": 7} | ({"heads": heads} if heads else {})
