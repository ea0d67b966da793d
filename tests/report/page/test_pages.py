"""Pages: what they tell of a run, that they hold all they show, and that names do nothing."""

import json
import re
import shutil
from html.parser import HTMLParser
from importlib.metadata import version

import pytest

from tests.train.small import ALONE, small, train
from tests.weights.small import of_axes
from zoo.assembly import load_recipe
from zoo.audit import audit
from zoo.errors import AuditError, RecipeError
from zoo.registry import Registry
from zoo.report.comparison import Comparison
from zoo.report.diagram.words import TIMES
from zoo.report.page import comparison_page, run_page
from zoo.report.page.run_summary import size_words
from zoo.report.pareto import Axis, plot, to_svg
from zoo.runs.metrics_file import forget_after
from zoo.runs.run_folder import RunFolder
from zoo.train.trial import judge_run

REGISTRY = Registry()
CALLBACKS = "[{type: pictures, every: 2}, {type: validate, samples: 6, levels: 2}]"
QUICK = ("evaluate.count=12", "evaluate.metrics=[fid]", f"train.callbacks={CALLBACKS}")
HELD_OUT = "Loss of held-out samples against steps"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
WITHOUT_END = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Elements, text by element, and what is wrong with the nesting of elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in WITHOUT_END:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and self.open:
            self.words.append((self.open[-1], data.strip()))

    def texts(self, tag: str) -> list[str]:
        return [text for own, text in self.words if own == tag]

    def tags(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for own, attributes in self.elements if own == tag]

    def beyond(self) -> list[str]:
        """What a browser would run, or fetch from elsewhere, and names that are there twice."""
        found = [tag for tag, _ in self.elements if tag in ("script", "iframe", "object", "embed", "form")]
        for _, attributes in self.elements:
            for name, value in attributes.items():
                if name.startswith("on"):
                    found.append(name)
                if name in ("src", "href", "xlink:href", "srcset", "data") and not str(value).startswith(
                    ("data:", "#")
                ):
                    found.append(str(value))
                found.extend(re.findall(r"url\((?!#)[^)]*\)", str(value)))
        for text in self.texts("style"):
            found.extend(re.findall(r"@import|url\([^)]*\)", text))
        ids = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        return found + [each for each in ids if ids.count(each) > 1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = train(tmp_path_factory.mktemp("runs") / "run", *QUICK)
    for step in (2, 3):
        judge_run(run, small(*QUICK), REGISTRY, ALONE, step=step)
    return run


@pytest.fixture
def copy(run, tmp_path):
    return RunFolder(shutil.copytree(run.path, tmp_path / "run"))


def page_of(run: RunFolder) -> Page:
    return Page(run_page(run, REGISTRY))


def test_a_page_without_a_floor_says_so(copy):
    (path,) = copy.evaluations.glob("step_00000003*.json")
    found = json.loads(path.read_text())
    del found["figures"]["held-out real"]
    path.write_text(json.dumps({**found, "doubts": ["no floor, figures of ..."]}))
    page = page_of(copy)
    assert "no floor" in [text for _, text in page.words]
    assert "no floor, figures of ..." in page.texts("dd")


def missing(page: Page) -> str:
    return " ".join(page.texts("p"))


def test_a_page_tells_what_was_trained_and_what_it_cost(run):
    page = page_of(run)
    report = audit(small(*QUICK))
    assert page.texts("h1") == ["small"]
    assert page.texts("title")[0] == "small · zoo"
    assert page.texts("h2") == ["Samples", "Quality after step 3", "Training", "Assembly", "How to do it again"]
    told = page.texts("dd")
    assert f"{report.params.total / 1e6:.2f} M" in told
    assert "3 steps" in told
    assert "24 images, 8 a step" in told
    assert any(text.endswith(f"{report.macs:,}, mean over uniform noise levels") for text in told)
    per_image = 3 * (report.stages[0].macs + report.stages[1].macs) // 2  # equal shares of a batch
    assert f"{24 * per_image / 1e6:.3f} M" in told


def test_a_page_tells_the_size_of_latents_of_any_axes():
    told = [size_words(of_axes(small(), *size)).partition(",")[0].replace(TIMES, "x") for size in ((64,), (2, 8, 8))]
    assert told == ["Latent 1 x 64", "Latent 1 x 2 x 8 x 8"]


def test_the_tables_are_those_of_the_audit_and_of_the_evaluation(run):
    page = page_of(run)
    figures = run.read_evaluations()[-1]["figures"]
    cells = page.texts("td")
    for each in figures.values():
        assert all(f"{value:.4g}" in cells for value in each.values())
    for stage in audit(small(*QUICK)).stages:
        assert f"{stage.macs / 1e6:.3f} M" in cells
    assert {"held-out real", "generated", "tokens", "kind"} <= set(page.texts("th"))


def test_the_record_says_how_the_figures_came_about(run):
    page, found = page_of(run), run.read_evaluations()[-1]
    told = page.texts("dd")
    solver = "euler (shift 1.0), 2 updates"
    for words in (solver, "12 drawn, beside 1198 real images", "averaged, step_00000003", found["weights_sha256"]):
        assert words in told
    assert found["libraries"]["torch"] in page.texts("pre")[0]


def test_curves_and_pictures(run):
    page = page_of(run)
    labels = [each.get("aria-label") for each in page.tags("svg")]
    assert labels == [
        "fid against steps", "fid_relative against steps", "Loss against steps", "Norm of the gradient against steps",
        "Learning rate against steps", "Images per second against steps", HELD_OUT, None,
    ]  # fmt: skip
    images = page.tags("img")
    assert [each["alt"] for each in images] == ["Samples drawn after step 3", "Samples drawn after step 2"]
    assert int(images[0]["width"]) > int(images[1]["width"])
    assert "small: the way of the tokens" in page.texts("title")


def test_what_is_no_loss_of_held_out_samples_is_not_drawn(copy):
    pairs = [{"ema": {"loss": each}, "raw": {"loss": 1}} for each in ("1", 1e200, float("nan"))]
    losses = [None, "ema", [], {}, *pairs]
    copy.metrics.write_text("".join(json.dumps({"step": 1, "validate": each}) + "\n" for each in losses))
    assert HELD_OUT not in [each.get("aria-label") for each in page_of(copy).tags("svg")]


def test_a_page_holds_all_it_shows(run):
    page = page_of(run)
    assert page.beyond() == []
    assert page.tags("meta")[1] == {"http-equiv": "Content-Security-Policy", "content": POLICY}


@pytest.mark.parametrize(
    "broken",
    [
        "<script>1</script>", '<img src="https://a.b/c.png">', '<p onclick="1"></p>', "<style>@import 'a'</style>",
        '<p style="background: url(a.png)"></p>', '<p id="x"></p><p id="x"></p>', '<link href="//a.b/c.css">',
    ],
)  # fmt: skip
def test_what_a_page_must_not_have_would_be_seen(broken):
    assert Page(broken).beyond()


def test_equal_folders_give_equal_pages(run, copy):
    page = run_page(copy, REGISTRY)
    assert page == run_page(copy, REGISTRY)
    assert page == run_page(run, REGISTRY)
    (copy.path / "report.html").write_text(page)
    assert run_page(copy, REGISTRY) == page


def test_names_do_nothing(tmp_path):
    name = "<script>alert(1)</script> & \"'\x07 {{ 7 * 7 }}"
    run = train(tmp_path / "<b>run", *QUICK, f"name={json.dumps(name)}", "train.steps=1", "train.log_every=1")
    judge_run(run, load_recipe(run.recipe, registry=REGISTRY), REGISTRY, ALONE, step=1)
    text = run_page(run, REGISTRY)
    page = Page(text)
    assert page.beyond() == []
    assert page.texts("h1") == [name.replace("\x07", "\\x07")]
    assert "\x07" not in text


def test_what_is_not_there_yet_is_told_in_its_place(copy):
    for path in (copy.samples, copy.evaluations):
        shutil.rmtree(path)
    copy.metrics.unlink()
    copy.versions.unlink()
    page = page_of(copy)
    told = missing(page)
    for words in (
        "This run has not finished: it is at step 0 of 3.",
        "None yet: a run draws them",
        "Not judged yet;",
        "No line of the metrics yet",
        "There is no record of versions",
    ):
        assert words in told
    assert page.texts("h2")[1] == "Quality"
    assert page.tags("img") == []
    assert f"zoo eval --run {copy.path}" in page.texts("code")
    assert page.beyond() == []


def test_a_run_on_its_way_says_how_far_it_is(copy):
    forget_after(copy.metrics, 2)
    page = page_of(copy)
    assert "This run has not finished: it is at step 2 of 3." in missing(page)
    assert "2 of 3 steps" in page.texts("dd")


def test_one_evaluation_makes_no_curve(copy):
    next(copy.evaluations.glob("step_00000003-*.json")).unlink()
    page = page_of(copy)
    assert "Quality after step 2" in page.texts("h2")
    assert "fid against steps" not in [each.get("aria-label") for each in page.tags("svg")]


def test_figures_of_another_way_are_no_points_of_a_curve(copy):
    path = next(copy.evaluations.glob("step_00000002-*.json"))
    found = json.loads(path.read_text())
    found["sample"]["steps"] = 50
    path.with_name("step_00000001.json").write_text(json.dumps({**found, "checkpoint": "step_00000001"}))
    page = page_of(copy)
    assert "1 left out that drew or judged in another way." in missing(page)
    path.write_text(json.dumps(found))
    assert "fid against steps" not in [each.get("aria-label") for each in page_of(copy).tags("svg")]


def test_an_assembly_that_cannot_be_counted_is_told(run, monkeypatch):
    def fail(*arguments):
        raise AuditError("small: <odd> is neither counted nor negligible")

    monkeypatch.setattr("zoo.report.page.run_summary.audit_backbone", fail)
    page = page_of(run)
    assert "Its multiply-adds cannot be counted: small: <odd> is neither counted nor negligible" in missing(page)
    assert [each for each in page.texts("dt") if each.startswith("Multiply")] == []
    assert "Parameters" in page.texts("dt")
    assert page.beyond() == []


def test_a_recipe_that_cannot_be_built_is_an_error(copy):
    copy.recipe.write_text(copy.recipe.read_text().replace("linear_linear", "no_such_part"))
    with pytest.raises(RecipeError, match="no_such_part"):
        run_page(copy, REGISTRY)


def test_every_start_is_told(copy):
    (start,) = json.loads(copy.versions.read_text())
    later = {**start, "versions": {**start["versions"], "packages": {"zoo": "9.9"}}}
    copy.versions.write_text(json.dumps([start, later]))
    page = page_of(copy)
    assert "It was started 2 times; the starts before" in page.texts("summary")
    told = page.texts("dd")
    first = f"torch {version('torch')}, zoo {start['versions']['packages']['zoo']}"
    assert told.index("zoo 9.9") < told.index(first)


def test_comparisons(run):
    entries = list(Comparison([small("name='<i>dit'", "backbone.dim=32")], [run], (), REGISTRY, ALONE).entries())
    svg = to_svg(plot(entries, Axis("macs"), Axis("params")))
    page = Page(comparison_page(entries, svg))
    assert page.texts("h1") == ["Assemblies compared"]
    assert {"<i>dit", "100.0%", entries[1].name} <= set(page.texts("td"))
    assert {"of first", "fid", "runs"} <= set(page.texts("th"))
    assert page.beyond() == []
    assert comparison_page(entries, svg) == comparison_page(entries, svg)
    without = Page(comparison_page(entries[:1], svg))
    assert "runs" not in without.texts("th")
