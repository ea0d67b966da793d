"""What becomes of a block that cannot be compiled, and what blocks keep for the backward pass."""

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


def kept_and_gradient(share: float) -> tuple[int, Tensor]:
    """Bytes that a block keeps for the backward pass, its weights among them, and the gradient of its input."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 32), nn.GELU(), nn.LayerNorm(32))
    compile_blocks([block], "aot_eager_decomp_partition", kept=share)
    given = torch.randn(64, 32, requires_grad=True)
    sizes = dict[int, int]()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = block(given)
    found.square().mean().backward()
    assert given.grad is not None
    return sum(sizes.values()), given.grad


def test_a_share_of_the_activations_is_kept_and_the_rest_computed_anew() -> None:
    whole, gradient = kept_and_gradient(1.0)
    half, same = kept_and_gradient(0.5)
    assert half < 0.8 * whole
    assert torch.allclose(same, gradient, rtol=1e-5, atol=1e-9)
    assert kept_and_gradient(1.0)[0] == whole  # the share is of those blocks alone
