"""Parts with a table of a dtype of its own, which no cast of the weights rounds, that forget to bring it to theirs."""

import torch

from tests.testing.broken import Broken
from tests.testing.broken.modules import Sound
from zoo.registry import part
from zoo.testing import laws


class WithTable(Sound):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("scale", torch.empty(dim, dtype=torch.float64))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.scale.copy_(torch.linspace(0.5, 1.5, len(self.scale), dtype=torch.float64))


@part("time_embedder", "scales_in_double")
class ScalesInDouble(WithTable):
    def forward(self, t):
        return super().forward(t) * self.scale


@part("time_embedder", "table_before_its_weights")
class TableBeforeItsWeights(WithTable):
    """What comes of the table meets weights of another dtype."""

    def forward(self, t):
        return super().forward(t * self.scale[:1])


BROKEN: list[Broken] = [
    (laws.keeps_dtype, ScalesInDouble, "in eval mode, returns torch.float64 for torch.float32"),
    (laws.keeps_dtype, TableBeforeItsWeights, "fails: RuntimeError: mat1 and mat2 must have the same dtype"),
]
