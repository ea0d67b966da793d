"""The time shift of Stable Diffusion 3 (arXiv 2403.03206, equation 23), of sampling's levels and of training's."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated

from pydantic import Field

Shift = Annotated[float, Field(ge=0.01, le=100.0)]
"""By what the odds ``t / (1 - t)`` of a noise level are multiplied: above 1 more levels are near noise, 1 leaves them
as they are. Bounded, since levels of many steps would otherwise be rounded to the same number."""


def shifted(levels: Iterable[Fraction], shift: Fraction) -> list[Fraction]:
    """``s t / (1 + (s - 1) t)`` of every t in [0, 1]; the inverse is the shift by ``1 / s``."""
    return [shift * t / (1 + (shift - 1) * t) for t in levels]
