"""What an update tells: the terms of the loss of every sample of the global batch, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from zoo.data.stream import Batch
from zoo.flow import Term, total


class BatchLosses:
    """The terms of the loss of every sample of a global batch, on the CPU.

    Args:
        terms: of the loss.
        batch: samples of the global batch.

    Attributes:
        values: a row for each term, and for the shares and weights of the samples; zero where they are another
            process's, until they have been summed over all [terms + 2, batch], float64.
    """

    def __init__(self, terms: Sequence[Term], batch: int) -> None:
        self.terms = terms
        self.values = torch.zeros(len(terms) + 2, batch, dtype=torch.float64)

    def take(self, piece: Batch, found: Mapping[str, Tensor]) -> None:
        """Those of a piece, on the CPU."""
        rows = [*(found[term.name] for term in self.terms), piece.share, piece.weight]
        for row, own in enumerate(rows):
            self.values[row, piece.places] = own.double()

    @property
    def finite(self) -> Tensor:
        """Whether each term of each sample is finite [terms, batch]."""
        return self.values[:-2].isfinite()

    def not_finite(self) -> list[str]:
        """Names of the terms that are not, for some sample."""
        return [term.name for term, fine in zip(self.terms, self.finite.all(dim=1).tolist(), strict=True) if not fine]

    def loss(self) -> float:
        """The mean over the batch."""
        *terms, share, weight = self.values
        found = dict(zip((term.name for term in self.terms), terms, strict=True))
        return float(total(self.terms, found, share, weight).mean())

    def means(self) -> dict[str, float]:
        """Of each term, by its name."""
        *terms, share, _ = self.values
        return {term.name: float((share * own).mean()) for term, own in zip(self.terms, terms, strict=True)}

    def by_stage(self, stage_of: Tensor, stages: int) -> tuple[float, ...]:
        """Plain means of the sum of the terms.

        Args:
            stage_of: of each sample [batch].
            stages: how many there are.
        """
        parts = [term.weight * own for term, own in zip(self.terms, self.values[:-2], strict=True)]
        errors = torch.stack(parts).sum(dim=0)
        return tuple(float(errors[stage_of == stage].mean()) for stage in range(stages))
