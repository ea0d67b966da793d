"""What becomes of a block that cannot be compiled."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoo.compiling import compile_blocks
from zoo.errors import ZooError

pytestmark = pytest.mark.slow  # torch.compile takes seconds, whatever it compiles


class Breaks(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return tokens + 1


def test_a_block_that_breaks_is_named() -> None:
    block = Breaks()
    compile_blocks([block], "eager")
    with pytest.raises(ZooError, match=r"^block Breaks cannot be compiled whole: .*; mend it, or set train.compile to"):
        block(torch.zeros(1))


def test_a_block_is_compiled_once() -> None:
    block = nn.Linear(2, 2)
    compile_blocks([block], "eager")
    before = block.forward
    compile_blocks([block], "aot_eager", "sample.compile")
    assert block.forward is before


def test_the_option_that_asked_for_it_is_named() -> None:
    block = Breaks()
    compile_blocks([block], "eager", "sample.compile")
    with pytest.raises(ZooError, match=r"or set sample\.compile to false"):
        block(torch.zeros(1))
