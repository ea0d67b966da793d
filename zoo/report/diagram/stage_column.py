"""A stage of an assembly, drawn from the latent down to the velocity."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from zoo.report.diagram.measures import GAP, HEAD, JOIN, LEVEL, NODE, NODE_WIDTH, PAD, SMALL, STEP, TEXT, TITLE, Columns
from zoo.report.diagram.svg import Point, add, arrow, group, line, shorten, text_width, write
from zoo.report.diagram.words import level_lines, level_tooltip, part_tooltip, sizes, stage_lines
from zoo.schedule import is_finer

if TYPE_CHECKING:
    from zoo.audit.report import StageAudit
    from zoo.schedule import Grid

PLUS = 8.0
ROW = 16.0


class StageColumn:
    """Draws a stage, part by part downwards.

    Args:
        root: what to draw into.
        columns: the measures.
        stage: what to draw.
        x: left edge.
        y: upper edge.
    """

    def __init__(self, root: ET.Element, columns: Columns, stage: StageAudit, x: float, y: float) -> None:
        self.into, self.columns, self.stage = group(root, "stage"), columns, stage
        self.left, self.top = x, y
        self.y = y
        self.spine = x + PAD + columns.box / 2
        self.side = x + PAD + columns.box + GAP
        self.rail = x + columns.width - PAD

    def draw(self) -> None:
        """Draw the whole stage."""
        columns, levels, latent = self.columns, self.stage.levels, self.columns.recipe.backbone.latent
        add(self.into, "rect", fill="panel", x=self.left, y=self.top, width=columns.width, height=columns.height, rx=10)
        self._title()
        shape = sizes(latent.channels, *levels[0].latent)
        middle = self.y + NODE / 2
        self.latent: tuple[Point, ...] = (self.spine + NODE_WIDTH / 2, middle), (self.rail, middle)
        self._node(f"latent {shape}", "noisy; channels, then the length of each axis", rounded=True)
        self._arrow_down(STEP)
        self._node(f"patch embedder {sizes(*levels[0].patch)}", part_tooltip(columns.parts["patch_embedder"]))
        self._enter_prefix()
        for place, level in enumerate(levels):
            if place and is_finer(level.patch, levels[place - 1].patch):
                self._refine(level.patch)
            elif place:
                self._arrow_down(STEP)
                self._node("downsampler", part_tooltip(columns.parts["downsampler"]))
                self._arrow_down(STEP)
            self._level(place)
        end = self.top + columns.height - PAD - NODE - STEP - NODE  # in line with the stage that has the most levels
        self._arrow_down(end - self.y)
        self._node("head", part_tooltip(columns.parts["head"]))
        self._arrow_down(STEP)
        self._node(f"{columns.recipe.backbone.prediction} {shape}", "what the weights predict", rounded=True)

    def _title(self) -> None:
        title, cost = stage_lines(self.stage)
        left, right, y = self.left + PAD, self.rail, self.top + 61
        write(self.into, left, self.top + 26, title, TITLE, bold=True)
        write(self.into, left, self.top + 45, cost, TEXT, fill="muted")
        write(self.into, left, y + 4, "noise", SMALL, fill="muted")
        write(self.into, right, y + 4, "data", SMALL, fill="muted", anchor="end")
        start = left + text_width("noise", SMALL) + 4
        length = right - text_width("data", SMALL) - 4 - start
        low, high = self.stage.noise
        add(self.into, "rect", fill="rule", x=start, y=y - 2, width=length, height=4)
        own = (high - low) * length
        add(self.into, "rect", fill="line", x=start + (1 - high) * length, y=y - 2, width=own, height=4)
        self.y += HEAD

    def _enter_prefix(self) -> None:
        m = self.columns.prefix_tokens
        if not m:
            self._arrow_down(STEP)
            return
        y = self.y + JOIN / 2 - 4
        arrow(self.into, (self.side, y), (self.spine + 1, y))
        texts = (f"{m} token{'s' * (m > 1)} in front",)
        tooltip = "what the class conditioner and the modulation set before the image's"
        self._box(self.side, y - NODE / 2, self.columns.beside, texts, tooltip, stroke="ink")
        self._arrow_down(JOIN)

    def _refine(self, fine: Grid) -> None:
        """The upsampler, and the skip that adds the latent's finer patches."""
        parts = self.columns.parts
        self._arrow_down(STEP)
        if self.columns.feeds == "kept":
            write(self.into, self.side, self.y + 17, f"skip: {parts['skip'].type}", TEXT, fill="muted")
        self._node("upsampler", part_tooltip(parts["upsampler"]))
        if not self.columns.has_skips:
            self._arrow_down(STEP)
            return
        y, right, below = self.y + JOIN / 2 - 3, self.side + self.columns.beside, self.y + JOIN
        arrow(self.into, *self.latent, (self.rail, y), (right, y))
        self.latent = ((self.rail, y),)
        texts = f"patch embedder {sizes(*fine)}", f"skip: {parts['skip'].type}"
        self._box(self.side, y - (NODE + ROW) / 2, self.columns.beside, texts, part_tooltip(parts["skip"]))
        arrow(self.into, (self.side, y), (self.spine + PLUS, y))
        self._arrow_down(y - PLUS - self.y)
        plus = group(self.into, "plus", "added to the image tokens")
        add(plus, "circle", fill="node", stroke="line", cx=self.spine, cy=y, r=PLUS)
        for dx, dy in ((4, 0), (0, 4)):
            line(plus, (self.spine - dx, y - dy), (self.spine + dx, y + dy))
        self.y = y + PLUS
        self._arrow_down(below - self.y)

    def _level(self, place: int) -> None:
        level = self.stage.levels[place]
        width = level.macs * self.columns.per_mac
        left, middle = self.spine - width / 2, self.y + LEVEL / 2
        box = group(self.into, "level", level_tooltip(self.stage, place))
        line(box, (self.spine, middle), (self.side - 6, middle), stroke="rule")
        line(box, (self.spine, self.y), (self.spine, self.y + LEVEL))  # seen where the box is thinner than a line
        own = level.prefix_tokens / level.tokens * LEVEL
        colour = self.columns.colour(level.patch)
        add(box, "rect", fill=colour, x=left, y=self.y + own, width=width, height=LEVEL - own)
        if own:
            add(box, "rect", fill="ink", x=left, y=self.y, width=width, height=own)
        for row, text in enumerate(level_lines(self.stage, place)):
            y = self.y + 13 + 18 * row
            write(box, self.side, y, text, TEXT, bold=row == 0, fill="muted" if row else "ink")
        self.y += LEVEL

    def _node(self, text: str, tooltip: str, *, rounded: bool = False) -> None:
        radius = NODE / 2 if rounded else 5
        self._box(self.spine - NODE_WIDTH / 2, self.y, NODE_WIDTH, (text,), tooltip, radius=radius)
        self.y += NODE

    def _box(
        self,
        x: float,
        y: float,
        width: float,
        texts: tuple[str, ...],
        tooltip: str,
        *,
        radius: float = 5,
        stroke: str = "line",
    ) -> None:
        height = NODE + ROW * (len(texts) - 1)
        node = group(self.into, "node", f"{', '.join(texts)}; {tooltip}")
        add(node, "rect", fill="node", stroke=stroke, x=x, y=y, width=width, height=height, rx=radius)
        for row, text in enumerate(texts):
            write(node, x + width / 2, y + 17 + ROW * row, shorten(text, width - 8, TEXT), TEXT, anchor="middle")

    def _arrow_down(self, length: float) -> None:
        arrow(self.into, (self.spine, self.y), (self.spine, self.y + length))
        self.y += length
