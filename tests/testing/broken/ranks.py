"""Parts that break where each rank has samples of its own."""

import os

import torch
import torch.distributed as dist
from torch import nn

from tests.testing.broken import Broken
from tests.testing.broken.modules import Sound
from zoo.parts import ClassCondition
from zoo.parts.class_conditioners import IndexConditioner
from zoo.registry import part
from zoo.testing.ddp_laws import trains_on_two_ranks


def rank():
    return dist.get_rank() if dist.is_initialized() else 0


@part("class_conditioner", "null_beside")
class NullBeside(IndexConditioner):
    """Learns a null that a batch without any does not use."""

    gives = frozenset({"label"})

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__(num_classes)
        self.table, self.absent = nn.Embedding(num_classes, dim), nn.Embedding(1, dim)

    def forward(self, labels):
        vector, null = self.table(labels.clamp(max=self.num_classes - 1)), labels == self.num_classes
        if null.any():
            vector = torch.where(null.unsqueeze(1), self.absent.weight, vector)
        return ClassCondition(vector=vector)


@part("time_embedder", "another_on_each_rank")
class AnotherOnEachRank(Sound):
    def forward(self, t):
        return super().forward(t * (1 + rank()))


@part("time_embedder", "normalises_over_the_batch")
class NormalisesOverTheBatch(Sound):
    def forward(self, t):
        return super().forward(t - t.mean() if self.training else t)


@part("time_embedder", "keeps_a_mean")
class KeepsAMean(Sound):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, t):
        if self.training:
            self.seen.lerp_(t.detach().mean(), 0.1)
        return super().forward(t)


@part("time_embedder", "warms_up")
class WarmsUp(Sound):
    """Leaves its bias alone in the second pass."""

    passes = 0

    def forward(self, t):
        self.passes += 1
        bias = None if self.passes == 2 else self.proj.bias
        return torch.nn.functional.linear(t.unsqueeze(1), self.proj.weight, bias)


@part("time_embedder", "dies")
class Dies(Sound):
    def forward(self, t):
        if rank() == 1:
            os._exit(3)
        return super().forward(t)


@part("time_embedder", "waits_alone")
class WaitsAlone(Sound):
    def forward(self, t):
        if dist.is_initialized() and rank() == 0:
            dist.barrier()
        return super().forward(t)


BROKEN: list[Broken] = [
    (trains_on_two_ranks, NullBeside, r"rank [01]: a pass over its sample does not use (table|absent)\.weight"),
    (trains_on_two_ranks, AnotherOnEachRank, "is another than one process has of all samples"),
    (trains_on_two_ranks, NormalisesOverTheBatch, "in step 1 the gradient of .* is another than one process has"),
    (trains_on_two_ranks, KeepsAMean, "forward writes seen, which then is another on rank 0 than on rank 1"),
    (trains_on_two_ranks, WarmsUp, r"rank [01]: "),
    (trains_on_two_ranks, Dies, "rank 1: ended with exit code 3, without a word"),
]
"""``WaitsAlone`` waits for as long as it is let."""
