"""Whether samples are such as a backbone takes: what ``zoo data check`` says before it looks at each."""

import pytest
import torch

from tests.train.vectors import vector_registry, vectors
from zoo.assembly import build, create_part
from zoo.data.digits import DigitsSource
from zoo.data.left_out import open_kept
from zoo.train.matching import misfit


def found(*overrides: str) -> str | None:
    registry = vector_registry()
    recipe = vectors(*overrides, registry=registry)
    source, left_out = open_kept(create_part(recipe, "dataset"), "train", ())
    return misfit(recipe, build(recipe, device="meta"), source, left_out)


def test_samples_that_go_with_the_backbone():
    assert found() is None


@pytest.mark.parametrize(
    "overrides",
    [
        ("data.dataset.label_width=1",),
        ("backbone.class_conditioner=embedding", "backbone.num_classes=3"),
    ],
)
def test_labels_that_the_conditioner_does_not_take(overrides):
    message = found(*overrides)
    assert "does not take the labels of dataset points: point 0: labels: must be " in message


def test_class_indices_are_left_to_the_look_at_each_sample(monkeypatch):
    monkeypatch.setattr(DigitsSource, "labels", lambda source, indices: torch.full((len(indices),), 99))
    assert found("data.dataset=digits", "backbone.class_conditioner=embedding", "backbone.num_classes=10") is None
