"""Patch schedules: options in, stages out."""

from __future__ import annotations

from collections.abc import Iterator
from math import lcm
from typing import Any

from pydantic import ValidationError

from zoo.attributes import mistakes
from zoo.parts.base import PatchSchedule
from zoo.schedule import Grid, Stage, on_all_axes
from zoo.schedule_problems import ScheduleProblem, schedule_problems
from zoo.testing.cases import Case
from zoo.testing.law import Law, law
from zoo.testing.options_laws import every_option_changes_something


def refusal(case: Case, part: PatchSchedule) -> str | None:
    """What a recipe with these options is refused for, where the schedule names the option to blame."""
    try:
        stages = part.stages()
    except ValueError as error:
        return None if isinstance(error, ValidationError) else str(error)
    except Exception:  # which any law comes upon
        return None
    if _other_than_stages(stages):
        return None
    return next((each.message for each in _problems(case, stages) if _is_of_an_option(case, part, each)), None)


@law(
    "Refuse what cannot be served by bounds of the options, or in the constructor (ValueError), such as a depth, or let"
    " key_path name the option to blame; blocks add up to depth, and of neighbouring patches one divides the other."
)
def stages_fit(case: Case) -> None:
    """At every depth and on all axes the stages fit a backbone, but where an option is to blame that key_path names."""
    part: PatchSchedule = case.create()
    stages = part.stages()
    other = _other_than_stages(stages)
    assert not other, f"stages() returns {other} in place of a tuple of zoo.parts.Stage"
    for mistake in mistakes(part, "patch_schedule"):
        raise AssertionError(mistake)
    for problem in _problems(case, stages):
        places = {"stage": problem.stage, "level": problem.level}
        where = "".join(f", {name} {place}" for name, place in places.items() if place is not None)
        raise AssertionError(f"at depth {case.site.depth} (axes: {case.site.axes}{where}): {problem.message}")


@law("Work the stages out from depth, axes and options alone, once, in the constructor.")
def stages_are_the_same(case: Case) -> None:
    """Asked again, and built again from the same options, a schedule gives the same stages."""
    part: PatchSchedule = case.create()
    first = list(part.stages())
    assert list(part.stages()) == first, "stages() gives others when asked again"
    again: PatchSchedule = case.create()
    assert list(again.stages()) == first, "built again from the same options, it gives other stages"


@law("Return the keys from an option's name to the value, such as ('levels', 2, 'patch'), or () where no option is.")
def key_path_leads_to_an_option(case: Case) -> None:
    """What key_path gives for a stage, or for a level's patch, is where an option is, or nothing."""
    part: PatchSchedule = case.create()
    stages = part.stages()
    size = tuple(side + 1 for side in _size(case, stages))  # so that no patch above 1 divides it
    for problem in schedule_problems(stages, case.site.depth, size, case.dim, case.site.heads):
        path = part.key_path(*problem[:3])
        assert isinstance(path, tuple), f"key_path returns {path!r}, and should return a tuple of keys"
        assert _at(case.options.model_dump(), path), f"key_path returns {path}, where no option is"


def _other_than_stages(stages: Any) -> str:
    """What is there in place of stages, if anything is."""
    if not isinstance(stages, tuple | list):
        return type(stages).__name__
    return next((type(each).__name__ for each in stages if not isinstance(each, Stage)), "")


def _problems(case: Case, stages: tuple[Stage, ...]) -> Iterator[ScheduleProblem]:
    """With latents that all patches and scales divide."""
    return schedule_problems(stages, case.site.depth, _size(case, stages), case.dim, case.site.heads)


def _size(case: Case, stages: tuple[Stage, ...]) -> Grid:
    axes = case.site.axes

    def on_axes(value: int | Grid) -> Grid:
        own = on_all_axes(value, axes)
        return own if len(own) == axes else (1,) * axes  # which is told as such

    products = [
        [a * b for a, b in zip(on_axes(stage.scale), on_axes(level.patch), strict=True)]
        for stage in stages
        for level in stage.levels
    ]
    return tuple(lcm(*each) for each in zip(*products, strict=True)) or (1,) * axes


def _is_of_an_option(case: Case, part: PatchSchedule, problem: ScheduleProblem) -> bool:
    """Whether an option is to blame: one that is named, and that says the levels where their blocks do not add up."""
    path = part.key_path(problem.stage, problem.level, problem.field)
    found = _at(case.options.model_dump(), path) if path else []
    return bool(found) and (problem.field != "levels" or isinstance(found[0], tuple | list))


def _at(options: Any, path: tuple[str | int, ...]) -> list[Any]:
    """The value at a path; none where there is none."""
    value = options
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return []
    return [value]


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "patch_schedule": (
        stages_fit,
        stages_are_the_same,
        key_path_leads_to_an_option,
        every_option_changes_something,
    )
}
