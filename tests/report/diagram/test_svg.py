"""Elements with colours by name, and text that is cut or wrapped before it is too wide."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.report.diagram.svg import COLOURS, add, arrow, document, finish, shorten, text_width, wrap

WORDS = st.text("abimW 0→漢", max_size=60)


@given(WORDS, st.floats(20, 300), st.booleans())
def test_shortened_text_fits_and_is_the_beginning(text, width, bold):
    short = shorten(text, width, 12, bold=bold)
    assert text_width(short, 12, bold=bold) <= width
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))
    assert short == text or text_width(text, 12, bold=bold) > width


@given(st.lists(st.text("abimW", min_size=1, max_size=8), max_size=20), st.floats(100, 400))
def test_wrapped_text_fits_and_loses_nothing(words, width):
    lines = list(wrap(" ".join(words), width, 12))
    assert " ".join(lines).split() == words
    assert all(text_width(line, 12) <= width for line in lines)


def test_colours_are_light_without_style_sheets_and_dark_with_them():
    root = document("title", "description")
    add(root, "rect", fill="panel", stroke="line")
    parsed = ET.fromstring(finish(root, 10, 20.5))
    rect = parsed[-1]
    assert (rect.get("fill"), rect.get("stroke")) == (COLOURS["panel"][0], COLOURS["line"][0])
    assert rect.get("class") == "zoo-fill-panel zoo-stroke-line"
    style = parsed[2].text
    assert style.strip().startswith("@media (prefers-color-scheme: dark)")
    assert f".zoo-fill-panel {{ fill: {COLOURS['panel'][1]} }}" in style
    assert parsed.get("viewBox") == "0 0 10 20.5"


def test_what_xml_cannot_hold_is_escaped():
    root = document("\x00\ud800<&", "")
    assert ET.fromstring(finish(root, 1, 1))[0].text == "\\x00\\ud800<&"


@pytest.mark.parametrize(("end", "tip"), [((10, 0), "10,0 3,3.5 3,-3.5"), ((0, -10), "0,-10 -3.5,-3 3.5,-3")])
def test_the_head_of_an_arrow_is_at_its_end(end, tip):
    root = document("", "")
    arrow(root, (0, 0), end)
    assert root[-1].get("points") == tip
