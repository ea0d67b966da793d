"""Diagrams can be read: nothing lies on text, in any font, theme or eye."""

import re
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import ImageFont

from tests.report.diagram.drawn import ASSEMBLIES, IDS, SVG, assembly, boxes, drawn, misplaced, texts
from zoo.report.diagram.svg import COLOURS, text_width

LONG = "a part with a very long name " * 9
HOSTILE = "a<b>&\"c']]>\x00\u202e漢字"


@cache
def wide_font(*, bold):
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", f"DejaVuSans{'-Bold' * bold}.ttf"), 100)


@pytest.mark.parametrize(("name", "overrides"), ASSEMBLIES, ids=IDS)
def test_texts_are_no_wider_than_estimated_in_a_wide_font(name, overrides):
    for text in texts(drawn(*assembly(name, overrides))):
        bold, size = text.get("font-weight") == "bold", float(text.get("font-size"))
        assert wide_font(bold=bold).getlength(text.text) * size / 100 <= text_width(text.text, size, bold=bold)


# -- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [HOSTILE, LONG])
def test_names_are_escaped_and_shortened_but_whole_in_the_tooltip(name):
    found, recipe = assembly("hybrid_b")
    parts = tuple(replace(part, type=name) for part in found.parts)
    root = drawn(replace(found, parts=parts), recipe.model_copy(update={"name": name}))
    whole = name.replace("\x00", "\\x00").replace("\u202e", "\\u202e")
    (title,) = boxes(root, "name")
    shown = texts(title)[0].text
    assert title.find(f"{SVG}title").text == whole
    assert shown == whole if name is HOSTILE else shown.endswith("…")
    for cell in boxes(root, "part"):
        assert whole in cell.find(f"{SVG}title").text
    assert misplaced(root) == []


# -- colours --------------------------------------------------------------------------------------------------------

# What is seen without green, red and blue cones: Machado, Oliveira and Fernandes 2009, table 1, severity 1.
BLINDNESS = {
    "none": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def themes(root):
    """For both themes, what each class of the drawing's elements looks like."""
    light = {}
    for element in root.iter():
        for name in element.get("class", "").split():
            light[name] = element.get(name.split("-")[1])
    style = root.find(f"{SVG}style").text
    dark = dict(re.findall(r"\.([\w-]+) \{ (?:fill|stroke): (#\w{6}) \}", style[style.index("dark") :]))
    return {"light": light, "dark": {name: dark[name] for name in light}}


def linear(colour):
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(first, second):
    """WCAG 2's ratio of luminances."""
    dark, light = sorted(linear(colour) @ [0.2126, 0.7152, 0.0722] for colour in (first, second))
    return (light + 0.05) / (dark + 0.05)


def lab(values):
    """CIELAB of linear RGB."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(matrix @ np.clip(values, 1e-3, 1) / [0.9505, 1, 1.089])
    return np.array([116 * y, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_boxes_stand_out_in_both_themes(theme):
    root = drawn(*assembly("mpdit_xl_512_three_level"))
    colours = themes(root)[theme]
    behind = [colours[f"zoo-fill-{name}"] for name in ("page", "panel", "node")]
    written = {text.get("class") for text in texts(root)}
    assert written == {"zoo-fill-ink", "zoo-fill-muted"}
    assert min(contrast(colours[name], each) for name in written for each in behind) >= 4.5
    patches = [colour for name, colour in colours.items() if "patch" in name]
    assert len(patches) == 3
    assert min(contrast(colour, behind[1]) for colour in patches) >= 3  # WCAG 2.1, 1.4.11
    assert contrast("#777777", "#ffffff") < 4.5


@pytest.mark.parametrize("sight", list(BLINDNESS))
@pytest.mark.parametrize("place", [0, 1], ids=["light", "dark"])
def test_patches_stay_apart_for_the_colour_blind(place, sight):
    def nearest(colours):
        seen = [lab(np.array(BLINDNESS[sight]) @ linear(colour)) for colour in colours]
        return min(np.linalg.norm(first - second) for first, second in combinations(seen, 2))

    assert nearest([pair[place] for name, pair in COLOURS.items() if name.startswith("patch") or name == "ink"]) > 14
    if sight == "deuteranopia":
        assert nearest(["#d62728", "#7f6000"]) < 14


def test_the_same_patch_has_the_same_colour_and_others_another():
    found, recipe = assembly("hybrid_b")
    colours = [next(group.iter(f"{SVG}rect")).get("fill") for group in boxes(drawn(found, recipe), "level")]
    assert colours[1] == colours[2]
    assert len(set(colours)) == 3
