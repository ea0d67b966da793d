"""Parts of PyTorch's own modules and optimizers: no law refuses them for what PyTorch does inside, or it says why."""

import pytest
import torch
from torch import nn

from zoo.optim import Optimizer
from zoo.parts import MLP, Attention, Block, to_map, to_tokens
from zoo.registry import part
from zoo.testing import check_part


@part("attention", "mha")
class MultiheadAttention(Attention):
    """PyTorch's own, whose fused way in eval mode no counter of PyTorch's looks into."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(dim, heads, batch_first=True)

    def forward_stage(self, tokens, layout):
        return self.inner(tokens, tokens, tokens, need_weights=False)[0]


@part("block", "encoder_layer")
class EncoderLayer(Block):
    modulation_vectors = 1

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.inner = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)

    def forward_stage(self, tokens, vectors, layout, *taken):
        return self.inner(tokens + vectors[0].unsqueeze(1))


@pytest.mark.parametrize("cls", [MultiheadAttention, EncoderLayer])
def test_what_pytorch_fuses_in_eval_mode_is_counted_as_in_training(cls):
    check_part(cls, laws=["is_counted"])
    assert torch.backends.mha.get_fastpath_enabled()


@part("mlp", "group_norm")
class GroupNormOfAMap(MLP):
    """Whose forward derivative PyTorch takes by a view of the map's memory, which lies as the tokens do."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, dim)

    def forward(self, tokens, layout):
        image = to_tokens(self.norm(to_map(tokens[:, layout.m :], layout.grid)))
        return torch.cat([tokens[:, : layout.m], image], dim=1)


def test_what_pytorch_cannot_view_comes_with_advice_about_memory():
    with pytest.raises(AssertionError, match=r"view size is not compatible") as caught:
        check_part(GroupNormOfAMap, laws=["has_forward_derivatives"])
    assert "advice: Give it a copy of what lies otherwise in memory: to_map(...).contiguous()" in str(caught.value)


@part("optimizer", "muon_and_adamw")
class MuonAndAdamW(Optimizer):
    """Whose bfloat16 rounds otherwise where the rows of a matrix are on two ranks."""

    def build(self, weights, learning_rate):
        matrices = [each.parameter for each in weights if each.role == "matrix" and each.parameter.ndim == 2]
        others = [each.parameter for each in weights if all(each.parameter is not one for one in matrices)]
        return [torch.optim.Muon(matrices, lr=learning_rate), torch.optim.AdamW(others, lr=learning_rate)]


def test_an_optimizer_may_round_on_the_way():
    check_part(MuonAndAdamW, laws=["updates_shards_as_one"])
