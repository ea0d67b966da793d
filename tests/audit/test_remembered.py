"""Shapes that are told once: the counts are those of a trace in which each is told anew."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from zoo import load_recipe
from zoo.audit import audit, counting
from zoo.audit.remembered import RememberedShapes

TOKENS = torch.empty(2, 8, 16, device="meta")
HEADS = torch.empty(2, 4, 8, 4, device="meta")


def told(given: Any) -> list[tuple[Any, ...]]:
    tensors = given if isinstance(given, tuple | list) else [given]
    return [(type(each), each.shape, each.stride(), each.dtype, each.device) for each in tensors]


@pytest.mark.parametrize("name", ["digits_hybrid", "mpdit_b"])
def test_an_audit_is_the_same_without_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(name)
    found = audit(recipe)
    monkeypatch.setattr(counting, "RememberedShapes", nullcontext)
    assert audit(recipe) == found


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.linear(TOKENS, torch.empty(32, 16, device="meta")),
        lambda: F.scaled_dot_product_attention(HEADS, HEADS, HEADS),
        lambda: F.layer_norm(TOKENS, (16,)),
        lambda: TOKENS.transpose(1, 2) * 2,
        lambda: TOKENS.to(torch.float64),
        lambda: torch.native_layer_norm(TOKENS, [16], None, None, 1e-6),
        lambda: TOKENS.chunk(2, -1),
    ],
)
def test_what_is_made_is_like_what_was_given(call: Any) -> None:
    with RememberedShapes():
        first, again = call(), call()
    assert told(again) == told(first) == told(call())


def unlike() -> list[torch.Tensor]:
    whole = TOKENS.long()
    sums = [TOKENS.sum(0), TOKENS.sum(1), TOKENS.sum(0, keepdim=True)]
    return [*sums, TOKENS + 1, TOKENS[:1] + 1, TOKENS.transpose(1, 2) + 1, TOKENS.double() + 1, whole + 1, whole + 1.5]


def test_what_differs_in_anything_is_told_anew() -> None:
    plain = unlike()
    with RememberedShapes():
        assert [told(each) for each in unlike()] == [told(each) for each in plain]


def test_views_and_what_is_written_to_stay_what_they_are() -> None:
    tokens = torch.empty(2, 8, device="meta")
    with RememberedShapes():
        views = [tokens.view(16) for _ in range(2)]
        written = [tokens.add_(1) for _ in range(2)]
    assert all(each._base is tokens for each in views)
    assert all(each is tokens for each in written)


def test_values_are_computed() -> None:
    with RememberedShapes():
        first, second = torch.zeros(2) + 1, torch.ones(2) + 1
    assert (first.tolist(), second.tolist()) == ([1.0, 1.0], [2.0, 2.0])


def test_an_equal_operator_runs_once() -> None:
    block = nn.Linear(16, 16, device="meta")
    with FlopCounterMode(display=False) as runs, RememberedShapes():
        for _ in range(3):
            block(TOKENS)
    assert runs.get_total_flops() == 2 * TOKENS.numel() * 16
