"""The measures that all stages of a drawing have in common, so that their rows align and their boxes compare."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

from zoo.report.diagram.svg import COLOURS, text_width
from zoo.report.diagram.words import level_lines, stage_lines
from zoo.schedule import is_finer

if TYPE_CHECKING:
    from zoo.audit import Audit
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


class Columns:
    """A column for every stage: boxes on the left, what they are beside them.

    Args:
        audit: of the assembly.
        recipe: of that audit.
        least: how wide a column is at least.

    Attributes:
        levels: of all stages.
        parts: by kind.
        refines: whether any stage goes to a finer patch.
        coarsens: whether any stage goes to a coarser patch, or to another width at the same.
        feeds: what joins upsampled tokens: ``latents``, their finer patches; ``kept``, what was on the way down.
        has_skips: whether finer patches of the latent join upsampled tokens.
        prefix_tokens: tokens in front of the image tokens, m.
        beside: width of the text beside the boxes.
        width: of a column.
        box: width of the box of the level that costs the most.
        per_mac: width of one multiply-add, in every box of the drawing.
        height: of a column.
    """

    def __init__(self, audit: Audit, recipe: Recipe, least: float) -> None:
        self.audit, self.recipe = audit, recipe
        self.levels = [level for stage in audit.stages for level in stage.levels]
        self.parts = {part.kind: part for part in audit.parts}
        pairs = [pair for stage in audit.stages for pair in pairwise(stage.levels)]
        self.refines = any(is_finer(after.patch, before.patch) for before, after in pairs)
        self.coarsens = any(not is_finer(after.patch, before.patch) for before, after in pairs)
        skip: Any = recipe.backbone.skip
        self.feeds = str(skip.entry.cls.feeds)
        self.has_skips = self.refines and self.feeds == "latents"
        self.prefix_tokens = self.levels[0].prefix_tokens

        texts = [level_lines(stage, place) for stage in audit.stages for place in range(len(stage.levels))]
        widths = (text_width(text, TEXT, bold=row == 0) for lines in texts for row, text in enumerate(lines))
        self.beside = max(NODE_WIDTH, *widths)
        around_box = self.beside + 2 * PAD + GAP + (RAIL if self.has_skips else 0)
        heads = [stage_lines(stage) for stage in audit.stages]
        titles = max(max(text_width(title, TITLE, bold=True), text_width(cost, TEXT)) for title, cost in heads)
        self.width = max(least, titles + 2 * PAD, NODE_WIDTH + around_box)
        self.box = self.width - around_box
        self.per_mac = self.box / max(1, *(level.macs for level in self.levels))

        entry = NODE + STEP + NODE + (JOIN if self.prefix_tokens else STEP)
        between = STEP + NODE + (JOIN if self.has_skips else STEP)
        deepest = max(len(stage.levels) for stage in audit.stages)
        levels = deepest * LEVEL + (deepest - 1) * between
        self.height = HEAD + entry + levels + 2 * (STEP + NODE) + PAD

    def colour(self, patch: Grid) -> str:
        """The colour of a patch: the finest has the first, and what is coarser than all colours shares the last."""
        finest_first = sorted({level.patch for level in self.levels}, key=lambda each: (prod(each), each))
        return f"patch{min(finest_first.index(patch), PATCH_COLOURS - 1)}"
