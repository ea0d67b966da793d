from collections import Counter
from typing import Annotated

from hypothesis import given, settings
from pydantic import Field

from zoo.assembly import load_recipe
from zoo.errors import RecipeError
from zoo.kinds import BACKBONE_KINDS
from zoo.parts import TimeEmbedder
from zoo.plugins import Plugin
from zoo.registry import Registry, part, part_entry
from zoo.testing import options, recipes


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
    assert set(seen) == {(entry.kind, entry.name) for kind in BACKBONE_KINDS for entry in registry.entries(kind)}
    assert oblong


def test_numbers_are_drawn_around_the_default_and_in_their_steps():
    @part("time_embedder", "numbers")
    class Numbers(TimeEmbedder):
        def __init__(
            self,
            dim: int,
            *,
            free: int = 100,
            steps: Annotated[int, Field(ge=8, le=64, multiple_of=8)] = 8,
            wide: Annotated[float, Field(ge=-1e6, le=1e6)] = 100.0,
            either: int | None = None,
        ) -> None: ...

        def forward(self, t): ...

    entry = part_entry(Numbers, Plugin("under test", "0"))
    seen = set()

    @settings(max_examples=50)
    @given(drawn=options(entry))
    def draw(drawn):
        chosen = entry.signature.options.model_validate(drawn)
        seen.add(chosen.free)
        assert abs(chosen.free - 100) < 10
        assert abs(chosen.wide - 100) < 10
        assert chosen.either is None

    draw()
    assert len(seen) > 1
