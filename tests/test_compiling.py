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
