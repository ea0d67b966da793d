"""The loss against the same in numpy, token by token."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo.errors import DataError
from zoo.flow import LossInputs
from zoo.parts import Tap
from zoo_repa.loss import RepresentationAlignment

BATCH, FRONT, DIM, WIDTH = 3, 2, 6, 5


class Mixture:
    """Which the loss does not look at."""


def inputs(tap: Tap, features: Tensor) -> LossInputs:
    latents = torch.randn(BATCH, 1, 8, 8)
    return LossInputs(
        stage=0,
        data=latents,
        noise=latents,
        t=torch.rand(BATCH),
        z=latents,
        prediction=latents,
        space="velocity",
        mixture=Mixture(),
        taps={1: tap},
        extra={"features": features},
    )


def built() -> RepresentationAlignment:
    torch.manual_seed(0)
    return RepresentationAlignment((4, DIM, 4), depth=2, features=WIDTH, hidden=7)


def tap(grid: tuple[int, ...], index: Tensor | None = None) -> Tap:
    count = int(np.prod(grid)) if index is None else index.shape[1]
    return Tap(torch.randn(BATCH, FRONT + count, DIM), FRONT, grid, index)


def in_numpy(loss: RepresentationAlignment, given: Tap, targets: np.ndarray) -> np.ndarray:
    """One minus the mean cosine with targets [B, K, z]."""
    w = {name: each.detach().double().numpy() for name, each in loss.projector.state_dict().items()}
    found = []
    for tokens, wanted in zip(given.tokens.double().numpy(), targets, strict=True):
        cosines = []
        for token, feature in zip(tokens[FRONT:], wanted, strict=True):
            hidden = token
            for layer in (0, 2, 4):
                hidden = w[f"{layer}.weight"] @ hidden + w[f"{layer}.bias"]
                if layer < 4:
                    hidden = hidden / (1 + np.exp(-hidden))
            cosines.append(hidden @ feature / np.linalg.norm(hidden) / np.linalg.norm(feature))
        found.append(1 - np.mean(cosines))
    return np.array(found)


def close(found: Tensor, expected: np.ndarray) -> bool:
    return bool(np.allclose(found.detach().numpy(), expected, atol=1e-6))


def test_each_token_is_aligned_with_the_feature_of_its_place():
    loss, given, features = built(), tap((4, 6)), torch.randn(BATCH, WIDTH, 4, 6)
    targets = features.double().numpy().transpose(0, 2, 3, 1).reshape(BATCH, 24, WIDTH)
    found = loss(inputs(given, features))
    assert close(found, in_numpy(loss, given, targets))
    assert not close(found, in_numpy(loss, given, targets[:, ::-1]))


def test_a_coarser_token_is_aligned_with_the_mean_of_the_features_that_it_covers():
    loss, given, features = built(), tap((2, 3)), torch.randn(BATCH, WIDTH, 4, 6)
    array = features.double().numpy()
    targets = np.empty((BATCH, 6, WIDTH))
    for row in range(2):
        for column in range(3):
            block = array[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            targets[:, 3 * row + column] = block.reshape(BATCH, WIDTH, -1).mean(2)
    assert close(loss(inputs(given, features)), in_numpy(loss, given, targets))


def test_a_finer_token_is_aligned_with_the_feature_that_covers_it():
    loss, given, features = built(), tap((4, 4)), torch.randn(BATCH, WIDTH, 2, 2)
    targets = features.double().numpy().repeat(2, axis=2).repeat(2, axis=3)
    targets = targets.transpose(0, 2, 3, 1).reshape(BATCH, 16, WIDTH)
    assert close(loss(inputs(given, features)), in_numpy(loss, given, targets))


def test_tokens_that_a_router_leaves_are_aligned_with_their_own_features():
    index = torch.stack([torch.randperm(16)[:5].sort().values for _ in range(BATCH)])
    loss, given, features = built(), tap((4, 4), index), torch.randn(BATCH, WIDTH, 4, 4)
    whole = features.double().numpy().reshape(BATCH, WIDTH, 16).transpose(0, 2, 1)
    targets = np.stack([own[kept] for own, kept in zip(whole, index.numpy(), strict=True)])
    found = loss(inputs(given, features))
    assert close(found, in_numpy(loss, given, targets))
    assert not close(found, in_numpy(loss, given, whole[:, :5]))


@pytest.mark.parametrize("shape", [(WIDTH + 1, 4, 4), (WIDTH, 16)])
def test_features_of_another_encoder_are_refused(shape):
    with pytest.raises(DataError, match=r"loss repa: features are .*, and its option `features` is 5, with 2 axes"):
        built()(inputs(tap((4, 4)), torch.randn(BATCH, *shape)))


def test_a_depth_beyond_the_blocks_is_refused():
    with pytest.raises(ValueError, match="depth 8 is beyond the 3 blocks"):
        RepresentationAlignment((4, 4, 4))


def test_the_projector_starts_as_published():
    loss = RepresentationAlignment((768,) * 12)
    for linear in (loss.projector[0], loss.projector[2], loss.projector[4]):
        assert not linear.bias.any()
        bound = (6 / sum(linear.weight.shape)) ** 0.5
        assert float(linear.weight.detach().abs().max()) <= bound
        assert float(linear.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.01)
