"""Cases that hypothesis draws, before any law is asked: the same at every run, and those that are refused left out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisDeprecationWarning, Unsatisfiable

Value = TypeVar("Value")
Found = TypeVar("Found")


class Refused(Exception):  # noqa: N818 - nothing is wrong: these values do not go together
    """Raised where drawn values do not go together; each argument says why."""


def draw(
    strategy: st.SearchStrategy[Value], take: Callable[[Value], Found], examples: int, seed: int = 0
) -> list[Found]:
    """What ``take`` makes of drawn values, the simplest first; pytest's ``--hypothesis-seed N`` draws others.

    Args:
        strategy: of the values.
        take: raises Refused where values do not go together.
        examples: how many, at most.
        seed: another one draws others, but for the simplest.

    Raises:
        TypeError: every value is refused.
    """
    found: list[Found] = []
    refused: list[str] = []

    # By itself hypothesis draws others at every run, goes on to draw what is like a failure, and prints that its way.
    @hypothesis.seed(getattr(hypothesis.core, "global_force_seed", None) or seed)
    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(value=strategy)
    def run(value: Any) -> None:
        try:
            found.append(take(value))
        except Refused as reasons:
            refused.extend(reasons.args)
            assume(False)

    try:
        with warnings.catch_warnings():  # of a constructor that draws by Python's random; what is drawn is as good
            warnings.simplefilter("ignore", HypothesisDeprecationWarning)
            run()
    except Unsatisfiable:
        alike: dict[str, list[str]] = {}
        for each in refused:
            alike.setdefault(re.sub(r"\d+", "", each), []).append(each)
        reason = f", mostly so: {max(alike.values(), key=len)[0]}" if refused else ""
        raise TypeError(f"every example is refused, and nothing was checked{reason}") from None
    return found
