"""Blocks that take the outputs of earlier ones."""

import pytest
import torch

import zoo
from tests.shapes import backbone_of, level, problems_of, run
from zoo.parts import Block

SUMS: dict[int, torch.Tensor] = {}


@zoo.part("block", "takes")
class Takes(Block):
    """Adds its number; each block from the third on takes the one ``back`` before, and the first."""

    modulation_vectors = 0

    def __init__(self, index: int, *, back: int = 2) -> None:
        super().__init__()
        self.index = index
        self.takes = (index - back, 0) if index >= 2 else ()

    def forward_stage(self, tokens, vectors, layout, *taken):
        SUMS[self.index] = tokens + self.index + sum((each * (place + 2) for place, each in enumerate(taken)), 0)
        return SUMS[self.index]


GIVEN = {"parts": [Takes], "block": "takes", "modulation": "in_context", "head": {"type": "linear", "modulated": False}}


def test_a_block_gets_the_outputs_that_it_takes_in_that_order():
    backbone = backbone_of([level(4, 5)], **GIVEN)
    run(backbone)
    for index in (2, 3, 4):
        expected = SUMS[index - 1] + index + 2 * SUMS[index - 2] + 3 * SUMS[0]
        assert torch.allclose(SUMS[index], expected, rtol=1e-12)


@pytest.mark.parametrize("back", [-1, 0, 3])
def test_a_block_takes_none_but_earlier_ones(back):
    (line,) = problems_of([level(4, 3)], parts=[Takes], block={"type": "takes", "back": back})
    taken = 2 - back
    assert line == f"backbone.block: block 2 takes the output of block {taken}, which is none before it"


@pytest.mark.parametrize(
    ("levels", "there", "here"),
    [
        ([level(4, 2), level(2, 1)], "4 and width 24", "2 and 24"),
        ([level(4, 2), level(4, 1, 48)], "4 and width 24", "4 and 48"),
    ],
)
def test_a_block_takes_none_of_another_patch_or_width(levels, there, here):
    (line,) = problems_of(levels, **GIVEN)
    assert line == (
        f"backbone.block: block 2 takes the output of block 0, which in stage 0 is at patch {there}, and its own are"
        f" {here}"
    )


def test_a_block_takes_none_from_outside_a_route():
    (line,) = problems_of([level(4, 4)], router={"type": "tread", "first": 2, "stop": 4}, **GIVEN)
    assert line == (
        "backbone.block: block 2 takes the output of block 0, and one of the two is of blocks 2 to 3, which a router"
        " sends some of the tokens through (and 2 more like this)"
    )
