"""The Python that README and manual show runs, and its parts keep their laws."""

import doctest
import re
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import zoo
from tests.plugins.site import fake
from tests.shown import WHOLE, block_with, blocks
from zoo import Registry, build, load_recipe
from zoo.testing import check_format, check_part
from zoo.testing.law import NotRun
from zoo.weights import write_initialised

EXAMPLES = (
    "class RepeatUpsampler", "from my_parts", "class SquaredReLU", "from my_mlp", "class Pyramid(", "class Colour(",
    "class Tracker", "class Lab(WeightFormat)", "class MyAttention", 'zoo.build("hybrid_b"', "fresh = zoo.build",
    "objective_of",
)  # fmt: skip
"""What the blocks of Python have, of each of which there is a test here."""


def test_every_block_of_code_has_a_test():
    assert [sum(text in block for text in EXAMPLES) for block in blocks("python")] == [1] * len(EXAMPLES)
    others = set(re.findall(r"^ *```(\w+)$", WHOLE, flags=re.MULTILINE))
    assert others == {"bash", "console", "pycon", "python", "text", "toml", "yaml"}
    assert [len(blocks(language)) for language in ("pycon", "toml")] == [1, 1]


def test_the_callback_keeps_the_laws_and_its_lines(tmp_path):
    names: dict[str, Any] = {"zoo": zoo}
    exec(block_with("python", "class Tracker"), names)
    check_part(names["Tracker"])
    training, tracker = SimpleNamespace(run="one", file=lambda name: tmp_path / name), names["Tracker"]()
    tracker.begin(training)
    tracker.log(training, {"step": 1})
    killed = (tmp_path / "one.jsonl").read_text()
    tracker.end(training, None)
    assert killed == '{"step": 1}\n'


def test_the_part_keeps_the_laws_and_builds(tmp_path, monkeypatch):
    (tmp_path / "my_parts.py").write_text(block_with("python", "class RepeatUpsampler"))
    monkeypatch.syspath_prepend(tmp_path)
    import my_parts

    try:
        tests: dict[str, Any] = {}
        exec(block_with("python", "from my_parts"), tests)
        (parameters,) = tests["test_laws"].pytestmark
        for check in parameters.args[1]:
            with suppress(NotRun):
                check.values[0].run("again")
        tests["test_more_backbones"]()
        of_file = {"registry": Registry(), "parts": my_parts.__file__, "device": "meta"}
        assert build("mpdit_b", {"backbone.upsampler": "repeat"}, **of_file).recipe.plugins()["my_parts.py"]
        packaging = tomllib.loads(block_with("toml", '[project.entry-points."zoo.parts"]'))["project"]
        points = "\n".join(f"{name} = {value}" for name, value in packaging["entry-points"]["zoo.parts"].items())
        requires = ",".join(packaging["dependencies"])
        monkeypatch.syspath_prepend(
            fake(tmp_path / "site", packaging["name"], {"zoo.parts": points}, requires=requires)
        )
        backbone = build("mpdit_b", ["backbone.upsampler=repeat"], device="meta")
        assert isinstance(backbone.upsamplers["4x4_to_2x2"], my_parts.RepeatUpsampler)
        given = build("mpdit_b", {"backbone.upsampler": "repeat"}, parts=[my_parts.RepeatUpsampler], device="meta")
        assert isinstance(given.upsamplers["4x4_to_2x2"], my_parts.RepeatUpsampler)
    finally:
        sys.modules.pop("my_parts")


def test_the_part_of_the_front_page_keeps_the_laws_and_is_in_a_backbone(tmp_path, monkeypatch):
    source = block_with("python", "class SquaredReLU")
    assert len([line for line in source.splitlines() if line]) <= 15
    (tmp_path / "my_mlp.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    tests: dict[str, Any] = {}
    try:
        exec(block_with("python", "from my_mlp"), tests)
        (parameters,) = tests["test_laws"].pytestmark
        for check in parameters.args[1]:
            with suppress(NotRun):
                check.values[0].run("again")
    finally:
        sys.modules.pop("my_mlp")


def test_the_shown_slots_are_parts_of_a_part():
    names: dict[str, Any] = {"__name__": "shown"}
    rest = "\n    def forward_stage(self, tokens, layout):\n        return tokens\n"
    exec(block_with("python", "class MyAttention").replace("        ...\n", rest), names)
    entry = Registry().with_parts([names["MyAttention"]]).get("attention", "mine")
    assert set(entry.signature.parts) == {"q_norm", "k_norm"}


def test_what_breaks_a_law_is_told_as_shown(tmp_path, monkeypatch):
    source = block_with("python", "class RepeatUpsampler")
    (tmp_path / "my_parts.py").write_text(source.replace("(h * p, w * q)", "grid"))
    monkeypatch.syspath_prepend(tmp_path)
    import my_parts

    try:
        with pytest.raises(AssertionError) as told:
            check_part(my_parts.RepeatUpsampler, laws=["returns_its_grid"])
        shown = block_with("text", "breaks the law").rstrip()
        assert re.sub(r"\d+", "N", str(told.value)) == re.sub(r"\d+", "N", shown)  # whatever sizes are drawn
    finally:
        sys.modules.pop("my_parts")


def test_the_shown_format_keeps_the_laws_from_a_file(tmp_path):
    (tmp_path / "my_formats.py").write_text(block_with("python", "class Lab(WeightFormat)"))
    entry = Registry().with_parts(tmp_path / "my_formats.py").get_format("lab")
    check_format(type(entry.format))


@pytest.mark.parametrize("name", ["Pyramid", "Colour"])
def test_the_shown_part_keeps_the_laws(name):
    names: dict[str, Any] = {"__name__": "shown"}
    exec(block_with("python", f"class {name}("), names)
    check_part(names[name], examples=1)


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(block_with("python", 'zoo.build("hybrid_b"'), names)
    assert names["velocity"].shape == names["latents"].shape
    assert names["again"].recipe == names["backbone"].recipe
    assert names["cost"].macs == names["both"][1].cost.macs


def test_the_python_example_of_weights_runs(tmp_path, monkeypatch, registry):
    monkeypatch.chdir(tmp_path)
    size = ["backbone.dim=24", "backbone.depth=1", "backbone.heads=2"]
    write_initialised(load_recipe("sit_xl", size, registry), Path("sit_xl.safetensors"), 0)
    names: dict[str, object] = {}
    exec(block_with("python", "fresh = zoo.build"), names)
    assert names["latents"].shape == (2, 4, 32, 32)


def test_the_shown_training_loop_learns():
    torch.manual_seed(0)
    batch = torch.randn(16, 1, 16, 16).clamp(-1, 1), torch.arange(16) % 10
    losses: list[float] = []

    def loader():
        for _ in range(12):
            yield batch
            losses.append(names["loss"].item())

    names: dict[str, object] = {"zoo": zoo, "torch": torch, "loader": loader()}
    exec(block_with("python", "objective_of"), names)
    assert max(losses[-3:]) < min(losses[:3])


def test_what_python_says_is_what_it_says():
    (shown,) = blocks("pycon")
    example = doctest.DocTestParser().get_doctest(shown, {"zoo": zoo}, "page", None, None)
    assert doctest.DocTestRunner().run(example).failed == 0
