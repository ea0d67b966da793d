"""``zoo parts``: every part with its options, and a quiet end where the reader goes away."""

import json
from enum import Enum
from typing import Annotated, Literal

import pytest
from pydantic import Field

from tests.commands import zoo
from zoo.cli.parts import describe_options
from zoo.kinds import KINDS
from zoo.part_entries import PartEntry
from zoo.parts.heads import LinearHead
from zoo.plugins import Plugin, PluginProblem
from zoo.registry import Registry
from zoo.signature import read_signature


def parts(*arguments: str):
    return zoo("parts", *arguments)


@pytest.fixture(autouse=True)
def built_in_parts(monkeypatch):
    """The built-in parts alone, whatever else is installed."""
    registry = Registry()
    monkeypatch.setattr(Registry, "installed", lambda: registry)
    return registry


def test_lists_every_part_with_options_and_plug_in(registry):
    result = parts()
    assert (result.exit_code, result.stderr) == (0, "")
    for entry in registry.entries():
        assert f" {entry.name} " in result.stdout
    assert "modes: integer > 0 = 16" in result.stdout
    assert f"zoo {registry.entries()[0].plugin.version}" in result.stdout


def test_of_one_kind():
    result = parts("--kind", "time_embedder")
    assert "sinusoidal" in result.stdout
    assert "linear_mlp" not in result.stdout


def test_of_several_kinds_in_the_order_of_kinds():
    found = json.loads(parts("--kind", "mlp,norm", "--kind", "head", "--json").stdout)
    assert list(dict.fromkeys(each["kind"] for each in found)) == [
        kind for kind in KINDS if kind in {"mlp", "norm", "head"}
    ]


def test_of_the_hash_of_a_file_so_much_as_people_compare(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import zoo\nfrom zoo.parts.heads import LinearHead\n\n\n"
        '@zoo.part(\'head\', \'mine\')\nclass Mine(LinearHead):\n    """As linear."""\n'
    )
    given = ("--kind", "head", "--parts", str(file))
    (whole,) = [each["version"] for each in json.loads(parts(*given, "--json").stdout) if each["name"] == "mine"]
    (line,) = [line for line in parts(*given).stdout.splitlines() if " mine " in line]
    assert line.split()[-1] == whole[: len("sha256:") + 8] != whole


def test_as_json():
    found = json.loads(parts("--json").stdout)
    assert {each["kind"] for each in found} == set(KINDS)
    (fno,) = [each for each in found if each["name"] == "fno"]
    assert fno.keys() == {"kind", "name", "summary", "options", "parts", "plugin", "version", "part_version"}
    assert fno["options"]["properties"]["blocks"] == {
        "default": 3, "maximum": 64, "minimum": 1, "title": "Blocks", "type": "integer"
    }  # fmt: skip


def test_a_part_that_computes_something_else_by_now_shows_its_version(monkeypatch):
    assert "version" not in parts("--kind", "head").stdout
    monkeypatch.setattr(LinearHead, "version", 2, raising=False)
    assert "linear (version 2) " in parts("--kind", "head").stdout
    versions = {each["name"]: each["part_version"] for each in json.loads(parts("--kind", "head", "--json").stdout)}
    assert versions == {"conv": 1, "linear": 2}


@pytest.mark.parametrize(
    ("kind", "offer"),
    [("time_embeder", "; did you mean 'time_embedder'? (there are: "), ("qqq", " (there are: patch_")],
)
def test_an_unknown_kind(kind, offer):
    result = parts("--kind", kind)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: --kind: there is no kind '{kind}'{offer}")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("debug", [False, True])
def test_a_plug_in_that_failed_is_named_and_the_rest_is_listed(built_in_parts, debug):
    error = ImportError("no luck, here")
    problem = PluginProblem((Plugin("strangers", "1.2"),), "no luck", "strangers 1.2: no luck", "parts", error)
    built_in_parts.problems.append(problem)
    result = parts(*["--debug"] * debug)
    assert result.exit_code == 0
    assert "sinusoidal" in result.stdout
    assert "warning: strangers 1.2: no luck\n" in result.stderr
    assert ("ImportError: no luck, here" in result.stderr) is debug
    assert ("(zoo parts --debug shows the tracebacks)" in result.stderr) is not debug


class Way(Enum):
    THERE = "there"
    BACK = "back"


class Every:
    def __init__(
        self,
        *,
        flag: bool,
        kind: Literal["a", "b"] = "a",
        drawn: bool | Literal["once"] = True,
        way: Way = Way.BACK,
        ways: list[Way],
        rate: Annotated[float, Field(gt=0, le=1)] = 0.5,
        size: int | None = None,
        many: list[int] = [1],  # noqa: B006
        pair: tuple[int, Annotated[float, Field(ge=0)]] = (1, 0.5),
    ) -> None: ...


def test_options_are_described_with_type_bounds_and_default():
    entry = PartEntry("head", "every", Every, Plugin("strangers", "1.2"), read_signature(Every, ()))
    assert describe_options(entry) == [
        "flag: boolean, required",
        'kind: a | b = "a"',
        "drawn: boolean or once = true",
        'way: there | back = "back"',
        "ways: list of there | back, required",
        "rate: number > 0 and <= 1 = 0.5",
        "size: integer or null = null",
        "many: list of integer = [1]",
        "pair: [integer, number >= 0] = [1, 0.5]",
    ]


def test_options_that_hold_parts_are_described_by_kind_and_default(registry):
    assert describe_options(registry.get("block", "dit")) == [
        "shift: boolean = true",
        "attention: attention = softmax",
        "cross: attention = none",
        "mlp: mlp = gelu",
        "norm: norm = layer",
    ]
    (dit,) = json.loads(parts("--kind", "block", "--json").stdout)
    assert dit["parts"]["mlp"] == {"kind": "mlp", "default": "gelu", "required": False}
