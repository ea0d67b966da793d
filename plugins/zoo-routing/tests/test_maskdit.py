"""MaskDiT's losses patch by patch, its labels, and its bridge in plain PyTorch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from zoo.flow import LinearPath, LossInputs
from zoo.parts import Group, Layout, Tap
from zoo_routing.maskdit import BridgeBlock, KeptSquaredError, MaskedReconstruction, ZeroNull

BATCH, CHANNELS, GRID, PATCH = 3, 2, (3, 4), 2


def inputs(index: torch.Tensor | None) -> LossInputs:
    torch.manual_seed(0)
    shape = (BATCH, CHANNELS, GRID[0] * PATCH, GRID[1] * PATCH)
    data, noise, prediction = (torch.randn(shape).double() for _ in range(3))
    t = torch.tensor([0.2, 0.5, 0.9]).double()
    mixture = LinearPath().along(t, data)
    count = 12 if index is None else index.shape[1]
    return LossInputs(
        stage=0,
        data=data,
        noise=noise,
        t=t,
        z=mixture.state(data, noise),
        prediction=prediction,
        space="velocity",
        mixture=mixture,
        taps={1: Tap(torch.randn(BATCH, count, 6), 0, GRID, index)},
    )


@pytest.fixture
def index() -> torch.Tensor:
    return torch.stack([torch.randperm(12)[:5].sort().values for _ in range(BATCH)])


def patch(values: torch.Tensor, place: int) -> torch.Tensor:
    row, column = divmod(place, GRID[1])
    return values[:, PATCH * row : PATCH * (row + 1), PATCH * column : PATCH * (column + 1)]


def test_denoising_is_of_the_patches_that_are_there(index):
    given, loss = inputs(index), KeptSquaredError(tap=1)
    found = loss(given)
    for row in range(BATCH):
        errors = [
            (patch(given.prediction[row], place) - patch(given.noise[row] - given.data[row], place)).square().mean()
            for place in index[row].tolist()
        ]
        torch.testing.assert_close(found[row], torch.stack(errors).mean())
    whole = inputs(None)
    expected = (whole.prediction - whole.noise + whole.data).square().flatten(1).mean(1)
    torch.testing.assert_close(loss(whole), expected)


def test_reconstruction_is_of_the_others_from_the_noisy_patches(index):
    given, loss = inputs(index), MaskedReconstruction(tap=1)
    assert not loss.weighted
    found = loss(given)
    for row in range(BATCH):
        errors = []
        for place in set(range(12)) - set(index[row].tolist()):
            noisy = patch(given.z[row], place)
            target = (noisy - noisy.mean()) / (noisy.var(unbiased=True) + 1e-6).sqrt()
            predicted = patch(given.z[row] - given.t[row] * given.prediction[row], place)
            errors.append((predicted - target).square().mean())
        torch.testing.assert_close(found[row], torch.stack(errors).mean())
    assert torch.equal(loss(inputs(None)), torch.zeros(BATCH).double())


def test_no_condition_is_the_zero_vector_and_learns_nothing():
    conditioner = ZeroNull(4, 3)
    assert [each.shape for each in conditioner.parameters()] == [(3, 4)]
    vectors = conditioner(torch.tensor([0, 3, 2])).vector
    assert torch.equal(vectors[1], torch.zeros(4))
    assert torch.equal(vectors[0], conditioner.embedding.weight[0])
    vectors.sum().backward()
    assert torch.equal(conditioner.embedding.weight.grad, torch.tensor([1.0, 0.0, 1.0])[:, None].expand(3, 4))


def test_the_bridge_is_a_block_and_a_modulated_norm():
    torch.manual_seed(0)
    block = BridgeBlock(8, 2)
    assert block.modulation_vectors == 8
    tokens, vectors = torch.randn(2, 5, 8), torch.randn(8, 2, 8).unbind()
    layout = Layout(m=1, grid=(2, 2), patch=(1, 1))
    norm = lambda x: F.layer_norm(x, (8,), eps=1e-6)  # noqa: E731
    b1, s1, g1, b2, s2, g2, b3, s3 = (each[:, None] for each in vectors)
    x = tokens + g1 * block.attention([norm(tokens) * (1 + s1) + b1], [layout])[0]
    x = x + g2 * block.mlp(norm(x) * (1 + s2) + b2, layout)
    (found,) = block([Group(tokens, vectors, layout)])
    torch.testing.assert_close(found, norm(x) * (1 + s3) + b3)
