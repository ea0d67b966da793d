"""Diagrams of assemblies, and what is where in them."""

import xml.etree.ElementTree as ET
from functools import cache
from itertools import combinations

from zoo.assembly import check_tree
from zoo.audit import audit
from zoo.recipe import read_tree
from zoo.registry import Registry
from zoo.report.diagram import diagram
from zoo.report.diagram.svg import text_width

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ["dit_b", "mpdit_b", "mpdit_xl_512_three_level", "ppflow_b_3", "hybrid_b", "digits_hybrid"]
STAGES = "stages: [{noise_above: 0.01, patch: 32}, {noise_above: 0.0, patch: 1}]"
EXTREME = f"backbone.patch_schedule={{type: by_timestep, {STAGES}}}"
ASSEMBLIES = [(name, ()) for name in NAMES] + [
    ("dit_b", (EXTREME,)),
    ("mpdit_b", ("backbone.skip=none", "backbone.prediction=noise")),
]
IDS = [*NAMES, "extreme", "no skip"]


@cache
def assembly(name, overrides=()):
    """An audit and its recipe."""
    registry = Registry()
    recipe = check_tree(read_tree(name, overrides), registry)
    return audit(recipe), recipe


def drawn(found, recipe):
    return ET.fromstring(diagram(found, recipe))


def boxes(root, kind):
    """Groups of a kind, in the order of the drawing."""
    return [group for group in root.iter(f"{SVG}g") if group.get("data-kind") == kind]


def levels_of(found):
    return [level for stage in found.stages for level in stage.levels]


def texts(root):
    return list(root.iter(f"{SVG}text"))


def points_of(element):
    return [tuple(map(float, point.split(","))) for point in element.get("points").split()]


def extent(element):
    """Left, upper, right and lower edge of an element, with text as wide as it can be; None if it shows nothing."""
    tag, number = element.tag.removeprefix(SVG), lambda name: float(element.get(name))
    if tag == "rect" and element.get("width") != "100%":
        return number("x"), number("y"), number("x") + number("width"), number("y") + number("height")
    if tag == "circle":
        return tuple(number(axis) + side * number("r") for side in (-1, 1) for axis in ("cx", "cy"))
    if tag in ("polyline", "polygon"):
        xs, ys = zip(*points_of(element), strict=True)
        return min(xs), min(ys), max(xs), max(ys)
    if tag == "text":
        size = number("font-size")
        width = text_width(element.text, size, bold=element.get("font-weight") == "bold")
        left = number("x") - {"start": 0, "middle": width / 2, "end": width}[element.get("text-anchor", "start")]
        return left, number("y") - 0.75 * size, left + width, number("y") + 0.22 * size
    return None


def misplaced(root):
    """What leaves the page or, of texts and boxes, lies on another text."""
    _, _, width, height = map(float, root.get("viewBox").split())
    places = [(element, extent(element)) for element in root.iter() if extent(element)]
    outside = [element for element, (x0, y0, x1, y1) in places if x0 < 0 or y0 < 0 or x1 > width or y1 > height]
    levels = {rect for group in boxes(root, "level") for rect in group.iter(f"{SVG}rect")}
    solid = [(element, place) for element, place in places if element.tag == f"{SVG}text" or element in levels]
    return outside + [
        first
        for (first, a), (second, b) in combinations(solid, 2)
        if f"{SVG}text" in (first.tag, second.tag) and a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]
