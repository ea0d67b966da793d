"""Tests that fail by what zoo says, and no more, where it refuses what they are about."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import pytest

from zoo.errors import ZooError

P = ParamSpec("P")
R = TypeVar("R")


def plain_refusals(test: Callable[P, R]) -> Callable[P, R]:
    """Have a test that zoo refuses something fail with the message alone: a traceback would lead through zoo.

    ``zoo build --recipe R --debug`` shows that as well, should the fault be in a part's own code.

    Args:
        test: a function of fixtures.

    Returns:
        It, for pytest.
    """

    @wraps(test)
    def plain(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        try:
            return test(*args, **kwargs)
        except ZooError as error:
            told = f"{error}\n(zoo build --recipe R --debug shows where)"
        pytest.fail(told, pytrace=False)  # not beneath the error, which pytest would print too

    return plain
