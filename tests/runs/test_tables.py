"""Tables of parts that no file of weights holds: made anew where weights are loaded, as a build makes them."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import zoo
from tests.train.small import ALONE
from tests.train.small import small as digits
from tests.weights.small import SIZE, random_weights, small
from zoo.assembly import build
from zoo.parts.blocks import DiTBlock
from zoo.plugins import Plugin
from zoo.registry import Registry, part
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import load
from zoo.train.run import Run, Silent
from zoo.weights import write_weights


@part("block", "tabled")
class TabledBlock(DiTBlock):
    """A block with a table that no state dict holds."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.register_buffer("table", torch.empty(dim), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.table.fill_(2.0)

    def forward_stage(self, tokens, vectors, layout, *taken):
        assert torch.equal(self.table, torch.full_like(self.table, 2.0)), "the table is garbage"
        return super().forward_stage(tokens, vectors, layout)


class Threes(nn.Module):
    """A table of a module inside of a part, which its file holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("values", torch.empty(2))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.values.fill_(3.0)


@part("block", "derived")
class DerivedBlock(DiTBlock):
    """A block with a table that is made of another module's, a complex one, and one that float32 does not hold."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.threes = Threes()
        self.register_buffer("sixes", torch.empty(2), persistent=False)
        self.register_buffer("turns", torch.empty(2, dtype=torch.complex64))
        self.register_buffer("fine", torch.empty(2, dtype=torch.float64))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.sixes.copy_(2 * self.threes.values)
        self.turns.fill_(1j)
        self.fine.fill_(1 + 2**-40)


def tabled():
    registry = Registry()
    blocks = zoo.hookimpl(lambda: [TabledBlock, DerivedBlock])
    registry.register(SimpleNamespace(zoo_parts=blocks), Plugin("tests", "1"))
    return registry


@pytest.fixture
def garbage(monkeypatch):
    """Memory that nobody has written to holds NaN."""
    to_empty = nn.Module.to_empty

    def filled(self, **options):
        with torch.no_grad():
            return to_empty(self, **options)._apply(lambda tensor: tensor.fill_(float("nan")))

    monkeypatch.setattr(nn.Module, "to_empty", filled)


@pytest.mark.usefixtures("garbage")
def test_tables_that_no_file_holds_are_made(tmp_path):
    registry = tabled()
    weights = random_weights(small(registry, block="tabled"), registry)
    write_weights(tmp_path / "w.safetensors", weights.tensors, weights.recipe)
    backbone = load(tmp_path / "w.safetensors", registry=registry)
    assert all(torch.equal(block.table, torch.full((SIZE["dim"],), 2.0)) for block in backbone.blocks)


@pytest.mark.usefixtures("garbage")
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float64])
def test_tables_are_those_of_a_build(tmp_path, dtype):
    """Each in the dtype that its part chose, but for what is in that of the weights."""
    registry = tabled()
    recipe = small(registry, block="derived")
    write_weights(tmp_path / "w.safetensors", build(recipe).state_dict(), recipe)
    loaded = load(tmp_path / "w.safetensors", registry=registry, dtype=dtype).blocks[0]
    for block in (loaded, build(recipe, dtype=dtype).blocks[0]):
        assert block.mlp.fc1.weight.dtype == block.sixes.dtype == (dtype or torch.float32)
        assert block.sixes.tolist() == [6.0, 6.0]
        assert block.turns.tolist() == [1j, 1j]
        assert block.fine.tolist() == [1 + 2**-40] * 2


@pytest.mark.usefixtures("garbage")
def test_tables_that_no_checkpoint_holds_are_made_for_the_pictures_of_a_run(tmp_path):
    registry, folder = tabled(), RunFolder(tmp_path / "run")
    recipe = digits("backbone.block=tabled", "train.steps=1", registry=registry)
    Run(recipe, folder, registry, ALONE, Silent()).train()
    assert (folder.samples / "step_00000001.png").exists()
