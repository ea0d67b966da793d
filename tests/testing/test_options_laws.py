"""Options that change something seldom, or in something else than outputs, are no idle ones."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
import torch
from pydantic import Field
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.testing.broken.blocks import OneByOne
from tests.testing.broken.modules import Sound
from zoo.parts import Attention
from zoo.registry import part
from zoo.testing import check_part
from zoo.testing.options_laws import every_option_changes_something

pytestmark = pytest.mark.usefixtures("drawn_as_ever")


@part("time_embedder", "with_another")
class WithAnother(Sound):
    """``strength`` acts where ``sharp`` is set alone."""

    def __init__(self, dim: int, *, sharp: bool = False, strength: float = 1.0) -> None:
        super().__init__(dim)
        self.strength = strength if sharp else 1.0

    def forward(self, t: Any) -> Any:
        return self.strength * super().forward(t)


@part("time_embedder", "starts_otherwise")
class StartsOtherwise(Sound):
    def __init__(self, dim: int, *, init: Literal["zero", "one"] = "zero") -> None:
        super().__init__(dim)
        self.init = init
        self.scale = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.scale, float(self.init == "one"))

    def forward(self, t: Any) -> Any:
        return super().forward(t) * self.scale


@part("time_embedder", "saves_memory")
class SavesMemory(Sound):
    """The same values by other operators, or by as many again in the backward pass."""

    def __init__(self, dim: int, *, anew: bool = False, in_pieces: bool = False) -> None:
        super().__init__(dim)
        self.anew, self.in_pieces = anew, in_pieces

    def forward(self, t: Any) -> Any:
        if self.in_pieces:
            return torch.cat([super(SavesMemory, self).forward(each) for each in t.split(1)])
        return checkpoint(super().forward, t, use_reentrant=False) if self.anew else super().forward(t)


@part("time_embedder", "stops_the_gradient")
class StopsTheGradient(Sound):
    def __init__(self, dim: int, *, stop: bool = False) -> None:
        super().__init__(dim)
        self.stop = stop

    def forward(self, t: Any) -> Any:
        return super().forward(t.detach() if self.stop else t)


@part("block", "behind_several_in_front")
class BehindSeveralInFront(OneByOne):
    """Acts at few sites."""

    def __init__(self, dim: int, heads: int, *, strength: float = 1.0) -> None:
        super().__init__(dim, heads)
        self.strength = strength

    def forward_stage(self, tokens: Any, vectors: Any, layout: Any, *taken: Any) -> Any:
        return super().forward_stage(tokens, vectors, layout) * (self.strength if layout.m > 1 else 1.0)


@part("block", "takes_others")
class TakesOthers(OneByOne):
    """Says something else of itself alone."""

    def __init__(self, dim: int, heads: int, *, flat: bool = False) -> None:
        super().__init__(dim, heads)
        self.refuses = frozenset({"subset"}) if flat else frozenset()


@part("attention", "of_a_window")
class OfAWindow(Attention):
    """Tokens attend to all where they are few."""

    def __init__(self, dim: int, *, window: Annotated[int, Field(ge=32)] = 64) -> None:
        super().__init__()
        self.values, self.window = nn.Linear(dim, dim), window

    def forward_stage(self, tokens: Any, layout: Any) -> Any:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        near = ((places - places.unsqueeze(1)).abs() < self.window).to(tokens.dtype)
        return near / near.sum(dim=1, keepdim=True) @ self.values(tokens)


@part("time_embedder", "in_groups")
class InGroups(Sound):
    """A head is cut into groups where it is wide."""

    def __init__(self, dim: int, *, groups: Annotated[int, Field(ge=1, le=8)] = 2) -> None:
        super().__init__(dim)
        self.groups = groups if dim > 64 else 1

    def forward(self, t: Any) -> Any:
        return super().forward(t) / self.groups


@pytest.mark.parametrize(
    "sound",
    [
        *(WithAnother, StartsOtherwise, SavesMemory, StopsTheGradient, BehindSeveralInFront, TakesOthers),
        *(OfAWindow, InGroups),
    ],
)
def test_an_option_that_changes_something_somewhere_is_none(sound: type) -> None:
    check_part(sound, laws=[every_option_changes_something], examples=1)
