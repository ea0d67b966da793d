"""The averages of the weights that a recipe has training keep, and how ``--weights`` names them. Free of torch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from zoo.errors import ZooError
from zoo.shell import command
from zoo.signature import Options

LEAST, MOST = 0.001, 0.28
"""Of ``std``: all steps weigh the same at 12 ** -0.5 = 0.289, and beyond it the late ones would weigh less."""


class Profile(Options):
    """An average by EDM2's power-function profile (arXiv 2312.02696, section 3.1), of which others can be made."""

    std: Annotated[
        float, Field(ge=LEAST, le=MOST, description="standard deviation of the profile, over the length of training")
    ]

    def __str__(self) -> str:
        """As ``--weights`` names it, behind ``ema:``."""
        return f"std={self.std}"


Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
"""Of an exponential moving average."""


def _kind_of(given: Any) -> str:
    return "a profile" if isinstance(given, Mapping | Profile) else "a decay"


Average = Annotated[Annotated[Decay, Tag("a decay")] | Annotated[Profile, Tag("a profile")], Discriminator(_kind_of)]


def _form_of(given: Any) -> str:
    return "several" if isinstance(given, Sequence) and not isinstance(given, str) else "one"


def _in_one_way(given: Decay | tuple[Average, ...]) -> Decay | tuple[Average, ...]:
    """A list of one decay as the number that it holds, so that the same training is written in one way."""
    if not isinstance(given, tuple):
        return given
    twice = [each for index, each in enumerate(given) if each in given[:index]]
    if twice:
        raise ValueError(f"{twice[0]} stands there twice; leave one of them out")
    return given[0] if len(given) == 1 and isinstance(given[0], float) else given


Averages = Annotated[
    Annotated[Decay, Tag("one")] | Annotated[tuple[Average, ...], Field(min_length=1), Tag("several")],
    Discriminator(_form_of),
    AfterValidator(_in_one_way),
]
"""One decay, or a list: of several the first is what is drawn from, judged and exported unless another is named."""


def average_named(weights: str) -> Average | None:
    """The average that ``--weights`` asks for: of ``ema:0.9999`` 0.9999, of ``ema:std=0.1`` a profile; None of ``ema``
    and ``raw``.

    Raises:
        ZooError: it is none of these.
    """
    if weights in ("ema", "raw"):
        return None
    named = re.fullmatch(r"ema:(std=)?(\d*\.?\d+(?:e-?\d+)?)", weights)
    if named is None and weights and (weights.endswith(".safetensors") or os.path.exists(weights)):
        raise ZooError(f"weights: says which of a run's; give the file itself by {command('--run', weights)}")
    if named is None:
        raise ZooError(
            f"weights: ema, raw, or one of several averages, such as ema:0.9999 or ema:std=0.1, not {weights!r}"
        )
    return float(named[2]) if named[1] is None else Profile.model_construct(std=float(named[2]))
