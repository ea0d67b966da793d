"""The parts that ``zoo new-plugin`` copies: one of every kind, from what is for authors alone."""

import ast
import subprocess
import sys
from importlib import import_module

import pytest
import torch

import zoo
from zoo.flow import LossInputs
from zoo.kinds import KINDS
from zoo.paths import LinearPath
from zoo.scaffold import Names
from zoo.scaffold.names import built_in
from zoo.scaffold.package import source_of, summary_of
from zoo.testing import check_part

FOR_AUTHORS = {"zoo", "zoo.parts", "zoo.flow", "zoo.data", "zoo.optim", "zoo.callbacks", "zoo.evaluate"}
NAMES = Names("zoo-mine", "zoo_mine", "mine")


def part_of(kind: str) -> type:
    return getattr(import_module(f"zoo.scaffold.parts.{kind}"), NAMES.class_of(kind))


def test_every_kind_has_one_that_registers_with_an_option():
    registry = zoo.Registry().with_parts([part_of(kind) for kind in KINDS])
    for kind in KINDS:
        entry = registry.get(kind, "mine")
        assert len(entry.signature.options.model_fields) > 0, f"{kind} shows no option"
        assert entry.summary.endswith("."), f"what zoo parts prints of {kind} is cut off"
        assert entry.is_example, f"an author's {kind} would be told to be of the example's paper"


@pytest.mark.parametrize("kind", KINDS)
def test_it_needs_nothing_but_what_is_for_authors(kind):
    nodes = list(ast.walk(ast.parse(source_of(kind, NAMES))))
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    named |= {each.name for node in nodes if isinstance(node, ast.Import) for each in node.names}
    assert {module for module in named if module.startswith("zoo")} <= FOR_AUTHORS


@pytest.mark.parametrize("kind", KINDS)
def test_its_copy_has_other_names_alone(kind):
    source, other = source_of(kind, NAMES), source_of(kind, Names("x", "x", "wide_band"))
    assert other.replace("wide_band", "mine").replace("WideBand", "Mine") == source
    assert f'@zoo.part("{kind}", "wide_band")\nclass WideBand' in other
    assert summary_of(source)


def test_names_of_zoos_own_parts_are_known_without_them(registry):
    assert built_in() == {(entry.kind, entry.name) for entry in registry.entries()}


def test_its_loss_is_no_larger_of_larger_latents():
    """Or it swamps the built-in ones beside it, which are means."""
    data, t = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0.2, 0.7])
    small, large = (
        LossInputs(0, each, each, t, each, 2 * each, "velocity", LinearPath().along(t, each))
        for each in (data, data.repeat(1, 1, 4, 4))
    )
    loss = part_of("loss")()
    assert torch.allclose(loss(small), loss(large))


def test_its_callback_tells_the_same_of_a_run_that_goes_on():
    check_part(part_of("callback"), laws=["goes_on_as_if_never_stopped"], options={"every": 3})


def test_torch_is_not_imported():
    code = (
        "import sys, zoo.scaffold as s; s.files_of(s.Names.of('zoo-new'), ['block']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
