"""However few cases are drawn, no part is spared those in which it is easily wrong."""

from __future__ import annotations

from typing import Any

import hypothesis.core
import pytest

from tests.testing.broken.blocks import OneByOne
from zoo.parts import Grid
from zoo.parts.heads import LinearHead
from zoo.parts.patch_embedders import LinearPatchEmbedder
from zoo.parts.upsamplers import LinearUpsampler
from zoo.registry import part
from zoo.testing import check_part, laws


class Fails(OneByOne):
    """Returns a token less where ``there`` says so."""

    def there(self, layout: Any) -> bool:
        raise NotImplementedError

    def forward_stage(self, tokens: Any, vectors: Any, layout: Any, *taken: Any) -> Any:
        found = super().forward_stage(tokens, vectors, layout)
        return found[:, 1:] if self.there(layout) else found


@part("block", "fails_without_front")
class FailsWithoutFront(Fails):
    def there(self, layout: Any) -> bool:
        return layout.m == 0


@part("block", "fails_behind_front_on_three_axes")
class FailsBehindFrontOnThreeAxes(Fails):
    def there(self, layout: Any) -> bool:
        return layout.m > 0 and len(layout.grid) == 3


@part("block", "fails_on_one_axis_alone")
class FailsOnOneAxisAlone(Fails):
    def there(self, layout: Any) -> bool:
        return layout.m == 0 and len(layout.grid) == 1


@part("block", "takes_a_root")
class TakesARoot(Fails):
    """Knows square grids of two axes alone, where one token more or less is no matter."""

    def there(self, layout: Any) -> bool:
        return len(layout.grid) == 2 and layout.grid[0] < layout.grid[1]


@part("head", "turned")
class Turned(LinearHead):
    def __init__(self, dim: int, channels: int, patch: Grid) -> None:
        super().__init__(dim, channels, patch)
        self.patch = tuple(reversed(patch))


@part("patch_embedder", "first_side")
class FirstSide(LinearPatchEmbedder):
    """Takes the first side of a patch for all of them."""

    def __init__(self, dim: int, channels: int, patch: Grid) -> None:
        super().__init__(dim, channels, (patch[0],) * len(patch))


@part("upsampler", "loses_front")
class LosesFront(LinearUpsampler):
    def forward(self, tokens: Any, m: int, grid: Grid, kept: Any = None) -> Any:
        found, finer = super().forward(tokens, m, grid)
        return found[:, m:], finer


BROKEN = [
    FailsWithoutFront,
    FailsBehindFrontOnThreeAxes,
    FailsOnOneAxisAlone,
    TakesARoot,
    Turned,
    FirstSide,
    LosesFront,
]


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_part_that_fails_in_one_corner_is_caught_whatever_is_drawn(broken, seed, monkeypatch):
    monkeypatch.setattr(hypothesis.core, "global_force_seed", seed)
    with pytest.raises(AssertionError, match="returns shapes"):
        check_part(broken, laws=[laws.shape_contract, laws.runs_on_its_axes, laws.changes_the_width], examples=1)
