"""Laws of normalisations."""

from __future__ import annotations

from collections.abc import Callable

import torch

from zoo.data.base import Statistics
from zoo.testing.asserts import assert_close
from zoo.testing.cases import Case


def inverts(case: Case) -> None:
    """``invert(apply(x))`` is x, and both keep shape and dtype; with recorded statistics, where the part takes any."""
    channels = range(case.supplied["channels"])
    statistics = Statistics(tuple(k / 2 - 1 for k in channels), tuple(0.5 + k / 4 for k in channels))
    fitted = case.create().fitted(statistics)
    part = case.entry.create(case.options.model_copy(update=fitted), case.supplied)
    generator = torch.Generator().manual_seed(case.seed)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
        latents = torch.randn(2, len(channels), 3, 2, generator=generator, dtype=torch.float64).to(dtype)
        before = latents.clone()
        applied = part.apply(latents)
        restored = part.invert(applied)
        assert applied.shape == restored.shape == latents.shape, "normalising changes the shape"
        assert applied.dtype == restored.dtype == dtype, f"normalising changes {dtype}"
        assert torch.equal(latents, before), "normalising changes its inputs"
        assert_close(restored, latents, "invert does not undo apply", tolerance)


LAWS: dict[str, tuple[Callable[[Case], None], ...]] = {"normalize": (inverts,)}
"""Laws of each kind."""
