"""Time embedders: noise levels in, vectors out."""

from __future__ import annotations

from typing import Any

import torch

from zoo.testing.cases import FEW, Case, Random, Shape
from zoo.testing.law import Law, law


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Noise levels in (0, 1)."""
    return (random(batch).sigmoid(),)


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """A vector a sample."""
    return [(batch, case.dim)]


@law(
    "Clamp t before a logarithm, a logit or a ratio of it: samplers ask at t = 1, and stages end at t = 0.",
    examples=FEW,
)
def is_finite_at_both_ends(case: Case) -> None:
    """At t = 0 and t = 1, which are data and noise, the vectors are finite."""
    vectors = case.call(case.build(dtype=torch.float32), (torch.tensor([0.0, 1.0]),))
    for t, vector in zip((0, 1), vectors, strict=True):
        assert vector.isfinite().all(), f"at t = {t} it is not finite"


@law(
    "Let forward() read t; what is the same for all noise levels on purpose need not keep it.",
    examples=FEW,
    required=False,
)
def tells_noise_levels_apart(case: Case) -> None:
    """Some noise levels have other vectors than others."""
    first, *others = case.call(case.build(), (torch.linspace(0.0, 1.0, 5, dtype=torch.float64),))
    assert any(not torch.allclose(first, each) for each in others), "all noise levels have the same vector"


LAWS: dict[str, tuple[Law[Case], ...]] = {"time_embedder": (is_finite_at_both_ends, tells_noise_levels_apart)}
