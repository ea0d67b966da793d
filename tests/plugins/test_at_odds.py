"""Plug-ins at odds with each other, or with zoo: what both claim is neither's, and the rest works."""

from __future__ import annotations

import json
import re
from textwrap import dedent

import pytest

from tests.forked import run_zoo
from tests.plugins.site import block, fake, zoo
from zoo.plugins import zoo_version

CONTESTED = (
    "block 'swin' is claimed by one 1.0 (one.Fake) and other 1.0 (other.Fake), and is neither's; uninstall one, or say"
    " in ZOO_PLUGINS which to load"
)


@pytest.fixture(scope="module", params=["module", "by name", "both ways"])
def rivals(request, tmp_path_factory):
    """Two packages that claim a block ``swin``."""
    site = tmp_path_factory.mktemp("rivals") / "site"
    by_name = {"module": (), "by name": ("one", "other"), "both ways": ("other",)}[request.param]
    for name in ("one", "other"):
        point = f"block/swin = {name}:Fake" if name in by_name else f"any = {name}"
        fake(site, name, {"zoo.parts": point}, block("swin"))
    return site


@pytest.mark.parametrize("command", [["parts"], ["build", "--recipe", "dit_b"], ["schema"]], ids=lambda each: each[0])
def test_a_name_that_two_claim_is_neithers(rivals, command):
    done = zoo(rivals, *command)
    assert done.returncode == 0
    assert "swin" not in done.stdout
    assert done.stderr == f"warning: {CONTESTED}\n"


def test_who_asks_for_it_is_told(rivals):
    done = zoo(rivals, "build", "--recipe", "dit_b", "--set", "backbone.block=swin")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"backbone.block.type: {CONTESTED}")


def test_one_of_them_is_chosen(rivals):
    choice = ["build", "--recipe", "dit_b", "--set", "backbone.block=swin", "--json"]
    done = zoo(rivals, *choice, plugins="Other")
    assert (done.returncode, done.stderr) == (0, "")
    assert [part["plugin"] for part in json.loads(done.stdout)["parts"] if part["kind"] == "block"] == ["other"]


def test_the_list_shows_both(rivals):
    done = zoo(rivals, "plugins", "--json")
    assert (done.returncode, done.stderr) == (2, "")
    assert [(row["state"], row["problems"]) for row in json.loads(done.stdout)] == [("failed", [CONTESTED])] * 2


def test_a_builtin_name_stays_zoos(tmp_path):
    site = fake(tmp_path / "site", "usurper", {"zoo.parts": "block/dit = usurper:Fake"}, block("dit"))
    done = zoo(site, "parts", "--kind", "block", "--json")
    assert [(part["name"], part["plugin"]) for part in json.loads(done.stdout)] == [("dit", "zoo")]
    assert done.stderr == (
        "warning: block 'dit' is zoo's own and stays so, which usurper 1.0 (usurper.Fake) claims; give that one"
        " another name\n"
    )


def test_entry_points_of_one_name_are_listed_and_both_load(tmp_path):
    site = tmp_path / "site"
    for name in ("one", "other"):
        fake(site, name, {"zoo.parts": f"any = {name}"}, block(name))
    done = zoo(site, "plugins")
    assert (done.returncode, re.findall(r"block/(\w+) .* ok", done.stdout)) == (0, ["one", "other"])
    assert done.stderr == "one 1.0 and other 1.0 have an entry point 'any' in zoo.parts each; all are loaded\n"


RANGE = "needs diffusion-zoo<9,>=8, and {} is installed: pip install 'diffusion-zoo<9,>=8', or another version of early"


def test_a_package_for_another_zoo_is_left_out(tmp_path):
    site, why = tmp_path / "site", RANGE.format(zoo_version())
    points = {"zoo.parts": "block/swin = early:Fake", "zoo.cli": "greet = early:greet"}
    fake(site, "early", points, block("swin"), requires="diffusion_zoo [testing] >=8, <9")
    fake(site, "fits", {"zoo.parts": "block/fits = fits:Fake"}, block("fits"), requires="diffusion-zoo>=0.0.1")
    done = zoo(site, "build", "--recipe", "dit_b", "--set", "backbone.block=fits", "--json")
    assert (done.returncode, done.stderr) == (0, f"warning: plug-in early 1.0 is left out: it {why}\n")
    done = zoo(site, "build", "--recipe", "dit_b", "--set", "backbone.block=swin")
    assert done.stderr.splitlines()[1:] == [
        f"error: --set backbone.block=swin: backbone.block.type: block 'swin' comes from early 1.0, which {why}"
    ]
    early, fits = json.loads(zoo(site, "plugins", "--json").stdout)
    assert (early["state"], early["requires"], early["problems"]) == ("failed", "diffusion-zoo<9,>=8", [why])
    assert (fits["state"], fits["requires"], fits["problems"]) == ("ok", "diffusion-zoo>=0.0.1", [])


def test_two_ship_recipes_of_one_name(tmp_path):
    site = tmp_path / "site"
    for name in ("one", "other"):
        fake(site, name, {"zoo.recipes": f"any = {name}_recipes"})
        (site / f"{name}_recipes").mkdir()
        (site / f"{name}_recipes" / "swin.yaml").write_text("# Swin.\nextends: dit_b\n")
    done = zoo(site, "build", "--recipe", "swin")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "one_recipes" in line
    assert "other_recipes" in line


def test_a_command_that_two_have_is_neithers(tmp_path):
    site = tmp_path / "site"
    for name in ("one", "other"):
        fake(site, name, {"zoo.cli": f"greet = {name}:greet"}, f"def greet() -> None: print('{name}')")
    done = zoo(site, "--help")
    assert (done.returncode, "greet" in done.stdout) == (0, False)
    assert done.stderr == (
        "warning: command 'greet' is claimed by one 1.0 and other 1.0, and is neither's; uninstall one, or say in"
        " ZOO_PLUGINS which to load\n"
    )
    assert zoo(site, "greet", plugins="one").stdout == "one\n"


def test_two_spellings_of_one_name_are_one_package_the_first_on_the_path(tmp_path):
    for folder, name, part in (("newer", "my-pack", "newer"), ("older", "my_pack", "older")):
        fake(tmp_path / folder, name, {"zoo.parts": f"block/swin = {part}:Fake"})
        (tmp_path / folder / f"{part}.py").write_text(dedent(block("swin")))
    paths = [tmp_path / "newer", tmp_path / "older"]
    for path, first in ((paths, "my-pack"), (paths[::-1], "my_pack")):
        done = run_zoo("parts", "--kind", "block", "--json", folder=tmp_path, path=path)
        assert (done.returncode, done.stderr) == (0, "")
        assert {part["name"]: part["plugin"] for part in json.loads(done.stdout)} == {"dit": "zoo", "swin": first}
