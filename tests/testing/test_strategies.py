from collections import Counter

from hypothesis import given, settings

from zoo.assembly import load_recipe
from zoo.errors import RecipeError
from zoo.registry import Registry
from zoo.testing import recipes


def test_drawn_recipes_load_and_cover_every_part():
    registry = Registry()
    seen: Counter[tuple[str, str]] = Counter()
    oblong = 0
    refused: list[str] = []

    @settings(max_examples=150)
    @given(values=recipes(registry))
    def draw(values):
        nonlocal oblong
        try:
            recipe = load_recipe(values, registry=registry)
        except RecipeError as error:
            refused.extend(error.problems)
            return
        seen.update((kind, spec.type) for kind, spec in recipe.backbone.parts())
        oblong += recipe.backbone.latent.height != recipe.backbone.latent.width

    draw()
    assert all("frequencies" in refusal for refusal in refused), "all else goes together wherever the sizes divide"
    assert set(seen) == {(entry.kind, entry.name) for entry in registry.entries()}
    assert oblong
