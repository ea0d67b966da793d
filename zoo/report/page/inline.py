"""Drawings inside a page: none may change another, or what is around it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

COLOURS: Mapping[str, str] = {
    "#000000": "currentColor",
    "#ffffff": "none",
    "#1f77b4": "var(--accent)",
    "#7f7f7f": "var(--muted)",
    "#b0b0b0": "var(--muted)",
}
"""What matplotlib's black, white, tab:blue, tab:gray and the grey of its grids are on a page of either theme."""

DARK = "@media (prefers-color-scheme: dark)"
EVERYTHING = re.compile(r"^\s*\*\s*\{([^}]*)\}\s*$")
REFERENCE = re.compile(r"url\(#([^)]*)\)")


@dataclass(frozen=True)
class Plot:
    """A drawing with what stands above it."""

    title: str
    drawing: Markup
    note: str = ""


def inline(svg: str, prefix: str, label: str = "") -> Markup:
    """An SVG document as an element of an HTML page.

    Names of elements get a prefix, since a page may hold several drawings; a rule for everything, as matplotlib's,
    becomes attributes of the drawing alone; a dark theme is for screens, not for paper.

    Args:
        svg: the document, in UTF-8 if it says so.
        prefix: of the names of its elements; other drawings of the page have others.
        label: what it shows, for readers who do not see it, where the drawing itself does not say.
    """
    root = ET.fromstring(svg.encode())  # noqa: S314 - drawn by zoo
    for parent in list(root.iter()):
        parent.tag = _local(parent.tag)
        for child in list(parent):
            rule = EVERYTHING.match(child.text or "") if _local(child.tag) == "style" else None
            if rule or _local(child.tag) == "metadata":
                parent.remove(child)
            if rule:
                root.attrib |= dict(_declarations(rule[1]))
        if parent.tag == "style":
            parent.text = (parent.text or "").replace(DARK, f"@media screen and {DARK.removeprefix('@media ')}")
        parent.attrib = {_local(name): _value(_local(name), value, prefix) for name, value in parent.attrib.items()}
    if label:
        root.attrib |= {"role": "img", "aria-label": label}
    return Markup(ET.tostring(root, encoding="unicode").strip())  # noqa: S704 - texts are escaped in there


def _local(name: str) -> str:
    """A name without its namespace, which an HTML page knows."""
    return name.rpartition("}")[2]


def _value(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href" and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    if name == "style":
        for colour, themed in COLOURS.items():
            value = value.replace(colour, themed)
    return REFERENCE.sub(rf"url(#{prefix}-\1)", value)


def _declarations(text: str) -> list[tuple[str, str]]:
    pairs = (each.split(":", 1) for each in text.split(";") if each.strip())
    return [(name.strip(), value.strip()) for name, value in pairs]
