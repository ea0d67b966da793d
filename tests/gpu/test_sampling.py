"""Latents that are drawn on a GPU are those of the CPU: each update's noise is on its way while others are computed."""

import pytest
import torch

import zoo
from zoo.testing.cases import randomise


@pytest.mark.parametrize("solver", ["euler", "euler_maruyama"])
def test_latents_are_the_cpus(solver):
    backbone = zoo.build(zoo.load_recipe("dit_s"))
    randomise(backbone, 0, std=0.05)
    given = {"labels": list(range(8)), "steps": 20, "solver": solver}
    expected = zoo.sample(backbone, **given)
    backbone.cuda()
    found = zoo.sample(backbone, **given)
    assert found.is_cuda
    assert (found.cpu() - expected).norm() < 1e-2 * expected.norm()
    assert torch.equal(found, zoo.sample(backbone, **given))
