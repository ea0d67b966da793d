"""What follows from a key that is spelled wrongly alone: what was meant is missing, or does not fit what it was to be
in the place of. None of that is told, since it goes when the key is mended."""

from __future__ import annotations

import re

from zoo.errors import KeyPath, dotted
from zoo.recipe.draft import Draft
from zoo.recipe.messages import MISSING, Problem
from zoo.recipe.schema import SECTIONS


def leave_out_what_follows(draft: Draft) -> None:
    """Take out the problems that may follow from misspelt keys, and the values and parts whose place these may be
    meant for, with which nothing else is to be tried. What is wrong by itself stays."""
    unknown = [problem for problem in draft.problems if problem.meant]
    meant = {place for problem in unknown for place in problem.meant}
    kept = [each for each in draft.problems if each.meant or not _follows(each, unknown, meant)]
    draft.problems[:] = kept
    sections = set(SECTIONS) if ("extends",) in meant else {str(place[0]) for place in meant if len(place) == 1}
    for section, values in draft.values.items():
        for name in list(values):
            if section in sections or any(place[:2] == (section, name) for place in meant):
                del values[name]
    for path in list(draft.parts):
        if path[0] in sections or any(place[:2] == path[:2] for place in meant):
            del draft.parts[path]


def _follows(problem: Problem, unknown: list[Problem], meant: set[KeyPath]) -> bool:
    """Whether a problem may be gone once the unknown keys are as they were meant."""
    path, missing = problem.path, problem.message.startswith(MISSING)
    if ("extends",) in meant and (missing or len(path) > 2):  # a part of which another file may say the type
        return True
    if missing and any(path[: len(place)] == place for place in meant):
        return True
    if any(each.path[: len(path)] == path for each in unknown):  # it is about what a misspelt key stands in
        return True
    return any(re.search(rf"(?<![\w.]){re.escape(dotted(place))}(?![\w.])", problem.message) for place in meant)
