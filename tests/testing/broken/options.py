"""Parts with an option that changes nothing."""

from typing import Annotated, Literal

from pydantic import Field

from tests.testing.broken import Broken
from tests.testing.broken.modules import Sound
from zoo.registry import part
from zoo.testing.options_laws import every_option_changes_something


@part("time_embedder", "keeps_it_in_mind")
class KeepsItInMind(Sound):
    """Stores the option, and forgets to read it."""

    def __init__(self, dim: int, *, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__(dim)
        self.scale, self.shift = scale, shift

    def forward(self, t):
        return super().forward(t) + self.shift


@part("time_embedder", "always_the_same")
class AlwaysTheSame(Sound):
    """A misspelt choice: both run the same."""

    def __init__(self, dim: int, *, clock: Literal["noise", "data"] = "noise") -> None:
        super().__init__(dim)
        self.clock = clock

    def forward(self, t):
        return super().forward(1 - t if self.clock == "date" else t)


@part("time_embedder", "capped")
class Capped(Sound):
    """Whatever comes is cut down to one."""

    def __init__(self, dim: int, *, layers: Annotated[int, Field(ge=1)] = 1) -> None:
        super().__init__(dim)
        self.layers = min(layers, 1)

    def forward(self, t):
        for _ in range(self.layers):
            embedded = super().forward(t)
        return embedded


BROKEN: list[Broken] = [
    (every_option_changes_something, KeepsItInMind, "whatever scale is, weights, outputs, gradients and what runs are"),
    (every_option_changes_something, AlwaysTheSame, "whatever clock is"),
    (every_option_changes_something, Capped, "whatever layers is"),
]
