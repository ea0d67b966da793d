"""Patch schedules that break a law."""

from itertools import count

from tests.testing.broken import Broken
from zoo.parts import Level, Patch, PatchSchedule, Stage
from zoo.registry import part
from zoo.testing.of_kind.patch_schedule import key_path_leads_to_an_option, stages_are_the_same, stages_fit


class Halves(PatchSchedule):
    """Coarse patches in the first half of the blocks."""

    def __init__(self, depth: int, *, coarse: Patch = 4, fine: Patch = 2) -> None:
        if depth < 2:
            raise ValueError(f"depth {depth} has no two halves")
        self.half, self.rest, self.coarse, self.fine = depth // 2, depth - depth // 2, coarse, fine

    def stages(self):
        levels = (Level(patch=self.coarse, blocks=self.half), Level(patch=self.fine, blocks=self.rest))
        return (Stage(noise_above=0.0, levels=levels),)


@part("patch_schedule", "points_nowhere")
class PointsNowhere(Halves):
    """Lets two patches through that do not go together, and does not say which option it is."""


@part("patch_schedule", "loses_a_block")
class LosesABlock(Halves):
    """Of an odd depth; and says that it is the patch's fault."""

    def __init__(self, depth: int, *, fine: Patch = 2) -> None:
        super().__init__(depth, coarse=fine, fine=1)
        self.rest = depth // 2

    def key_path(self, stage, level, field):
        return ("fine",)


@part("patch_schedule", "fails_late")
class FailsLate(PatchSchedule):
    def __init__(self, depth: int) -> None:
        self.depth = depth

    def stages(self):
        return (Stage(noise_above=0.0, levels=(Level(patch=2, blocks=self.depth - 3),)),)


@part("patch_schedule", "wrong_way_round")
class WrongWayRound(PatchSchedule):
    def __init__(self, depth: int) -> None:
        self.levels = (Level(patch=2, blocks=depth),)

    def stages(self):
        return tuple(Stage(noise_above=each, levels=self.levels) for each in (0.0, 0.5))


@part("patch_schedule", "levels_alone")
class LevelsAlone(WrongWayRound):
    def stages(self):
        return self.levels


@part("patch_schedule", "ties_at_random")
class TiesAtRandom(WrongWayRound):
    def __init__(self, depth: int) -> None:
        super().__init__(depth)
        self.ties = "random"

    def stages(self):
        return (Stage(noise_above=0.0, levels=self.levels),)


@part("patch_schedule", "by_the_count")
class ByTheCount(PatchSchedule):
    built = count()

    def __init__(self, depth: int) -> None:
        self.levels = (Level(patch=1 + next(self.built), blocks=depth),)

    def stages(self):
        return (Stage(noise_above=0.0, levels=self.levels),)


@part("patch_schedule", "asked_again")
class AskedAgain(PatchSchedule):
    def __init__(self, depth: int) -> None:
        self.levels = [Level(patch=2, blocks=depth)]

    def stages(self):
        self.levels[0] = self.levels[0].model_copy(update={"patch": 2 * self.levels[0].patch})
        return (Stage(noise_above=0.0, levels=tuple(self.levels)),)


@part("patch_schedule", "points_beside")
class PointsBeside(PatchSchedule):
    def __init__(self, depth: int, *, patch: Patch = 2) -> None:
        self.levels = (Level(patch=patch, blocks=depth),)

    def stages(self):
        return (Stage(noise_above=0.0, levels=self.levels),)

    def key_path(self, stage, level, field):
        return ("levels", level, field)


BROKEN: list[Broken] = [
    (
        stages_fit,
        PointsNowhere,
        r"\(axes: \d, stage 0, level 1\): ",
    ),
    (stages_fit, LosesABlock, "block counts must add up to depth"),
    (stages_fit, FailsLate, "ValidationError: 1 validation error for Level blocks"),
    (stages_fit, WrongWayRound, "the last stage must have noise_above 0.0, not 0.5"),
    (stages_fit, LevelsAlone, r"stages\(\) returns Level in place of a tuple of zoo\.parts\.Stage"),
    (stages_fit, TiesAtRandom, "has ties = 'random'"),
    (stages_are_the_same, ByTheCount, "built again from the same options, it gives other stages"),
    (stages_are_the_same, AskedAgain, "gives others when asked again"),
    (key_path_leads_to_an_option, PointsBeside, r"key_path returns \('levels', 0, 'patch'\), where no option is"),
]
