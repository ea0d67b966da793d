"""Checkpoints as others write them, and imports of them into backbones as small as they can be."""

from pathlib import Path

import pytest
import torch

from tests.weights.tiny import DIT, SIT
from zoo.assembly import build, load_recipe
from zoo.weights import Weights, from_published, to_published
from zoo.weights.foreign import ForeignCheckpoint


@pytest.fixture
def save(tmp_path):
    """Writes what torch.save writes."""

    def do(content, name="x.pt", **how):
        torch.save(content, tmp_path / name, **how)
        return tmp_path / name

    return do


@pytest.fixture
def written(tmp_path):
    """Writes bytes."""

    def do(content, name="x.pt"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return do


@pytest.fixture
def recipe(registry):
    def do(backbone):
        objective = {"path": "vp"} if backbone is DIT else {}
        return load_recipe({"name": "mine", "backbone": backbone, "objective": objective}, registry=registry)

    return do


@pytest.fixture
def published(registry, recipe):
    """Weights in a published layout, random ones."""

    def do(layout="sit", backbone=SIT):
        own = build(recipe(backbone), registry=registry, device="cpu").state_dict()
        return to_published(Weights(recipe(backbone), own, {}), layout, registry)

    return do


@pytest.fixture
def convert(registry, recipe):
    """An import of tensors as if from a file of that name, into a backbone or, if None, one that shapes tell."""

    def do(tensors, backbone=None, name="x.pt", overrides=("backbone.heads=2",), **how):
        checkpoint = ForeignCheckpoint(Path(name), tensors, "")
        given = None if backbone is None else recipe(backbone)
        return from_published(checkpoint, given, registry, overrides=() if given else overrides, **how)

    return do
