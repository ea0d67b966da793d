"""``ZOO_PLUGINS``: which plug-ins load, and what is said of those that do not."""

from __future__ import annotations

import json

import pytest

from tests.plugins.site import block, fake, zoo

FAILS = "raise RuntimeError('imported')"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A package with a part, recipes and a command, whose name has signs that names may differ in; and one that fails.

    Each brings something in every group.
    """
    site = tmp_path_factory.mktemp("chosen") / "site"
    groups = {"zoo.parts": "any = {}", "zoo.recipes": "any = {}_recipes", "zoo.cli": "greet_{} = {}:zoo_parts"}
    for name, source in {"Zoo_Well": block("well"), "zoo_bad": FAILS}.items():
        fake(site, name, {group: line.replace("{}", name) for group, line in groups.items()}, source)
        (site / f"{name}_recipes").mkdir()
        (site / f"{name}_recipes" / f"of_{name.lower()}.yaml").write_text("# A recipe.\nextends: dit_b\n")
    return site


def states(site, plugins):
    done = zoo(site, "plugins", "--json", plugins=plugins)
    return done.returncode, {row["distribution"]: row["state"] for row in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("plugins", "code", "well", "bad"),
    [
        ("", 2, "ok", "failed"),
        ("none", 0, "disabled", "disabled"),
        ("zoo.well", 0, "ok", "disabled"),
        (" ZOO-BAD , ", 2, "disabled", "failed"),
        ("zoo-well,zoo-bad", 2, "ok", "failed"),
    ],
)
def test_those_that_are_named_load(site, plugins, code, well, bad):
    assert states(site, plugins) == (code, {"Zoo_Well": well, "zoo_bad": bad})


def test_nothing_of_the_others_is_there_and_nothing_is_said(site):
    for words, own in ((["parts"], "well"), (["recipes"], "of_zoo_well"), (["--help"], "greet_Zoo_Well")):
        done = zoo(site, *words, plugins="zoo-well")
        assert (done.returncode, done.stderr, own in done.stdout) == (0, "", True)
        assert "bad" not in done.stdout


def test_who_asks_for_a_part_or_a_recipe_is_told_where_it_may_be(site):
    done = zoo(site, "build", "--recipe", "dit_b", "--set", "backbone.block=well", plugins="zoo-bad")
    assert done.stderr.splitlines()[-1].endswith(". Zoo_Well may hold it, which ZOO_PLUGINS=zoo-bad leaves out")
    done = zoo(site, "build", "--recipe", "of_zoo_well", plugins="none")
    assert "Zoo_Well may hold it, which ZOO_PLUGINS=none leaves out" in done.stderr


@pytest.mark.parametrize("words", [["recipes"], ["plugins"], ["plugins", "--no-load"]])
def test_a_name_that_is_none_is_told(site, words):
    done = zoo(site, *words, plugins="zoo-wel,Zoo-Well")
    told = [line for line in done.stderr.splitlines() if "wel'" in line]
    assert told == ["warning: ZOO_PLUGINS: there is no plug-in 'zoo-wel' here; did you mean 'zoo-well'?"]


def test_what_is_installed_is_listed_though_it_does_not_load(site):
    (_, row) = json.loads(zoo(site, "plugins", "--json", plugins="none").stdout)
    assert row["parts"] == ["all of Zoo_Well"]
    assert row["requires"] is None
    assert row["commands"] == ["greet_Zoo_Well"]
