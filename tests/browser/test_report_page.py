"""The page about a run in a real browser: nothing leaves it, all is in its place, and words can be read."""

import json
import os
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.train.small import ALONE, small, train
from zoo.registry import Registry
from zoo.report.page import run_page
from zoo.train.trial import judge_run

WIDTHS = [390, 1280]
SCHEMES = ["light", "dark"]

# Of every element with words of its own: its contrast, by WCAG 2.1, with the nearest background that is not clear.
CONTRASTS = """
const channels = colour => colour.match(/[\\d.]+/g).map(Number);
const linear = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const behind = element => {
  for (; element; element = element.parentElement) {
    const found = channels(getComputedStyle(element).backgroundColor);
    if (found.length === 3 || found[3] > 0) return found;
  }
  throw new Error("no background");
};
return [...document.querySelectorAll("body, body *:not(svg *)")]
  .filter(each => [...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()))
  .map(each => {
    const [a, b] = [light(channels(getComputedStyle(each).color)), light(behind(each))];
    return [each.textContent.trim().slice(0, 40), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  });
"""

# Words in drawings that stand out of them, in the units of each drawing.
OUTSIDE = """
return [...document.querySelectorAll("svg text")].filter(each => {
  const {x, y, width, height} = each.getBBox(), drawing = each.ownerSVGElement, view = drawing.viewBox.baseVal;
  const own = drawing.getScreenCTM().inverse().multiply(each.getScreenCTM());
  return [[x, y], [x + width, y], [x, y + height], [x + width, y + height]]
    .map(corner => new DOMPoint(...corner).matrixTransform(own))
    .some(({x, y}) => x < view.x || y < view.y || x > view.x + view.width || y > view.y + view.height);
}).map(each => each.textContent);
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = (
        "train.steps=60",
        "train.checkpoint_every=30",
        "train.callbacks=[{type: pictures, every: 30}]",
        "evaluate.count=20",
    )
    run = train(folder, *options)
    for step in (30, 60):
        judge_run(run, small(*options), Registry(), ALONE, step=step)
    page = folder / "report.html"
    page.write_text(run_page(run, Registry()), encoding="utf-8")
    return page


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for each in ("headless=new", "disable-dev-shm-usage", "host-resolver-rules=MAP * ~NOTFOUND"):
        options.add_argument(f"--{each}")
    if os.geteuid() == 0:  # Chromium's sandbox refuses root
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def show(browser, page):
    """Shows the page, or another text, in a window of some width and in a theme."""

    def shown(width: int = 1280, scheme: str = "light", text: str | None = None):
        path = page
        if text is not None:
            path = page.with_name("broken.html")
            path.write_text(text, encoding="utf-8")
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        theme = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": theme})
        for kind in ("browser", "performance"):
            browser.get_log(kind)  # what was said before
        browser.get(path.as_uri())
        return browser

    return shown


def events(browser, method: str) -> list[dict]:
    """What the browser's network says it did."""
    found = [json.loads(each["message"])["message"] for each in browser.get_log("performance")]
    return [each["params"] for each in found if each["method"] == f"Network.{method}"]


def requests(browser) -> list[str]:
    """What was asked for, the page itself and what it holds aside."""
    urls = [each["request"]["url"] for each in events(browser, "requestWillBeSent")]
    return [url for url in urls if not url.startswith("data:") and url != browser.current_url]


def overflow(browser) -> int:
    return browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_nothing_leaves_the_page(show):
    browser = show()
    assert requests(browser) == []
    assert browser.get_log("browser") == []
    entries = browser.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
    assert [each for each in entries if not each.startswith("data:")] == []


def test_the_policy_stops_what_would_leave(show, page):
    image = '<body><img src="https://example.org/a.png">'
    browser = show(text=page.read_text(encoding="utf-8").replace("<body>", image))
    assert "Content Security Policy" in browser.get_log("browser")[0]["message"]
    assert [each["blockedReason"] for each in events(browser, "loadingFailed")] == ["csp"]


def test_a_request_would_be_seen(show):
    browser = show(text='<!doctype html><title>broken</title><img src="https://example.org/a.png">')
    assert requests(browser) == ["https://example.org/a.png"]


def test_title_and_headings(show):
    browser = show()
    assert browser.title == "small · zoo"
    headings = browser.execute_script("return [...document.querySelectorAll('h1, h2')].map(each => each.innerText)")
    assert headings == ["small", "Samples", "Quality after step 60", "Training", "Assembly", "How to do it again"]


def test_pictures_are_there(show):
    sizes = show().execute_script(
        "return [...document.images].map(each => [each.complete, each.naturalWidth, each.clientWidth, each.alt])"
    )
    assert [alt for *_, alt in sizes] == ["Samples drawn after step 60", "Samples drawn after step 30"]
    assert all(complete and natural > 0 and shown % natural == 0 for complete, natural, shown, _ in sizes)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_no_wider_than_the_window(show, width):
    assert overflow(show(width)) == 0


def test_a_page_that_is_too_wide_would_be_seen(show, page):
    wide = "<body><p style='width: 500px'>wide</p>"
    assert overflow(show(390, text=page.read_text(encoding="utf-8").replace("<body>", wide))) > 0


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_words_stand_out_from_what_is_behind_them(show, scheme, width):
    browser = show(width, scheme)
    contrasts = browser.execute_script(CONTRASTS)
    assert len(contrasts) > 100
    assert [each for each in contrasts if each[1] < 4.5] == []
    page = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert page == {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 19, 24)"}[scheme]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_words_in_curves_have_the_colour_of_the_page(show, scheme):
    colours = show(scheme=scheme).execute_script(
        "return [...document.querySelectorAll('.plot text')].map(each => getComputedStyle(each).fill)"
    )
    assert len(colours) > 20
    assert set(colours) == {{"light": "rgb(20, 24, 29)", "dark": "rgb(245, 247, 249)"}[scheme]}


def test_pale_words_would_be_seen(show, page):
    pale = "<body><p style='color: #999'>pale</p>"
    found = show(text=page.read_text(encoding="utf-8").replace("<body>", pale)).execute_script(CONTRASTS)
    assert [words for words, contrast in found if contrast < 4.5] == ["pale"]


@pytest.mark.parametrize("width", WIDTHS)
def test_words_of_drawings_are_inside(show, width):
    assert show(width).execute_script(OUTSIDE) == []


def test_words_out_of_a_drawing_would_be_seen(show):
    text = '<!doctype html><title>broken</title><svg viewBox="0 0 50 20"><text x="30" y="15">outside</text></svg>'
    assert show(text=text).execute_script(OUTSIDE) == ["outside"]
