"""A validated recipe is a value: it can be copied, compared and sent to another process."""

import copy
import pickle

import pytest

from tests.train.small import small
from zoo.assembly import build, create_part
from zoo.registry import Registry


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda recipe: pickle.loads(pickle.dumps(recipe))])
def test_a_copy_is_equal_and_builds(copied):
    recipe = small("data.normalize={type: per_channel, mean: [0.5], std: [2.0]}")
    found = copied(recipe)
    assert found == recipe
    assert found.resolved() == recipe.resolved()
    assert found.backbone.patch_schedule.options == recipe.backbone.patch_schedule.options
    assert build(found, device="meta").stages == build(recipe, device="meta").stages
    assert create_part(found, "normalize").mean == create_part(recipe, "normalize").mean


def test_recipes_of_two_registries_are_equal_and_need_neither():
    one, other = small(registry=Registry()), small(registry=Registry())
    assert one == other
    assert one.plugins().keys() == {"zoo"}
