"""Weight formats of packages: used, listed, and where some are broken or at odds a line each, and the rest works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.plugins.site import Run, block, fake, layout, zoo
from tests.weights.small import random_weights, small
from zoo.weights import write_weights

BROKEN = {
    "raises": (layout("raises", returned="[][0]"), "IndexError: list index out of range"),
    "none": (
        layout("none", returned="None"),
        "none: zoo_weight_formats() returns None; let it return a list of classes",
    ),
    "odd": (
        layout("odd", base="dict"),
        "does not derive from zoo.weights.WeightFormat, as what zoo_weight_formats() ret",
    ),
    "bare": (layout("bare").replace("def entries", "def entry"), "leaves out what a weight format must have: entries"),
    "clocked": (
        layout("clocked").replace("    name =", '    clock = "nose"\n\n            name =', 1),
        "has clock = 'nose'; let it be None or one of 'noise', 'data'",
    ),
    "shouts": (layout("SHOUTS"), "has name = 'SHOUTS'; let it be a lower-case identifier, such as 'mpditv2'"),
}
"""By distribution: its module, and what the user must be told. The format of each is missing, and its parts are not."""

AT_ODDS = {
    "one": "weight format 'twin' is claimed by one 1.0 (one.Fake) and other 1.0 (other.Fake), and is neither's;"
    " uninstall one, or say in ZOO_PLUGINS which to load",
    "usurper": "weight format 'sit' is zoo's own and stays so, which usurper 1.0 (usurper.Fake) claims; give that one"
    " another name",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them at once, and weights of a small backbone beside."""
    folder = tmp_path_factory.mktemp("formats") / "site"
    names = {"one": "twin", "other": "twin", "usurper": "sit", "well": "lab"}
    sources = {name: source for name, (source, _) in BROKEN.items()} | {of: layout(name) for of, name in names.items()}
    sources["fails"] = layout("fails", entries="iter([{}['x']])")
    sources["blind"] = layout("blind").replace("return any(", "return None.any(")
    sources["wrong"] = layout("wrong", entries='iter([Entry("wrong.x", "x")])')
    for name, source in sources.items():
        fake(folder, name, {"zoo.parts": f"any = {name}"}, source)
    (folder / "raises.py").write_text((folder / "raises.py").read_text() + PART)
    return folder


PART = """
from zoo.parts.blocks import DiTBlock

@zoo.part("block", "kept")
class Kept(DiTBlock):
    pass

@zoo.hookimpl
def zoo_parts():
    return [Kept]
"""


@pytest.fixture
def weights(site: Path, registry) -> str:
    """A weight file of zoo's, in the folder that commands run in."""
    path = site.parent / "small.safetensors"
    if not path.exists():
        recipe = small(registry)
        write_weights(path, random_weights(recipe, registry).tensors, recipe)
        (site.parent / "small.yaml").write_text(json.dumps({"backbone": recipe.backbone.resolved()}))
    return path.name


@pytest.fixture
def exported(site: Path, weights: str) -> Run:
    (site.parent / "out.safetensors").unlink(missing_ok=True)
    return zoo(site, "export", weights, "--to", "lab", "--out", "out.safetensors")


def told(done: Run) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("warning: ")]


def test_the_rest_works_and_each_is_told_in_a_line(site, exported):
    assert exported.returncode == 0
    assert "Traceback" not in exported.stderr
    lines = told(exported)
    for name, (_, reason) in BROKEN.items():
        (line,) = [each for each in lines if f"plug-in {name} 1.0 " in each]
        assert line.startswith(f"warning: plug-in {name} 1.0 failed to give its weight formats, which are missing: ")
        assert reason in line
    for line in AT_ODDS.values():
        assert f"warning: {line}" in lines
    assert len(lines) == len(BROKEN) + len(AT_ODDS)


def test_what_is_exported_is_recognised_and_comes_back_the_same(site, exported, weights):
    back = site.parent / "back.safetensors"
    done = zoo(site, "import", "out.safetensors", "--recipe", "small.yaml", "--out", back.name)
    assert done.returncode == 0, done.stderr
    assert "note: read as lab of well 1.0, by its keys" in done.stderr
    assert "warning: weight format 'blind' of blind 1.0 (blind.Fake) fails in recognises(): Attrib" in done.stderr
    assert f"wrote {back.name} (lab's only weights, " in done.stderr
    own, out, again = (load_file(site.parent / name) for name in (weights, "out.safetensors", back.name))
    assert out.keys() == {f"lab.{name}" for name in own}
    assert own.keys() == again.keys()
    assert all(again[name].equal(tensor) for name, tensor in own.items())
    back.unlink()


def test_all_are_listed(site):
    done = zoo(site, "plugins", "--json")
    assert (done.returncode, done.stderr) == (2, "")
    rows = {row["distribution"]: row for row in json.loads(done.stdout)}
    assert (rows["well"]["formats"], rows["well"]["state"]) == (["lab"], "ok")
    assert (rows["raises"]["parts"], rows["raises"]["formats"], rows["raises"]["state"]) == (
        ["block/kept"],
        [],
        "failed",
    )
    for name, line in AT_ODDS.items():
        assert (rows[name]["formats"], rows[name]["problems"]) == ([], [line])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("twin", AT_ODDS["one"]),
        (
            "labs",
            "there is no weight format 'labs'; did you mean 'lab'? (installed: mpditv2, mpdit, ppflow, sit, dit,"
            " fails, lab, wrong, diffusers, zoo)",
        ),
        (
            "fails",
            "weight format 'fails' of fails 1.0 (fails.Fake) fails in entries(): KeyError: 'x'; --debug shows wh",
        ),
        ("wrong", "weight format 'wrong' of wrong 1.0 (wrong.Fake) is wrong: wrong.x is to be x, and the backbone has"),
    ],
    ids=lambda each: each.split()[0],
)
def test_who_asks_for_one_that_cannot_be_had_is_told_in_a_line(name, said, site, weights):
    done = zoo(site, "export", weights, "--to", name, "--out", "no.pt", plugins="well,one,other,fails,wrong")
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {said}")
    assert not (site.parent / "no.pt").exists()


def test_keys_that_two_recognise_are_neithers(tmp_path, registry, weights, site):
    own = fake(tmp_path / "site", "one", {"zoo.parts": "any = one"}, layout("net"))
    fake(own, "other", {"zoo.parts": "any = other"}, layout("nets").replace('"nets."', '"net."'))
    save_file({f"net.{name}": tensor for name, tensor in load_file(site.parent / weights).items()}, tmp_path / "x.st")
    done = zoo(own, "import", "x.st", "--out", "y.safetensors")
    assert (done.returncode, done.stderr) == (3, "error: x.st: its keys are net and nets's; say whose by --format\n")


def test_a_package_of_parts_alone_has_no_formats(tmp_path):
    own = fake(tmp_path / "site", "well", {"zoo.parts": "any = well"}, block("well"))
    (row,) = json.loads(zoo(own, "plugins", "--json").stdout)
    assert (row["parts"], row["formats"], row["state"]) == (["block/well"], [], "ok")
