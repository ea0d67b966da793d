"""A law: what is checked, and what to tell the author of what breaks it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Generic, TypeVar
from unittest import SkipTest

from zoo.errors import as_failure

Subject = TypeVar("Subject")
Found = TypeVar("Found")


class NotRun(SkipTest):
    """A law that cannot be tried here, and why: pytest skips it."""


class FollowsError(AssertionError):
    """A law that a part breaks for the same reason alone as another.

    Attributes:
        of: the name of the other, which says what to do.
        likely: whether that is likely, and not known.
    """

    def __init__(self, message: str, of: str, *, likely: bool = False) -> None:
        super().__init__(message)
        self.of, self.likely = of, likely


@dataclass(frozen=True)
class Law(Generic[Subject]):
    """What a part (a ``Case`` of it) or an assembly (its ``Recipe``) keeps; called, it raises AssertionError if not.

    Args:
        check: takes what is examined; its first line of docstring says what is kept.
        advice: one sentence to who breaks it: what to look for, and what to do.
        examples: at most so many cases, where one is dear; as many as are asked for, if None.
        required: whether a part must keep it; else what comes out is reported alone.
    """

    check: Callable[[Subject], None]
    advice: str
    examples: int | None = None
    required: bool = True

    def __call__(self, subject: Subject) -> None:
        """Check it; what would end the process is a failure of a part."""
        try:
            self.check(subject)
        except SystemExit as end:
            raise as_failure(end) from None

    @property
    def __name__(self) -> str:
        return self.check.__name__

    @property
    def summary(self) -> str:
        """What is kept, in a line."""
        return (self.check.__doc__ or "").split("\n", 1)[0].strip()


def remembered(most: int) -> Callable[[Callable[[Subject], Found]], Callable[[Subject], Found]]:
    """Keep what a function finds out of the last few subjects, for which several laws ask: the same object each."""

    def keeping(find: Callable[[Subject], Found]) -> Callable[[Subject], Found]:
        last: deque[tuple[Subject, Found]] = deque(maxlen=most)

        @wraps(find)
        def found(subject: Subject) -> Found:
            for known, before in last:
                if known is subject:
                    return before
            last.append((subject, find(subject)))
            return last[-1][1]

        return found

    return keeping


def law(
    advice: str, *, examples: int | None = None, required: bool = True
) -> Callable[[Callable[[Subject], None]], Law[Subject]]:
    """Make a law of a function; see ``Law``."""
    return lambda check: Law(check, advice, examples, required)
