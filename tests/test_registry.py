"""Parts by (kind, name): registration, refusals, and where parts come from."""

import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

import zoo
from zoo.errors import PluginError
from zoo.kinds import KINDS
from zoo.parts.base import Head, TimeEmbedder
from zoo.parts.blocks import DiTBlock
from zoo.plugins import Plugin, PluginProblem
from zoo.registry import Registry, part

STRANGER = Plugin("strangers", "1.2")


class Clock(TimeEmbedder):
    """Tells the time.

    And more.
    """

    def __init__(self, dim: int, *, size: int = 3) -> None:
        super().__init__()
        self.dim, self.size = dim, size

    def forward(self, t): ...


def plug_in(*classes: object) -> SimpleNamespace:
    """A module whose hook returns these classes."""
    return SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: classes))


def returning(value: object) -> SimpleNamespace:
    """A module whose hook returns anything."""
    return SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: value))


def marked(kind: str = "time_embedder", name: str = "clock", base: type = Clock, **attributes: object) -> type:
    own = {"__doc__": base.__doc__, "__module__": "strangers", **attributes}
    return part(kind, name)(type("Marked", (base,), own))


def test_every_kind_has_built_in_parts_that_come_through_the_hook(registry):
    assert {entry.kind for entry in registry.entries()} == set(KINDS)
    assert {entry.plugin.name for entry in registry.entries()} == {"zoo"}
    assert [entry.name for entry in registry.entries("time_embedder")] == ["fno", "fourier", "sinusoidal"]
    assert all(entry.summary for entry in registry.entries())


def test_a_plug_in_adds_parts():
    registry = Registry()
    registry.register(plug_in(marked()), STRANGER)
    entry = registry.get("time_embedder", "clock")
    assert (entry.plugin, entry.summary) == (STRANGER, "Tells the time.")
    built = entry.create(entry.signature.options(size=5), {"dim": 8, "never asked for": None})
    assert (built.dim, built.size) == (8, 5)


def test_a_part_has_a_version_of_its_own():
    registry = Registry()
    registry.register(plug_in(marked(version=3)), STRANGER)
    assert registry.get("time_embedder", "clock").version == 3
    assert registry.get("time_embedder", "fno").version == 1


def test_registries_share_nothing():
    Registry().register(plug_in(marked()), STRANGER)
    with pytest.raises(PluginError, match="there is no time_embedder 'clock'"):
        Registry().get("time_embedder", "clock")


def test_an_unknown_part_offers_the_nearest_name(registry):
    with pytest.raises(PluginError) as caught:
        registry.get("time_embedder", "sinsoidal")
    assert str(caught.value) == (
        "there is no time_embedder 'sinsoidal'; did you mean 'sinusoidal'? (installed: fno, fourier, sinusoidal)"
    )
    with pytest.raises(PluginError) as caught:
        registry.get("time_embedder", "qqq")
    assert str(caught.value) == (
        "there is no time_embedder 'qqq' (installed: fno, fourier, sinusoidal); install a package that has it, or"
        " give a file by --parts FILE, in Python by parts="
    )


def test_an_unknown_part_names_the_plug_ins_that_failed():
    registry = Registry()
    registry.problems.append(PluginProblem((STRANGER,), "ImportError: no luck", "", "parts"))
    with pytest.raises(
        PluginError, match=r"A plug-in that failed to load may hold it: strangers \(ImportError: no luck\)"
    ):
        registry.get("time_embedder", "qqq")


def test_two_plug_ins_that_claim_one_name_are_both_named():
    registry = Registry()
    registry.register(plug_in(marked()), STRANGER)
    with pytest.raises(PluginError) as caught:
        registry.register(plug_in(marked()), Plugin("others", "3"))
    assert str(caught.value) == (
        "two plug-ins claim time_embedder 'clock': strangers 1.2 (strangers.Marked) and others 3 (strangers.Marked);"
        " uninstall one of them, or rename its part"
    )


