"""Links between pages go to something that is there: of README, manual, CONTRIBUTING and the packages' READMEs."""

import re
from pathlib import Path
from posixpath import normpath

import links
import manual
import pytest
import yaml

ROOT = Path(__file__).parents[1]
MADE = {f"docs/{path}": make for path, make in manual.pages(costs=False).items()}
"""Pages that are made of the code: they are in the site alone, whose other pages may link to them."""

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")]
PLACES = sorted(page.relative_to(ROOT).as_posix() for page in PAGES)


def prose(place: str) -> str:
    """A page without blocks of code."""
    text = MADE[place]() if place in MADE else (ROOT / place).read_text(encoding="utf-8")
    text = links.FENCED.sub("", text)
    return re.sub(r"`[^`\n]*`", lambda code: code[0].replace("](", "] ("), text)


def anchors(place: str) -> list[str]:
    """Of the headings of a page, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.*)$", prose(place), flags=re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings]


def problem(place: str, link: str) -> str | None:
    """What is wrong with a link of the page at that place of the repository."""
    path, _, anchor = link.partition("#")
    target = normpath(f"{Path(place).parent}/{path}") if path else place
    if not ((ROOT / target).exists() or (target in MADE and place.startswith("docs/"))):
        return f"{link}: is not there"
    if anchor and (not target.endswith(".md") or anchors(target).count(anchor) != 1):
        return f"{link}: no heading there is called so, or several are"
    return None


@pytest.mark.parametrize("place", PLACES)
def test_links_go_somewhere(place):
    found = re.findall(r"\]\(([^)\s]+)\)|(?:href|src)=\"([^\"]+)\"", prose(place))
    own = [first or second for first, second in found]
    assert [each for link in own if not link.startswith("https://") and (each := problem(place, link))] == []


@pytest.mark.parametrize("link", ["docs/none.md", "docs/start.md#none", "LICENSE#mit", "#none"])
def test_a_link_to_nothing_is_a_problem(link):
    assert problem("README.md", link)


def test_pages_of_the_site_may_link_to_those_that_are_made_of_the_code():
    assert problem("docs/kinds.md", "parts/norm.md#contract") is None
    assert problem("docs/kinds.md", "parts/norm.md#none")
    assert problem("docs/kinds.md", "parts/none.md")
    assert problem("README.md", "docs/parts/norm.md") == "docs/parts/norm.md: is not there"


@pytest.mark.parametrize("place", PLACES)
def test_headings_are_anchors_alike_on_github_and_in_the_site(place):
    assert not [each for each in anchors(place) if "--" in each or not each.isascii()]


def listed(nav: object) -> list[str]:
    """The files of a part of mkdocs' nav."""
    if isinstance(nav, str):
        return [nav]
    return [each for part in (nav.values() if isinstance(nav, dict) else nav) for each in listed(part)]  # type: ignore


def test_every_page_is_in_the_nav_of_the_site():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    own = {page.relative_to(ROOT / "docs").as_posix() for page in ROOT.glob("docs/**/*.md")} | set(links.PAGES.values())
    assert own <= set(listed(yaml.safe_load(text)["nav"]))


@pytest.mark.parametrize(
    ("own", "text", "site"),
    [
        ("docs/a.md", "[b](b.md#c) ![](d.svg)", "[b](b.md#c) ![](d.svg)"),
        ("docs/a.md", "[c](../CONTRIBUTING.md#rooms)", "[c](contributing.md#rooms)"),
        ("docs/a.md", "[u](../plugins/zoo-uvit/README.md)", "[u](packages/zoo-uvit.md)"),
        ("docs/a.md", "[t](../tools/pages.py) [r](../README.md)", "[t](files/tools/pages.py) [r](index.md)"),
        ("plugins/zoo-uvit/README.md", "[z](../..) [b](../../docs/b.md#c)", "[z](../index.md) [b](../b.md#c)"),
        ("README.md", '<a href="docs/b.svg">b</a> [x](https://x.org/y)', '<a href="b.svg">b</a> [x](https://x.org/y)'),
        ("docs/a.md", "```\n[b](../b.md)\n```", "```\n[b](../b.md)\n```"),
    ],
)
def test_the_site_has_links_of_its_own(own, text, site):
    assert links.turned(text, own)[0] == site
