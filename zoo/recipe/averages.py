"""The averages of the weights that a recipe has training keep, and how ``--weights`` names them. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from zoo.errors import ZooError

Average = Annotated[float, Field(ge=0.0, lt=1.0)]
"""The decay of an exponential moving average."""


def _form_of(given: Any) -> str:
    return "several" if isinstance(given, Sequence) and not isinstance(given, str) else "one"


def _in_one_way(given: Average | tuple[Average, ...]) -> Average | tuple[Average, ...]:
    """A list of one as the number that it holds, so that the same training is written in one way."""
    if not isinstance(given, tuple):
        return given
    twice = [each for index, each in enumerate(given) if each in given[:index]]
    if twice:
        raise ValueError(f"{twice[0]} stands there twice; leave one of them out")
    return given[0] if len(given) == 1 else given


Averages = Annotated[
    Annotated[Average, Tag("one")] | Annotated[tuple[Average, ...], Field(min_length=1), Tag("several")],
    Discriminator(_form_of),
    AfterValidator(_in_one_way),
]
"""One of them, or a list: of several the first is what is drawn from, judged and exported unless another is named."""


def average_named(weights: str) -> Average | None:
    """The average that ``--weights`` asks for by its decay: of ``ema:0.9999`` 0.9999; None of ``ema`` and ``raw``.

    Raises:
        ZooError: it is none of these.
    """
    if weights in ("ema", "raw"):
        return None
    named = re.fullmatch(r"ema:(\d*\.?\d+(?:e-?\d+)?)", weights)
    if named is None:
        raise ZooError(f"weights: ema, raw, or one of several averages, such as ema:0.9999, not {weights!r}")
    return float(named[1])
