"""SVG elements whose colours follow the reader's theme, and text that is known to fit without a font at hand."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence

from zoo.errors import printable

Point = tuple[float, float]

FONTS = "Helvetica, Arial, 'Liberation Sans', sans-serif"

COLOURS: Mapping[str, tuple[str, str]] = {
    "page": ("#ffffff", "#0f1318"),
    "panel": ("#f4f6f8", "#181d24"),
    "node": ("#ffffff", "#252c36"),
    "line": ("#727c88", "#8b95a3"),
    "rule": ("#d5dae0", "#39424e"),
    "muted": ("#4d5661", "#b0bac6"),
    "ink": ("#14181d", "#f5f7f9"),
    "patch0": ("#1f5fae", "#4c93e0"),
    "patch1": ("#12937f", "#6fe3c9"),
    "patch2": ("#bd8000", "#f0b73d"),
    "patch3": ("#93300a", "#dd6a45"),
    "patch4": ("#555a61", "#9299a1"),
}
"""What a colour is in a light theme, which is also what readers without style sheets see, and in a dark one.

Patches go from the finest to the coarsest; they stay apart for colour-blind readers and on a panel of either theme.
"""

# Advance widths in em of DejaVu Sans, the widest of the usual fallbacks, by class of character and rounded up.
NARROW, CAPITAL, WIDE, OTHER = 0.42, 0.79, 1.0, 0.64
NARROW_CHARACTERS = frozenset("ijlftr .,:;·'|!()[]/\\-")
WIDE_CHARACTERS = frozenset("mwMW@%&+=<>#~^")
BOLDER = 1.18


def document(title: str, description: str) -> ET.Element:
    """A drawing with nothing to see but its page; ``finish`` gives it its size."""
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", "font-family": FONTS})
    root.text = "\n"
    add(root, "title", title)
    add(root, "desc", description)
    add(root, "style").text = _dark_theme()
    add(root, "rect", fill="page", width="100%", height="100%")
    return root


def finish(root: ET.Element, width: float, height: float) -> str:
    """The drawing as text, which is the same for the same elements."""
    root.set("viewBox", f"0 0 {_number(width)} {_number(height)}")
    root.set("width", _number(width))
    root.set("height", _number(height))
    return ET.tostring(root, encoding="unicode") + "\n"


def add(
    parent: ET.Element, tag: str, text: str = "", *, fill: str = "", stroke: str = "", **attributes: str | float
) -> ET.Element:
    """Append an element.

    Args:
        parent: what it goes into.
        tag: its name.
        text: its text; what cannot be shown is escaped.
        fill: a name of ``COLOURS``.
        stroke: likewise.
        attributes: others, with underscores for hyphens.
    """
    element = ET.SubElement(parent, tag)
    element.tail = "\n"
    for name, value in attributes.items():
        element.set(name.replace("_", "-"), value if isinstance(value, str) else _number(value))
    uses = {use: name for use, name in (("fill", fill), ("stroke", stroke)) if name}
    for use, name in uses.items():
        element.set(use, COLOURS[name][0])
    if uses:
        element.set("class", " ".join(f"zoo-{use}-{name}" for use, name in uses.items()))
    if text:
        element.text = printable(text)
    elif tag == "g":
        element.text = "\n"
    return element


def group(parent: ET.Element, kind: str, tooltip: str = "") -> ET.Element:
    """Append a group, which says what it is, with what a mouse over it shows."""
    element = add(parent, "g", data_kind=kind)
    if tooltip:
        add(element, "title", tooltip)
    return element


def write(
    parent: ET.Element,
    x: float,
    y: float,
    text: str,
    size: float,
    *,
    bold: bool = False,
    fill: str = "ink",
    anchor: str = "start",
) -> ET.Element:
    """Append a line of text with its baseline at y."""
    weight = {"font_weight": "bold"} if bold else {}
    place = {"text_anchor": anchor} if anchor != "start" else {}
    return add(parent, "text", text, fill=fill, x=x, y=y, font_size=size, **weight, **place)


def arrow(parent: ET.Element, *points: Point) -> None:
    """Append a line through points, with a head at the last one; its last leg is level or upright."""
    (x0, y0), (x, y) = points[-2:]
    dx, dy = _sign(x - x0), _sign(y - y0)
    neck = (x - 5 * dx, y - 5 * dy)
    line(parent, *points[:-1], neck)
    sides = [(x - 7 * dx + 3.5 * side * dy, y - 7 * dy + 3.5 * side * dx) for side in (1, -1)]
    add(parent, "polygon", points=_points([(x, y), *sides]), fill="line")


def line(parent: ET.Element, *points: Point, stroke: str = "line") -> None:
    """Append a line through points."""
    add(parent, "polyline", points=_points(points), stroke=stroke, stroke_width=1.5).set("fill", "none")


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a line of text is at most, in a sans-serif font that the reader may have."""
    return sum(map(_em, text)) * size * (BOLDER if bold else 1)


def shorten(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """``text``, or as much of it as fits into ``width`` with an ellipsis."""
    text = printable(text)
    if text_width(text, size, bold=bold) <= width:
        return text
    while text and text_width(f"{text}…", size, bold=bold) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def wrap(text: str, width: float, size: float) -> Iterator[str]:
    """``text`` in lines that fit into ``width``, broken at spaces."""
    current = ""
    for word in text.split():
        longer = f"{current} {word}".strip()
        if current and text_width(longer, size) > width:
            yield current
            longer = word
        current = longer
    yield current


def _em(char: str) -> float:
    if char in NARROW_CHARACTERS:
        return NARROW
    if char in WIDE_CHARACTERS or not char.isascii():
        return WIDE
    return CAPITAL if char.isupper() else OTHER


def _dark_theme() -> str:
    """Rules that turn every colour; their names have a prefix, since a page may hold other drawings."""
    rules = "\n".join(
        f"  .zoo-{use}-{name} {{ {use}: {dark} }}" for name, (_, dark) in COLOURS.items() for use in ("fill", "stroke")
    )
    return f"\n@media (prefers-color-scheme: dark) {{\n{rules}\n}}\n"


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in points)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
