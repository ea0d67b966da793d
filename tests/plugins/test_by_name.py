"""Entry points that name parts one by one: imported when the part is asked for, and not before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plugins.site import block, fake, zoo

WELL = "block/swin = named.well:Fake"
IMPORTED = "import sys; print('imported', file=sys.stderr); raise ImportError('no luck')"


def named(folder: Path, *points: str, **modules: str) -> Path:
    """Install a package ``named`` with these entry points and modules; ``well`` has a block ``swin``."""
    site = fake(folder / "site", "named", {"zoo.parts": "\n".join(points)})
    (site / "named").mkdir()
    for name, source in {"well": block("swin"), **modules}.items():
        lines = source.splitlines()
        (site / "named" / f"{name}.py").write_text("\n".join(line.removeprefix(" " * 8) for line in lines))
    return site


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A block that is well, and a head that fails to be imported."""
    points = (WELL, "head/broken = named.broken:Head")
    return named(tmp_path_factory.mktemp("two"), *points, broken=IMPORTED)


def build(site: Path, *overrides: str, plugins: str = ""):
    words = [word for each in overrides for word in ("--set", f"backbone.{each}")]
    return zoo(site, "build", "--recipe", "dit_b", *words, "--json", plugins=plugins)


def test_a_part_is_had_and_the_module_of_another_is_not_imported(two):
    done = build(two, "block=swin")
    assert (done.returncode, done.stderr) == (0, "")
    (own,) = [part for part in json.loads(done.stdout)["parts"] if part["kind"] == "block"]
    assert (own["type"], own["plugin"]) == ("swin", "named")


def test_a_misspelt_name_is_mended_from_names_without_an_import(two):
    done = build(two, "head=brken")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "there is no head 'brken'; did you mean 'broken'? (installed: broken, conv, linear)" in line


FAILED = "head 'broken' comes from named 1.0, which failed to load: ImportError: no luck (it printed 'imported')"


def test_a_part_that_fails_is_told_where_it_is_asked_for(two):
    done = build(two, "head=broken")
    assert done.returncode == 2
    assert done.stderr == f"error: --set backbone.head=broken: backbone.head.type: {FAILED}\n"


@pytest.mark.parametrize("command", ["parts", "schema"])
def test_or_where_all_are_listed(two, command):
    done = zoo(two, command)
    assert done.returncode == 0
    assert "swin" in done.stdout
    assert done.stderr.splitlines()[0] == f"warning: {FAILED}"
    assert zoo(two, "parts", "--kind", "block").stderr == ""


def test_one_that_is_left_out_is_told_with_its_package(two):
    done = build(two, "block=swin", plugins="none")
    assert done.stderr.endswith("block 'swin' comes from named 1.0, which ZOO_PLUGINS=none leaves out\n")


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ("blok/swin = named.well:Fake", "entry point 'blok/swin': there is no kind 'blok'; did you mean 'block'?"),
        ("block/a/b = named.well:Fake", "entry point 'block/a/b': a part's name is a lower-case identifier"),
        ("block/other = named.well:Fake", "names named.well:Fake, which is marked as block 'swin'; let both say the"),
        ("swin = named.well:Fake", "entry point 'swin' names the class of block 'swin'; call it 'block/swin'"),
        ("block/swin = named.well", "entry point 'block/swin' names named.well, no class; let it be 'module:Class'"),
        ("block/swin = named.well:Absent", "AttributeError: module 'named.well' has no attribute 'Absent'"),
        ("block/dit_block = zoo.parts.blocks:Attention", "Attention is not marked; put @zoo.part(kind, name) above"),
    ],
)
def test_an_entry_point_that_is_wrong_is_told_in_a_line(tmp_path, point, reason):
    done = zoo(named(tmp_path, point), "plugins")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert reason in line


def test_a_part_named_twice_in_one_package(tmp_path):
    done = zoo(named(tmp_path, WELL, "all = named.well"), "parts")
    assert done.stderr == (
        "warning: block 'swin' is named twice, by named 1.0 (named.well.Fake) and named 1.0 (named.well.Fake), and is"
        " neither; name each once\n"
    )


def test_a_class_given_in_python_is_the_named_part_itself(tmp_path, monkeypatch):
    from zoo.registry import Registry

    site = named(tmp_path, "block/swin = named_well:Fake")
    (site / "named" / "well.py").rename(site / "named_well.py")
    monkeypatch.syspath_prepend(site)
    import named_well

    registry = Registry.installed()
    assert registry.with_parts([named_well.Fake]).get("block", "swin").plugin.name == "named"
    assert registry.entry_of(named_well.Fake).plugin.version == "1.0"


def test_what_fails_in_a_copy_of_a_registry_is_set_down_there_alone(two, monkeypatch):
    from zoo.errors import PluginError
    from zoo.registry import Registry

    monkeypatch.syspath_prepend(two)
    registry = Registry.installed()
    before = list(registry.problems)
    more = registry.with_parts([])
    with pytest.raises(PluginError, match="no luck"):
        more.get("head", "broken")
    assert len(more.problems) == len(before) + 1
    assert registry.problems == before
