"""What stays in float32 under autocast: attention's scores and softmax, the Fourier neural operator, the weights."""

from __future__ import annotations

import pytest
import torch

from zoo.parts.attentions import SoftmaxAttention
from zoo.parts.time_embedders import FNOTimeEmbedder
from zoo.parts.values import Layout


def scores_that_bfloat16_cannot_tell_apart() -> tuple[SoftmaxAttention, torch.Tensor]:
    """Scores 98.2 and 98.0: bfloat16 has steps of 0.5 there, and would give both values the same share."""
    attention = SoftmaxAttention(4, 1)
    with torch.no_grad():
        attention.qkv.weight.zero_()
        for row, column in ((0, 0), (1, 1), (4, 0), (5, 2), (8, 3)):  # q = (x0, x1), k = (x0, x2), v = x3
            attention.qkv.weight[row, column] = 1.0
        attention.proj.weight.copy_(torch.eye(4))
    return attention, torch.tensor([[[14.0, 1.0, 0.4, 1.0], [14.0, 1.0, 0.0, 0.0]]])


def test_softmax_is_computed_in_float32() -> None:
    attention, tokens = scores_that_bfloat16_cannot_tell_apart()
    layout = Layout(m=0, grid=(1, 2), patch=(1, 1))
    exact = attention.forward_stage(tokens, layout)[0, 0, 0].item()
    with torch.autocast("cpu", torch.bfloat16):
        output = attention.forward_stage(tokens, layout)
    assert output.dtype == torch.bfloat16
    assert exact == pytest.approx(0.55, abs=0.005)
    assert output[0, 0, 0].item() == pytest.approx(exact, abs=0.003)


def test_the_fourier_operator_does_not_see_autocast() -> None:
    embedder = FNOTimeEmbedder(8)
    t = torch.rand(4)
    with torch.autocast("cpu", torch.bfloat16):
        output = embedder(t)
    assert torch.equal(output, embedder(t))
