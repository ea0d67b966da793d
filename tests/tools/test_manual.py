"""The pages of the manual that are made of the code tell of all of it, and their links lead somewhere."""

import re
import sys
from importlib import import_module
from pathlib import Path, PurePosixPath
from posixpath import normpath

import pytest

from zoo import load_recipe
from zoo.attributes import GIVEN_BY, _mends
from zoo.kinds import KINDS
from zoo.parts import ModulePart
from zoo.recipe.schema import SECTIONS
from zoo.testing import ASSEMBLY_LAWS, laws_of
from zoo.testing.format_laws import FORMAT_LAWS

ROOT = Path(__file__).parents[2]
BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def tools():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT / "tools"), *sys.path])
        yield


@pytest.fixture(scope="module")
def manual(tools):
    return import_module("manual")


@pytest.fixture(scope="module")
def pages(manual):
    return {path: make() for path, make in manual.pages(costs=False).items()}


@pytest.fixture(scope="module")
def entries(manual):
    return import_module("manual.packages").registry().entries()


def section(page, heading):
    """What stands under a heading, up to the next of its level or above."""
    level = heading.split(" ")[0]
    _, found, rest = f"\n{page}".partition(f"\n{heading}\n")
    assert found, f"there is no {heading!r}"
    return re.split(rf"\n#{{1,{len(level)}}} ", rest)[0]


def headings(page):
    return [line.lstrip("#").strip() for line in FENCED.sub("", page).splitlines() if line.startswith("#")]


def test_every_kind_has_a_page_and_a_row(pages):
    for kind in KINDS:
        assert pages[f"parts/{kind}.md"].startswith(f"# {kind}\n")
        assert f"\n| [{kind}]({kind}.md) | " in pages["parts/index.md"]


def test_every_part_is_told_with_its_options_and_their_bounds(pages, entries):
    assert {entry.plugin.name for entry in entries} == {
        "zoo", *(f"diffusion-{each.name}" for each in ROOT.glob("plugins/*"))
    }  # fmt: skip
    for entry in entries:
        told = section(pages[f"parts/{entry.kind}.md"], f"### {entry.name}")
        for option in entry.signature.parts:
            assert f"\n| `{option}` | [a part: " in told
        for option, schema in entry.signature.options.model_json_schema().get("properties", {}).items():
            (row,) = (line for line in told.splitlines() if line.startswith(f"| `{option}` | "))
            for key, sign in BOUNDS.items():
                assert f"{sign} {schema[key]}" in row if key in schema else True


@pytest.mark.parametrize("at", ["", ".venv/lib/python3.13/site-packages"])
def test_of_an_installed_copy_no_file_is_told(entries, at, tmp_path, monkeypatch):
    parts = import_module("manual.parts")
    (lightning,) = (entry for entry in entries if entry.name == "lightning")
    named = "*Of [zoo-lightning](../packages/zoo-lightning.md), version 2*: `LightningBlock`"
    assert parts._whose(lightning) == f"{named} in `plugins/zoo-lightning/zoo_lightning/block.py`"
    copy = (ROOT / at if at else tmp_path) / "zoo_lightning/block.py"
    monkeypatch.setattr(parts.inspect, "getsourcefile", lambda cls: str(copy))
    assert parts._whose(lightning) == named


def test_every_option_says_what_it_is(pages, entries):
    for entry in entries:
        told = section(pages[f"parts/{entry.kind}.md"], f"### {entry.name}")
        for row in re.findall(r"^\| `.*", told, re.MULTILINE):
            assert not row.endswith("|  |"), f"{entry.kind} {entry.name}: {row}"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_part_may_say_of_itself_is_told(kind, pages):
    page = pages[f"parts/{kind}.md"]
    shared = [*ModulePart.__annotations__] if kind == "patch_schedule" else ["gives"] if kind not in GIVEN_BY else []
    for name in _mends(kind):
        if name not in shared:
            assert re.search(rf"^\| \[?`{name}`", page, re.MULTILINE), name


@pytest.mark.parametrize("kind", KINDS)
def test_the_scrap_of_a_kind_is_a_recipe(kind, pages, entries, tmp_path):
    packages = import_module("manual.packages")
    text = section(pages[f"parts/{kind}.md"], "## In a recipe").split("```yaml\n")[1].split("\n```")[0]
    base = re.match(r"extends: (\w+)\n", text)
    path = tmp_path / "mine.yaml"
    path.write_text(
        text.replace(base[0], f"extends: {packages.recipes()[base[1]]}\n")
        if base
        else f"extends: {packages.recipes()['hybrid_b']}\n{text}"
    )
    recipe = load_recipe(path, registry=packages.registry())
    assert recipe.name == "mine"


