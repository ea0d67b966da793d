"""Drawings inside a page keep to themselves."""

import re

import pytest
from matplotlib.figure import Figure

from zoo.report.page.inline import inline
from zoo.report.pareto import to_svg


@pytest.fixture
def svg():
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], [1, 2], color="tab:blue")
    axes.set_title("a < b & </svg><script>")
    return to_svg(figure)


def names(text: str) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', text))


def test_two_drawings_share_no_name_and_miss_none(svg):
    one, other = inline(svg, "one"), inline(svg, "other")
    assert names(one)
    assert not names(one) & names(other)
    used = set(re.findall(r"#([\w.-]+)[\")]", one))
    assert used
    assert used <= names(one)


def test_a_rule_for_everything_becomes_the_drawings_own(svg):
    assert "<style" in svg
    text = inline(svg, "one")
    assert "<style" not in text
    assert 'stroke-linejoin="round"' in text
    assert "<metadata" not in text


def test_rules_of_classes_stay():
    text = inline('<svg xmlns="http://www.w3.org/2000/svg"><style>.zoo-a { fill: red }</style></svg>', "one")
    assert text == "<svg><style>.zoo-a { fill: red }</style></svg>"


def test_paper_is_light():
    dark = "@media (prefers-color-scheme: dark) { text { fill: white } }"
    text = inline(f'<svg xmlns="http://www.w3.org/2000/svg"><style>{dark}</style></svg>', "one")
    assert "@media screen and (prefers-color-scheme: dark) {" in text


def test_colours_follow_the_page(svg):
    text = inline(svg, "one", "a plot")
    assert "#1f77b4" not in text
    assert "var(--accent)" in text
    assert "#000000" not in text
    assert "fill: #ffffff" not in text
    assert 'aria-label="a plot"' in text


def test_text_stays_text(svg):
    text = inline(svg, "one", 'a "label" <b>')
    assert "<script" not in text
    assert "a &lt; b &amp; &lt;/svg&gt;&lt;script&gt;" in text
    assert 'aria-label="a &quot;label&quot; &lt;b&gt;"' in text
