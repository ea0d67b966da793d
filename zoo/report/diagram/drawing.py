"""The way of the tokens of an assembly as a drawing: stages side by side, levels as wide as what they cost."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from zoo.report.diagram.measures import PAD, SMALL, TEXT, TITLE, Columns
from zoo.report.diagram.stage_column import StageColumn
from zoo.report.diagram.svg import add, document, finish, group, line, shorten, text_width, wrap, write
from zoo.report.diagram.words import amount, description, header_lines, part_tooltip

if TYPE_CHECKING:
    from zoo.audit import Audit
    from zoo.audit.parts import PartAudit
    from zoo.recipe import Recipe

MARGIN, BETWEEN = 20.0, 12.0
NAME, HEADER = 20.0, 13.0
CELL, CELL_HEIGHT = 192.0, 56.0
LEAST_WIDTH = 3 * CELL + 2 * PAD

STEERED = (
    "The time embedder's vector, to which a class and a stage can add theirs, steers all blocks and heads through the"
    " modulation."
)
SHARED = "Block i has the same weights in every stage; a patch embedder and a head belong to a patch."
REFINED = "An upsampler and a skip belong to a pair of patches."


def diagram(audit: Audit, recipe: Recipe) -> str:
    """Draw the way of the tokens.

    The width of a level's box is in proportion to the multiply-adds of its blocks in one pass, on one scale for all
    stages. The same assembly gives the same text.

    Args:
        audit: what the assembly costs.
        recipe: the recipe of that audit, which knows the latent (C, *size) and the width D.

    Returns:
        An SVG document for light and dark themes.
    """
    header, count = header_lines(audit, recipe), len(audit.stages)
    least = max(LEAST_WIDTH, *(text_width(text, HEADER) for text in header))
    columns = Columns(audit, recipe, least=(least - (count - 1) * BETWEEN) / count)
    inner = count * (columns.width + BETWEEN) - BETWEEN
    root = document(f"{recipe.name}: the way of the tokens", description(audit))
    y = _header(root, recipe.name, header, inner)
    for index, stage in enumerate(audit.stages):
        StageColumn(root, columns, stage, MARGIN + index * (columns.width + BETWEEN), y).draw()
    y = _legend(root, columns, y + columns.height)
    y = _parts(root, columns, inner, y)
    return finish(root, inner + 2 * MARGIN, y + MARGIN)


def _header(root: ET.Element, name: str, lines: tuple[str, str], inner: float) -> float:
    """The name and the figures of the whole; returns how far down they reach."""
    title = group(root, "name", name)
    write(title, MARGIN, 38, shorten(name, inner, NAME, bold=True), NAME, bold=True)
    for row, text in enumerate(lines):
        write(root, MARGIN, 61 + 19 * row, text, HEADER, fill="muted")
    return 98.0


def _legend(root: ET.Element, columns: Columns, y: float) -> float:
    """What width means, and what tokens in front look like; returns how far down it reaches."""
    unit = _round_number(max(1.0, 0.35 * columns.box / columns.per_mac))
    legend = group(root, "legend")
    left, right = MARGIN + PAD, MARGIN + PAD + unit * columns.per_mac
    y += 24
    for ends in ((left, y, right, y), (left, y - 4, left, y + 4), (right, y - 4, right, y + 4)):
        line(legend, ends[:2], ends[2:])
    write(legend, right + 12, y + 4, f"{amount(unit)} MACs; a box is as wide as what its blocks cost in a pass", TEXT)
    if columns.prefix_tokens:
        y += 22
        add(legend, "rect", fill="ink", x=(left + right) / 2 - 10, y=y - 5, width=20, height=10)
        write(legend, right + 12, y + 4, "tokens in front, m of m + N: their share of a box's height", TEXT)
    return y + 24


def _parts(root: ET.Element, columns: Columns, inner: float, y: float) -> float:
    """The names of the parts, said once; returns how far down they reach."""
    stages = len(columns.audit.stages)
    refines, coarsens = columns.refines, columns.coarsens
    shown = {
        "upsampler": refines,
        "skip": refines,
        "downsampler": coarsens,
        "router": columns.parts["router"].type != "none",
    }
    parts = [part for part in columns.audit.parts if shown.get(part.kind, True)]
    text = " ".join([STEERED, *[SHARED] * (stages > 1), *[REFINED] * (stages > 1 and refines)])
    left, room = MARGIN + PAD, inner - 2 * PAD
    lines = list(wrap(text, room, TEXT))
    per_row = int(room // CELL)
    cells = y + 52 + 17 * len(lines)
    bottom = cells + math.ceil(len(parts) / per_row) * CELL_HEIGHT
    panel = group(root, "parts")
    add(panel, "rect", fill="panel", x=MARGIN, y=y, width=inner, height=bottom - y, rx=10)
    write(panel, left, y + 26, "The same for all stages" if stages > 1 else "Parts", TITLE, bold=True)
    for row, each in enumerate(lines):
        write(panel, left, y + 47 + 17 * row, each, TEXT, fill="muted")
    for place, part in enumerate(parts):
        row, column = divmod(place, per_row)
        depth = columns.recipe.backbone.depth if part.kind == "block" else 0
        _part(panel, part, left + column * room / per_row, cells + row * CELL_HEIGHT, room / per_row - 8, depth)
    return bottom


def _part(panel: ET.Element, part: PartAudit, x: float, y: float, width: float, depth: int) -> None:
    cell = group(panel, "part", part_tooltip(part))
    write(cell, x, y + 8, f"{depth} blocks" if depth else part.kind.replace("_", " "), SMALL, fill="muted")
    write(cell, x, y + 24, shorten(part.type, width, TEXT, bold=True), TEXT, bold=True)
    if part.params:
        write(cell, x, y + 39, f"{amount(part.params)} parameters", SMALL, fill="muted")


def _round_number(most: float) -> int:
    """The largest of 1, 2 and 5 times a power of ten that is not above ``most``."""
    power = 10 ** int(math.log10(most))
    return max(step * power for step in (1, 2, 5) if step * power <= most)
