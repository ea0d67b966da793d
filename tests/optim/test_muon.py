"""Muon: which weights it moves, how far, and that PyTorch does it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.optim import Weight
from zoo.optim.muon import Muon
from zoo.optim.sharded_muon import ShardedMuon


def parameter(*shape: int) -> nn.Parameter:
    drawn = torch.Generator().manual_seed(len(shape) + sum(shape))
    made = nn.Parameter(torch.randn(*shape, generator=drawn))
    made.grad = torch.randn(*shape, generator=drawn)
    return made


def weights() -> list[Weight]:
    return [
        Weight("blocks.0.qkv.weight", parameter(12, 4), "matrix", True),
        Weight("blocks.0.qkv.bias", parameter(12), "bias", True),
        Weight("blocks.0.conv.weight", parameter(4, 1, 3, 3), "matrix", True),
        Weight("blocks.0.table", parameter(6, 4), "table", True),
        Weight("head.weight", parameter(8, 4), "matrix", False),
        Weight("embedding.weight", parameter(5, 4), "embedding", False),
    ]


def test_it_moves_matrices_of_blocks_and_adamw_all_else() -> None:
    given = weights()
    muon, rest = Muon(rest=0.5, weight_decay=0.125, decays="matrices").build(given, 0.25)
    assert isinstance(muon, torch.optim.Muon)
    assert isinstance(rest, torch.optim.AdamW)
    (group,) = muon.param_groups
    assert [id(each) for each in group["params"]] == [id(given[0].parameter)]
    assert (group["lr"], group["weight_decay"]) == (0.25, 0.125)
    falling, staying = rest.param_groups
    assert [id(each) for each in falling["params"]] == [id(given[index].parameter) for index in (2, 4)]
    assert [id(each) for each in staying["params"]] == [id(given[index].parameter) for index in (1, 3, 5)]
    assert (falling["lr"], falling["weight_decay"], staying["weight_decay"]) == (0.125, 0.125, 0.0)


def test_there_is_no_empty_optimizer() -> None:
    (muon,) = Muon().build(weights()[:1], 0.25)
    (rest,) = Muon().build(weights()[1:], 0.25)
    assert (type(muon), type(rest)) == (torch.optim.Muon, torch.optim.AdamW)


@pytest.mark.parametrize(("scale", "size"), [("adamw", 0.2 * 12**0.5), ("original", 3**0.5)])
def test_all_singular_values_of_an_update_are_about_as_large(scale: str, size: float) -> None:
    (weight, *_) = weights()
    before = weight.parameter.detach().clone()
    (muon,) = Muon(scale=scale).build([weight], 0.5)  # type: ignore[arg-type]
    muon.step()
    values = torch.linalg.svdvals((before - weight.parameter.detach()) / 0.5 / size)
    assert values.min() > 0.5
    assert values.max() < 1.5


def test_matrix_by_matrix_it_is_what_pytorch_does() -> None:
    """As for shards, which the law of the kit compares; in bfloat16, as PyTorch's, but what is added is the same."""
    one, other = parameter(12, 4), parameter(12, 4)
    options = {"lr": 0.25, "momentum": 0.75, "weight_decay": 0.5, "adjust_lr_fn": "match_rms_adamw"}
    pytorchs, ours = torch.optim.Muon([one], **options), ShardedMuon([other], **options)
    for step in range(4):
        for each in (one, other):
            each.grad = torch.randn(12, 4, generator=torch.Generator().manual_seed(step))
        pytorchs.step()
        ours.step()
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(pytorchs.state[one]["momentum_buffer"], ours.state[other]["momentum_buffer"])
