from collections import Counter

from hypothesis import given, settings

from zoo.registry import Registry
from zoo.testing import load_or_pass, recipes


def test_drawn_recipes_load_and_cover_every_part():
    registry = Registry()
    seen: Counter[tuple[str, str]] = Counter()
    oblong = 0

    @settings(max_examples=150)
    @given(values=recipes(registry))
    def draw(values):
        nonlocal oblong
        recipe = load_or_pass(values, registry)
        seen.update((kind, spec.type) for kind, spec in recipe.backbone.parts())
        oblong += recipe.backbone.latent.height != recipe.backbone.latent.width

    draw()
    assert set(seen) == {(entry.kind, entry.name) for entry in registry.entries()}
    assert oblong
