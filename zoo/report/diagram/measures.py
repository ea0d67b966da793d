"""The measures that all stages of a drawing have in common, so that their rows align and their boxes compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

from zoo.report.diagram.svg import COLOURS, text_width
from zoo.report.diagram.words import level_lines, stage_lines
from zoo.schedule import is_finer

if TYPE_CHECKING:
    from zoo.audit import Audit
    from zoo.audit.parts import PartAudit
    from zoo.audit.report import LevelAudit
    from zoo.recipe import Recipe
    from zoo.schedule import Grid

TITLE, TEXT, SMALL = 14.0, 12.0, 11.0
"""Sizes of letters."""
PAD, GAP, RAIL = 14.0, 14.0, 16.0
"""Inside a panel's edge; between a box and its text; what the way of the skips takes."""
HEAD, NODE, LEVEL, STEP, JOIN = 88.0, 26.0, 72.0, 18.0, 54.0
"""Heights: of a column's title, a part, a level, an arrow, and an arrow that something joins."""
NODE_WIDTH = 150.0
PATCH_COLOURS = sum(name.startswith("patch") for name in COLOURS)


@dataclass(frozen=True)
class Columns:
    """A column for every stage: boxes on the left, what they are beside them.

    Args:
        audit: of the assembly.
        recipe: of that audit.
        least: how wide a column is at least.
    """

    audit: Audit
    recipe: Recipe
    least: float

    @cached_property
    def levels(self) -> tuple[LevelAudit, ...]:
        """The levels of all stages."""
        return tuple(level for stage in self.audit.stages for level in stage.levels)

    @cached_property
    def parts(self) -> Mapping[str, PartAudit]:
        """The parts by kind."""
        return {part.kind: part for part in self.audit.parts}

    @cached_property
    def deepest(self) -> int:
        """Levels of the stage that has the most."""
        return max(len(stage.levels) for stage in self.audit.stages)

    @cached_property
    def refines(self) -> bool:
        """Whether any stage goes to a finer patch."""
        return any(is_finer(after.patch, before.patch) for before, after in self._pairs)

    @cached_property
    def coarsens(self) -> bool:
        """Whether any stage goes to a coarser patch, or to another width at the same."""
        return any(not is_finer(after.patch, before.patch) for before, after in self._pairs)

    @cached_property
    def feeds(self) -> str:
        """What joins upsampled tokens: ``latents``, their finer patches; ``kept``, what was on the way down."""
        spec: Any = self.recipe.backbone.skip
        return str(spec.entry.cls.feeds)

    @cached_property
    def has_skips(self) -> bool:
        """Whether finer patches of the latent join upsampled tokens."""
        return self.refines and self.feeds == "latents"

    @cached_property
    def prefix_tokens(self) -> int:
        """Tokens in front of the image tokens, m."""
        return self.levels[0].prefix_tokens

    @cached_property
    def beside(self) -> float:
        """Width of the text beside the boxes."""
        lines = [level_lines(stage, place) for stage in self.audit.stages for place in range(len(stage.levels))]
        widths = (text_width(text, TEXT, bold=row == 0) for texts in lines for row, text in enumerate(texts))
        return max(NODE_WIDTH, *widths)

    @cached_property
    def width(self) -> float:
        """Width of a column."""
        lines = [stage_lines(stage) for stage in self.audit.stages]
        titles = max(max(text_width(title, TITLE, bold=True), text_width(cost, TEXT)) for title, cost in lines)
        return max(self.least, titles + 2 * PAD, NODE_WIDTH + self._around_box)

    @property
    def box(self) -> float:
        """Width of the box of the level that costs the most."""
        return self.width - self._around_box

    @cached_property
    def per_mac(self) -> float:
        """Width of one multiply-add, in every box of the drawing."""
        return self.box / max(1, *(level.macs for level in self.levels))

    @cached_property
    def height(self) -> float:
        """Height of a column."""
        entry = NODE + STEP + NODE + (JOIN if self.prefix_tokens else STEP)
        between = STEP + NODE + (JOIN if self.has_skips else STEP)
        return HEAD + entry + self.deepest * LEVEL + (self.deepest - 1) * between + 2 * (STEP + NODE) + PAD

    def colour(self, patch: Grid) -> str:
        """The colour of a patch: the finest has the first, and what is coarser than all colours shares the last."""
        finest_first = sorted({level.patch for level in self.levels}, key=lambda each: (prod(each), each))
        return f"patch{min(finest_first.index(patch), PATCH_COLOURS - 1)}"

    @cached_property
    def _pairs(self) -> list[tuple[LevelAudit, LevelAudit]]:
        return [pair for stage in self.audit.stages for pair in pairwise(stage.levels)]

    @property
    def _around_box(self) -> float:
        return self.beside + 2 * PAD + GAP + (RAIL if self.has_skips else 0)
