"""Which classes of a donor's those of another backbone start as."""

from __future__ import annotations

import json

import pytest
import torch

from tests.weights.small import inputs, random_weights, small
from zoo.assembly import build
from zoo.classes import Classes
from zoo.errors import WeightsError
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.weights import Weights, adapt, are_the_donors, filled
from zoo.weights.class_rows import class_rows

REGISTRY = Registry()
NAMES = ("ant", "bee", "cat", "dog", "elk")


def recipe(num_classes: int = 5, classes: list[int | None] | None = None) -> Recipe:
    init = json.dumps({"weights": "/w", "fit": "adapt", "classes": classes or []})
    return small(REGISTRY, f"train.init={init}", num_classes=num_classes)


def donor(names: tuple[str, ...] = NAMES) -> Weights:
    found = random_weights(recipe(), REGISTRY)
    return Weights(found.recipe, found.tensors, found.source, Classes(names))


@pytest.mark.parametrize(
    ("target", "names", "sources", "how"),
    [
        (recipe(3), ("dog", "ant", "fox"), (3, 0, None), "of the same name"),
        (recipe(3), ("fox", "gnu", "hen"), (0, 1, 2), "of the same number"),
        (recipe(7), (), (0, 1, 2, 3, 4, None, None), "of the same number"),
        (recipe(5), NAMES, (0, 1, 2, 3, 4), "of the same name"),
        (recipe(6), ("bee",), (1, None, None, None, None, None), "of the same name"),
        (recipe(3, [4, None, 4]), ("dog", "ant", "fox"), (4, None, 4), "that train.init names"),
    ],
)
def test_names_go_before_numbers_and_what_is_asked_for_before_both(
    target: Recipe, names: tuple[str, ...], sources: tuple[int | None, ...], how: str
) -> None:
    assert class_rows(donor(), target, names)[:2] == (sources, how)


def test_classes_compute_what_the_donors_of_their_names_did() -> None:
    own, target = donor(), recipe(3)
    latents, _ = inputs(target)
    t = torch.tensor([0.0, 0.3, 0.6, 1.0])
    surgery = adapt(own, target, build(target, device="cpu").state_dict(), REGISTRY, ("dog", "ant", "fox"))
    assert surgery.notes == [
        "class_conditioner: 3 classes (5 in the donor): 2 are the donor's of the same name, 1 start anew; 3 of the"
        " donor's are left behind"
    ]
    with torch.no_grad():
        found = filled(Weights(target, surgery.tensors, {}), torch.device("cpu"))(
            latents, t, torch.tensor([0, 1, 3, 0])
        )
        wanted = filled(own, torch.device("cpu"))(latents, t, torch.tensor([3, 0, 5, 3]))
    torch.testing.assert_close(found, wanted)


def test_weights_of_the_same_backbone_are_taken_as_they_are_where_classes_are_the_same() -> None:
    assert are_the_donors(donor(), recipe(), NAMES)
    assert are_the_donors(donor(()), recipe())
    assert not are_the_donors(donor(), recipe(), NAMES[::-1])
    assert not are_the_donors(donor(), recipe(5, [0, 1, 2, 3, 3]), NAMES)
    assert not are_the_donors(donor(), recipe(4), NAMES)


@pytest.mark.parametrize(
    ("classes", "told"),
    [([0, 1], "names 2 classes, and backbone.num_classes is 3"), ([0, 5, 1], "the donor has no class 5; it has 5")],
)
def test_classes_that_are_not_there_are_refused(classes: list[int], told: str) -> None:
    with pytest.raises(WeightsError, match=told):
        class_rows(donor(), recipe(3, classes))
