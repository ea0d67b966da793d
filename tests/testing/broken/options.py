"""Parts with an option that changes nothing."""

from typing import Annotated, Literal

from pydantic import Field

from tests.testing.broken import Broken
from tests.testing.broken.modules import Sound
from zoo.flow.noise_samplers import UniformNoise
from zoo.flow.weightings import UniformWeighting
from zoo.optim.schedules import CosineSchedule
from zoo.parts import Level, PatchSchedule, Stage
from zoo.registry import part
from zoo.testing.laws import batch_invariance
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


@part("schedule", "falls_to_nothing")
class FallsToNothing(CosineSchedule):
    """Forgets the least rate."""

    def __init__(self, *, least: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0) -> None:
        self.least = least


@part("patch_schedule", "one_patch")
class OnePatch(PatchSchedule):
    """Has the same stage whatever the threshold is."""

    def __init__(self, depth: int, *, patch: Literal[1, 2] = 2, threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5):
        self.level, self.threshold = Level(patch=patch, blocks=depth), threshold

    def stages(self):
        return (Stage(noise_above=0.0, levels=(self.level,)),)


@part("noise_sampler", "keeps_its_width")
class KeepsItsWidth(UniformNoise):
    def __init__(self, *, width: Annotated[float, Field(gt=0.0)] = 1.0) -> None:
        super().__init__()
        self.width = width


@part("weighting", "keeps_its_power")
class KeepsItsPower(UniformWeighting):
    def __init__(self, *, power: float = 1.0) -> None:
        super().__init__()
        self.power = power


@part("time_embedder", "of_a_length")
class OfALength(Sound):
    """Wrong wherever the option is given, which by default it is not."""

    def __init__(self, dim: int, *, length: float | None = None) -> None:
        super().__init__(dim)
        self.length = length

    def forward(self, t):
        found = super().forward(t)
        return found if self.length is None else self.length * found / found.norm()


@part("time_embedder", "forgets_its_length")
class ForgetsItsLength(Sound):
    def __init__(self, dim: int, *, length: Annotated[float | None, Field(gt=0)] = None) -> None:
        super().__init__(dim)
        self.length = length


BROKEN: list[Broken] = [
    (batch_invariance, OfALength, "depends on the rest of its batch"),
    (every_option_changes_something, ForgetsItsLength, "whatever length is"),
    (every_option_changes_something, FallsToNothing, "whatever least is, what it gives is the same"),
    (every_option_changes_something, OnePatch, "whatever threshold is, what it gives is the same"),
    (every_option_changes_something, KeepsItsWidth, "whatever width is, what it gives is the same"),
    (every_option_changes_something, KeepsItsPower, "whatever power is, what it gives is the same"),
    (every_option_changes_something, KeepsItInMind, "whatever scale is, weights, outputs, gradients and what runs are"),
    (every_option_changes_something, AlwaysTheSame, "whatever clock is"),
    (every_option_changes_something, Capped, "whatever layers is"),
]
