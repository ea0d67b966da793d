"""AdamW: its options, its groups, and an update as its paper has it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.optim import Role, Weight
from zoo.optim.adamw import AdamW

ROLES: tuple[Role, ...] = ("matrix", "norm", "bias", "embedding", "table", "matrix")


def weights() -> list[Weight]:
    return [Weight(f"w{index}", nn.Parameter(torch.ones(2)), role, False) for index, role in enumerate(ROLES)]


def test_it_takes_its_options() -> None:
    given = weights()
    built = AdamW(betas=(0.5, 0.75), eps=1e-6, weight_decay=0.125).build(given, 0.25)
    (group,) = built.param_groups
    assert group["params"] == [each.parameter for each in given]
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (0.25, (0.5, 0.75), 1e-6, 0.125)
    assert group["fused"] is True


def test_matrices_alone_decay_where_asked() -> None:
    given = weights()
    falling, staying = AdamW(weight_decay=0.125, decays="matrices").build(given, 0.25).param_groups
    assert [id(each) for each in falling["params"]] == [id(given[index].parameter) for index in (0, 5)]
    assert [id(each) for each in staying["params"]] == [id(given[index].parameter) for index in (1, 2, 3, 4)]
    assert (falling["weight_decay"], staying["weight_decay"]) == (0.125, 0.0)


def test_there_is_no_empty_group() -> None:
    (group,) = AdamW(weight_decay=0.125, decays="matrices").build(weights()[1:3], 0.25).param_groups
    assert group["weight_decay"] == 0.0


def test_an_update_is_that_of_the_paper() -> None:
    """Decoupled weight decay, arXiv 1711.05101, algorithm 2."""
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = AdamW(betas=(0.5, 0.75), weight_decay=0.125).build([Weight("w", parameter, "bias", False)], 0.1)
    x, m, v = torch.tensor([1.0, -2.0], dtype=torch.float64), torch.zeros(2), torch.zeros(2)
    for step in range(1, 4):
        gradient = torch.tensor([0.5 * step, -1.0])
        parameter.grad = gradient.clone()
        optimizer.step()
        m = 0.5 * m + 0.5 * gradient.double()
        v = 0.75 * v + 0.25 * gradient.double() ** 2
        x = x - 0.1 * 0.125 * x - 0.1 * (m / (1 - 0.5**step)) / ((v / (1 - 0.75**step)).sqrt() + 1e-8)
        torch.testing.assert_close(parameter.detach().double(), x, rtol=1e-6, atol=1e-7)


def test_a_device_without_the_fused_form_does_without() -> None:
    parameter = nn.Parameter(torch.ones(2, device="meta"))
    (group,) = AdamW().build([Weight("w", parameter, "bias", False)], 0.1).param_groups
    assert group["fused"] is None


@pytest.mark.parametrize("decays", ["all", "matrices"])
def test_every_weight_is_in_one_group(decays: str) -> None:
    given = weights()
    groups = AdamW(decays=decays).build(given, 0.1).param_groups  # type: ignore[arg-type]
    assert sorted(id(each) for group in groups for each in group["params"]) == sorted(id(w.parameter) for w in given)