def test_a_built_in_name_is_taken_and_nothing_of_the_plug_in_is_registered():
    registry = Registry()
    with pytest.raises(PluginError, match=r"two plug-ins claim time_embedder 'fno': zoo .* and strangers 1\.2"):
        registry.register(plug_in(marked(), marked(name="fno")), STRANGER)
    with pytest.raises(PluginError, match="there is no time_embedder 'clock'"):
        registry.get("time_embedder", "clock")


@part("block", "counts")
class Counts(DiTBlock):
    def __init__(self, dim: int, heads: int, *, blocks: int = 3) -> None: ...


class Inherits(marked()):
    """Derives from a marked class, and is not marked itself."""


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (plug_in(Clock), r"strangers: .*Clock is not marked; put @zoo.part\(kind, name\) above the class"),
        (plug_in(Inherits), "Inherits is not marked"),
        (plug_in("clock"), "is not marked"),
        (plug_in(marked("head")), "Marked is marked as a head, but does not derive from Head; let it"),
        (plug_in(marked("head", base=Head)), "Marked leaves out what a head must have: forward"),
        (plug_in(marked(version=0)), "strangers.Marked has version = 0; let it be a whole number, 1 or more"),
        (plug_in(marked(version="1.1")), "strangers.Marked has version = '1.1'; let it"),
        (plug_in(marked(version=True)), "strangers.Marked has version = True; let it"),
        (plug_in(marked(version=property(len))), "strangers.Marked has version = <property"),
        (plug_in(Counts), "Counts has an option 'blocks', which stands beside the part in a recipe; call it otherwise"),
        (plug_in(), "plug-in strangers gives no part: mark its"),
        (SimpleNamespace(zoo_parts=lambda: [marked()]), r"gives no part: mark its zoo_parts\(\) with @zoo.hookimpl"),
        (SimpleNamespace(), "gives no part"),
        (
            returning(None),
            r"strangers: zoo_parts\(\) returns None; let it return a list of classes, such as \[MyBlock\]$",
        ),
        (returning(3), r"zoo_parts\(\) returns 3; let it"),
        (returning(Clock), r"zoo_parts\(\) returns Clock itself; let it"),
        (returning("clock"), r"zoo_parts\(\) returns 'clock'; let it"),
        (returning([[Clock]]), "is not marked; put"),
    ],
)
def test_refuses_plug_ins_that_break_the_rules(module, message):
    registry = Registry()
    before = registry.entries()
    with pytest.raises(PluginError, match=message):
        registry.register(module, STRANGER)
    assert registry.entries() == before


def test_refuses_a_hook_that_zoo_does_not_have():
    with pytest.raises(PluginError, match="plug-in strangers: unknown hook 'zoo_partz'"):
        Registry().register(SimpleNamespace(zoo_partz=zoo.hookimpl(lambda: [])), STRANGER)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("time_embeder", "clock", "there is no kind 'time_embeder'; did you mean 'time_embedder'?"),
        ("qqq", "clock", "there is no kind 'qqq'$"),
        ("head", "Clock", "head 'Clock': a part's name is a lower-case identifier, such as 'linear_mlp'"),
        ("head", "my-clock", "head 'my-clock': a part's name is a lower-case identifier"),
        ("head", "", "head '': a part's name is a lower-case identifier"),
    ],
)
def test_refuses_kinds_and_names_when_a_class_is_marked(kind, name, message):
    with pytest.raises(PluginError, match=message):
        part(kind, name)


def test_marking_leaves_the_class_as_it_is():
    own = type("Clock", (Clock,), {})
    assert part("time_embedder", "clock")(own) is own


def test_the_command_is_found_as_an_entry_point():
    found = metadata.distribution("diffusion-zoo").entry_points
    assert ("zoo", "zoo.cli:main") in [(each.name, each.value) for each in found]


def test_marking_a_part_and_importing_zoo_need_no_torch():
    code = "import sys, zoo; zoo.part('head', 'mine'); zoo.Registry; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
