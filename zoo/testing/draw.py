"""Cases that hypothesis draws, before any law is asked: the same at every run, and those that are refused left out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisDeprecationWarning, Unsatisfiable

Value = TypeVar("Value")
Found = TypeVar("Found")


class Refused(Exception):  # noqa: N818 - nothing is wrong: these values do not go together
    """Raised where drawn values do not go together; each argument says why."""


class _Enough(Exception):  # noqa: N818 - nothing is wrong
    """Ends the search."""


def draw(
    strategy: st.SearchStrategy[Value],
    take: Callable[[Value], Found],
    examples: int,
    seed: int = 0,
    patience: int | None = None,
) -> list[Found]:
    """What ``take`` makes of drawn values, the simplest first; pytest's ``--hypothesis-seed N`` draws others.

    Args:
        strategy: of the values.
        take: raises Refused where values do not go together.
        examples: how many, at most.
        seed: another one draws others, but for the simplest.
        patience: after how many that are all refused to give up; as many as hypothesis bears with if left out.

    Raises:
        TypeError: every value is refused.
    """
    found: list[Found] = []
    refused: list[tuple[str, ...]] = []

    # By itself hypothesis draws others at every run, goes on to draw what is like a failure, and prints that its way.
    @hypothesis.seed((getattr(hypothesis.core, "global_force_seed", None) or 0) + seed)
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
            refused.append(reasons.args)
            if patience is not None and not found and len(refused) >= patience:
                raise _Enough from None
            assume(False)

    try:
        with warnings.catch_warnings():  # of a constructor that draws by Python's random; what is drawn is as good
            warnings.simplefilter("ignore", HypothesisDeprecationWarning)
            run()
    except (Unsatisfiable, _Enough):
        alike: dict[str, list[str]] = {}
        for each in chain.from_iterable(refused):
            alike.setdefault(re.sub(r"\d+", "", each), []).append(each)
        reason = f", mostly so: {max(alike.values(), key=len)[0]}" if refused else ""
        raise TypeError(
            f"every example is refused, and nothing was checked{reason}; give options= or supplied= that go together"
        ) from None
    except Exception as error:
        error.__notes__ = []  # of hypothesis, which prints all that it draws from: pages of parts
        raise
    return found
