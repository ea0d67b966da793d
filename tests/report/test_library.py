"""``zoo.cost``, ``zoo.compare`` and ``zoo.diagram``: the results of commands, as values that show themselves."""

import errno
import os
import re
import xml.etree.ElementTree as ET
from html import unescape

import pytest
from torch.optim.swa_utils import AveragedModel

import zoo
from tests.train.small import small, train
from zoo.assembly import build
from zoo.audit import audit
from zoo.cli.comparison import to_json
from zoo.errors import RecipeError, ZooError


def text_of(html: str) -> list[str]:
    return [line.rstrip() for line in unescape(re.sub(r"<[^>]*>", "", html)).rstrip().split("\n")]


def test_a_cost_is_the_audit(registry):
    recipe = small(registry=registry)
    backbone = build(recipe)
    report = audit(recipe)
    for given in (recipe, backbone, AveragedModel(backbone), recipe.resolved()):
        cost = zoo.cost(given, registry=registry)
        assert (cost.macs, cost.params, cost.stages) == (report.macs, report.params, report.stages)
        assert cost.to_dict() == report.to_dict()
    assert zoo.cost(recipe.resolved(), {"backbone.dim": 32}, registry=registry).macs > report.macs


def test_a_cost_shows_its_tables(registry):
    cost = zoo.cost(small(registry=registry))
    lines = str(cost).splitlines()
    assert lines[0] == "small: latent 1 x 8 x 8, 10 classes, width 16, 2 blocks, 2 heads"
    assert f"multiply-adds     {cost.macs / 1e6:.3f} M = {cost.macs:,}, mean over uniform noise levels" in lines
    assert repr(cost) == str(cost)
    assert text_of(cost._repr_html_()) == lines


def test_assemblies_side_by_side(registry, tmp_path):
    recipe = small(registry=registry)
    other = build(small("backbone.dim=32", "name=wide", registry=registry))
    run = train(tmp_path / "run", "evaluate.count=12").path
    both = zoo.compare([recipe, other, run], registry=registry, device="cpu")
    assert [entry.name for entry in both] == ["small", "wide"]
    assert (len(both), both[0].cost.macs) == (2, zoo.cost(recipe).macs)
    assert [len(entry.outcomes) for entry in both[:]] == [1, 0]
    text = str(both)
    assert "What runs came to" in text
    assert text_of(both._repr_html_()) == text.splitlines()
    assert len(to_json(both)) == 2


def test_what_cannot_be_compared(registry):
    with pytest.raises(
        ValueError, match=r"give a list of assemblies, such as \['dit_b', 'mpdit_b'\], not 'dit_b' alone"
    ):
        zoo.compare("dit_b", registry=registry)
    recipe = small(registry=registry)
    for given, shown in {"Recipe": recipe, "Backbone": build(recipe), "dict": recipe.resolved(), "int": 3}.items():
        with pytest.raises(ValueError, match=rf"give a list of assemblies, .*, not an? {given} alone"):
            zoo.compare(shown, registry=registry)
    with pytest.raises(ValueError, match="give assemblies to compare"):
        zoo.compare([], registry=registry)


@pytest.mark.parametrize("given", [3, None, ["dit_b"]])
def test_what_is_no_assembly(registry, given):
    with pytest.raises(RecipeError, match="a recipe is a name, a path or a mapping with `backbone`, not "):
        zoo.cost(given, registry=registry)


def test_a_diagram_is_a_picture(registry, tmp_path):
    diagram = zoo.diagram(build(small(registry=registry), device="meta"))
    assert ET.fromstring(diagram._repr_svg_()).tag == "{http://www.w3.org/2000/svg}svg"
    diagram.save(tmp_path / "small.svg")
    assert (tmp_path / "small.svg").read_text() == diagram.svg
    assert repr(diagram) == "<diagram of small: a notebook shows it, .save('small.svg') writes it>"
    with pytest.raises(ZooError, match=r"small\.png: let the name end in \.svg"):
        diagram.save(tmp_path / "small.png")
    with pytest.raises(ZooError, match=r"gone/small\.svg: cannot be written: .*No such file or directory"):
        diagram.save(tmp_path / "gone" / "small.svg")


def test_a_diagram_is_written_whole_or_not_at_all(registry, tmp_path, monkeypatch):
    path = tmp_path / "small.svg"
    diagram = zoo.diagram(small(registry=registry))
    diagram.save(path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ZooError, match=r"small\.svg: cannot be written: .*No space left on device"):
        diagram.save(path)
    assert path.read_text() == diagram.svg
    assert list(tmp_path.iterdir()) == [path]