def test_every_law_is_told_with_what_breaks_it(pages, manual):
    laws = import_module("manual.laws")
    told = {id(law) for found in laws.pages().values() for law in found}
    every = [*ASSEMBLY_LAWS, *FORMAT_LAWS, *(law for kind in KINDS for law in laws_of(kind))]
    assert told == {id(law) for law in every}
    for name, found in laws.pages().items():
        for law in found:
            words = section(pages[f"laws/{name}.md"], f"## {law.__name__}")
            assert re.search(r"^\*Advice\*: \S", words, re.MULTILINE)
            assert re.search(r"^\*Broken by\* .*\n\n```python\n.+\n", words, re.MULTILINE)
            assert f"[{law.__name__}]({name}.md#{law.__name__})" in pages["laws/index.md"]


def test_a_law_that_nothing_breaks_is_refused(manual):
    from zoo.testing import law

    @law("Let it be.")
    def is_never_broken(case):
        """It is."""

    with pytest.raises(AssertionError, match="no test shows that the law is_never_broken catches what breaks it"):
        import_module("manual.laws").breaches("block", is_never_broken)


def test_every_key_of_a_recipe_is_told(pages):
    for name, (options, whole) in SECTIONS.items():
        told = section(pages["recipe.md"], f"## {name}")
        for key in {*options.model_fields, *whole.model_fields} - {"unfit"}:
            (row,) = re.findall(rf"^\| `{key}` \| .*", told, re.MULTILINE)
            assert "`any`" not in row
            assert not row.endswith("|  |")


def test_every_command_is_told_with_its_options(pages):
    commands = import_module("manual.commands").commands()
    assert ("train",) in commands
    assert ("data", "check") in commands
    for name, command in commands.items():
        told = section(pages["commands.md"], f"## zoo {' '.join(name)}")
        for option in {each for parameter in command.params for each in parameter.opts if each.startswith("--")}:
            assert re.search(rf"^\| `(-\w, )?{option}\b", told, re.MULTILINE)


def test_links_lead_to_pages_and_headings(pages, manual):
    slug = import_module("manual.text").slug
    anchors = {path: [slug(each) for each in headings(page)] for path, page in pages.items()}
    for path, page in pages.items():
        assert len(set(anchors[path])) == len(anchors[path]), path
        for target, anchor in re.findall(r"\]\(([^)\s#]*)#?([^)\s]*)\)", FENCED.sub("", page)):
            goes_to = normpath(PurePosixPath(path).parent / target) if target else path
            if goes_to in pages:
                assert not anchor or anchor in anchors[goes_to], f"{path}: {target}#{anchor}"
            else:
                package = re.fullmatch(r"packages/([\w-]+)\.md", goes_to)
                is_there = (ROOT / "docs" / goes_to).is_file()
                assert is_there or (package and (ROOT / "plugins" / package[1] / "README.md").is_file()), goes_to


def test_a_part_is_counted_where_it_goes(manual):
    costs, registry = import_module("manual.costs"), import_module("manual.packages").registry()
    tread = costs.cost_of(registry.get("router", "tread"))
    assert (tread.base, tread.macs) == ("dit_b", 23_005_102_080)
    assert tread.training_macs < tread.macs
    assert costs.cost_of(registry.get("solver", "heun")) is None


def test_docstrings_become_markdown():
    text = import_module("manual.text")
    said = text.docstring(
        """What ``a*b`` is, and *this* <that>::

            run(it)

        More.

        Options:
            one: of several,
                on two lines.
            two: [*size].
        """
    )
    assert said.text == "What ``a*b`` is, and \\*this\\* &lt;that>:\n\n```python\nrun(it)\n```\n\nMore."
    assert said.sections == {"Options": {"one": "of several, on two lines.", "two": "[\\*size]."}}
    assert said.first == "What ``a*b`` is, and \\*this\\* &lt;that>:"
    assert "\n- `one`: of several, on two lines.\n" in said.whole()


def test_methods_are_told_as_they_are_written():
    class Promises:
        """It does."""

        count: int = 3
        """How many."""

        def runs(self, x: int, *, wide: bool = False) -> int:
            """It runs."""

        def _hidden(self):
            """It is told nowhere."""

    contract = import_module("manual.contract")
    (method,) = contract.methods_of(Promises)
    assert (method.signature, method.said.text) == (
        "def runs(self, x: int, *, wide: bool = False) -> int", "It runs."
    )  # fmt: skip
    (attribute,) = contract.attributes_of(Promises)
    assert attribute == contract.Attribute("count", "int", "3", "How many.")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"(?s)fails: .* values to unpack", "fails: ... values to unpack"),
        (r"token 0 of [123] in (front|back)\.", "token 0 of 1 in front."),
        ("TypeError|AttributeError", "TypeError"),
        (r"has \(3, \d+\) rows", "has (3, 1) rows"),
    ],
)
def test_what_the_kit_says_is_told_in_plain_words(pattern, words):
    assert import_module("manual.laws")._plain(pattern) == words


def test_what_breaks_a_law_is_of_the_kind_if_any_is(pages):
    for kind in ("block", "head", "upsampler"):
        assert f'```python\n@part("{kind}", ' in section(pages[f"laws/{kind}.md"], "## keeps_places")
