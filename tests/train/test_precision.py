"""What stays in float32 under autocast: attention's scores and softmax, the Fourier neural operator, the weights, and
the residual stream unless a recipe says otherwise."""

from __future__ import annotations

import pytest
import torch

import zoo
from zoo.assembly import load_recipe
from zoo.errors import RecipeError
from zoo.flow import objective_of
from zoo.flow.objective import StageBatch
from zoo.parts.attentions import SoftmaxAttention
from zoo.parts.time_embedders import FNOTimeEmbedder
from zoo.parts.values import Layout
from zoo.registry import Registry


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


def dtypes_and_losses(recipe: str, *overrides: str) -> tuple[set[torch.dtype], torch.Tensor]:
    """Of the tokens that blocks are given and return, and of samples that are the same whatever is overridden."""
    read = load_recipe(recipe, overrides, Registry())
    torch.manual_seed(0)
    objective = objective_of(read, zoo.build(recipe, overrides))
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))  # gates and heads start at zero
    batches = [
        StageBatch(stage, *torch.randn(2, 2, *objective.backbone.latent), torch.rand(2), torch.tensor([1, 3]))
        for stage in range(len(objective.backbone.stages))
    ]
    seen = set()
    for block in objective.backbone.blocks:
        block.register_forward_hook(
            lambda _, given, returned: seen.update(
                each.dtype for each in (*(group.tokens for group in given[0]), *returned)
            )
        )
    with torch.autocast("cpu", torch.bfloat16):
        (values,) = objective(batches).values()
    values.mean().backward()
    assert all(each.grad is not None and each.grad.dtype == torch.float32 for each in objective.parameters())
    return seen, values


@pytest.mark.parametrize("recipe", ["digits_dit", "digits_mpdit", "digits_ppflow", "digits_hybrid"])
def test_the_residual_stream_is_as_wide_as_asked_for(recipe: str) -> None:
    wide, expected = dtypes_and_losses(recipe, "train.precision=bfloat16")
    narrow, losses = dtypes_and_losses(recipe, "train.precision=bfloat16", "train.residual=bfloat16")
    assert (wide, narrow) == ({torch.float32}, {torch.bfloat16})
    assert not torch.equal(losses, expected)
    assert torch.allclose(losses, expected, rtol=0.02)


def test_a_narrow_stream_needs_narrow_products() -> None:
    with pytest.raises(RecipeError, match=r"train.residual.*: bfloat16 needs train.precision: bfloat16; set both"):
        load_recipe("digits_dit", ["train.residual=bfloat16"], Registry())
