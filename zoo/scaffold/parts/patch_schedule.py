"""A patch schedule: which patches the blocks work on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

import zoo
from zoo.parts import Level, Patch, PatchSchedule, Stage


@zoo.part("patch_schedule", "mine")
class MinePatchSchedule(PatchSchedule):
    """Example: down to patches twice as large, and up again: an hourglass (Nawrot et al., 2022).

    Options:
        patch: latent pixels per token at both ends, the same on all axes.
        outer: blocks at each end.

    Raises:
        ValueError: no block is left for the middle.
    """

    def __init__(
        self,
        depth: int,
        *,
        patch: Annotated[int, Field(ge=1, le=64)] = 2,
        outer: Annotated[int, Field(ge=1, le=64)] = 1,
    ) -> None:
        middle = depth - 2 * outer
        if middle < 1:
            raise ValueError(f"depth {depth} leaves no block between {outer} at each end; let there be more")
        self._levels = (_level(patch, outer), _level(2 * patch, middle), _level(patch, outer))

    def stages(self) -> tuple[Stage, ...]:
        """One stage, for all noise levels."""
        return (Stage(noise_above=0.0, levels=self._levels),)

    def key_path(self, stage: int | None, level: int | None, field: str | None) -> tuple[str | int, ...]:
        """The option that a message should point at."""
        return ("outer",) if field == "blocks" else ("patch",)


def _level(patch: Patch, blocks: int) -> Level:
    return Level(patch=patch, blocks=blocks)
