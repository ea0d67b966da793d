"""Whatever a recipe says, it is read or refused, and read back the same."""

import copy
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from tests.assembly.base import BASE, problems_of
from zoo.assembly import create_part, load_recipe
from zoo.errors import RecipeError
from zoo.recipe.find import package_recipes
from zoo.testing import recipes


@given(st.data())
@settings(max_examples=25)
def test_a_resolved_recipe_is_read_back_the_same(registry, data):
    try:
        recipe = load_recipe(data.draw(recipes(registry)), (), registry)
    except RecipeError:  # drawn parts need not go together
        reject()
    full = recipe.resolved()
    Path("resolved.yaml").write_text(yaml.safe_dump(full))
    assert load_recipe("resolved.yaml", (), registry) == recipe
    assert load_recipe(full, (), registry) == recipe


VIDEO = {"backbone.latent": {"channels": 2, "size": [2, 4, 4]}, "backbone.dim": 24}


def test_a_dataset_that_was_filled_in_and_does_not_suit_is_not_written_out(registry):
    base = yaml.safe_load(BASE)
    recipe = load_recipe(base, VIDEO, registry)
    assert "dataset" not in recipe.resolved()["data"]
    assert load_recipe(recipe.resolved(), (), registry) == recipe
    assert load_recipe(base, (), registry).resolved()["data"]["dataset"] == {"type": "digits"}
    with pytest.raises(RecipeError, match=r"data\.dataset: digits: makes latents of two axes"):
        create_part(recipe, "dataset")
    with pytest.raises(RecipeError, match=r"data\.dataset: digits: makes latents of two axes"):
        load_recipe(base, {**VIDEO, "data.dataset": "digits"}, registry)


@given(st.integers(0, 2**32))
@settings(max_examples=100)
def test_mutated_recipes_are_read_or_refused(registry, seed):
    draw = random.Random(seed)
    text = list((package_recipes() / "hybrid_b.yaml").read_text().replace("extends: mpdit_b.yaml", "extends: mpdit_b"))
    for _ in range(draw.randint(1, 6)):
        start = draw.randrange(len(text))
        text[start : start + draw.randint(0, 3)] = draw.choice(
            [*"{}[]:,-#&*!|>'\"% \n\t0.9x", ": ", "true", "null", "1e9"]
        )
    Path("mutated.yaml").write_text("".join(text))
    assert all(line.startswith("mutated.yaml") and line.isprintable() for line in problems_of("mutated.yaml", registry))


VALUES = st.sampled_from(
    [
        None,
        True,
        0,
        1,
        -1,
        2,
        3,
        10**9,
        10**30,
        0.5,
        -0.0,
        float("inf"),
        "",
        "fno",
        "linear",
        [],
        [2, 4],
        {},
        {"type": "fno"},
    ]
)


@given(st.data())
@settings(max_examples=100)
def test_recipes_with_odd_values_are_read_or_refused(registry, data):
    values = load_recipe(yaml.safe_load(BASE), (), registry).resolved()
    for _ in range(data.draw(st.integers(1, 3))):
        at = values
        while isinstance(at, dict) and at:
            key = data.draw(st.sampled_from(sorted(at)))
            if not isinstance(at[key], dict) or data.draw(st.integers(0, 3)) == 0:
                at[key] = copy.deepcopy(data.draw(VALUES))  # since the next of them may be put into this one
                break
            at = at[key]
    assert all(line.startswith("recipe: ") and line.isprintable() for line in problems_of(values, registry))
