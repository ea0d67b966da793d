"""Parts that break a law of chance or of state: one thing each."""

import random

import numpy as np
import torch
from torch import nn

from tests.testing.broken import Broken
from tests.testing.broken.modules import Sound
from zoo.registry import part
from zoo.testing import random_laws


@part("time_embedder", "dropout")
class Dropout(Sound):
    def forward(self, t):
        return nn.functional.dropout(super().forward(t), 0.5, self.training)


@part("time_embedder", "noise_of_numpy")
class NoiseOfNumpy(Sound):
    def forward(self, t):
        return super().forward(t) + np.random.standard_normal()


@part("time_embedder", "noise_of_python")
class NoiseOfPython(Sound):
    def forward(self, t):
        return super().forward(t) + random.random()


@part("time_embedder", "draws_in_secret")
class DrawsInSecret(Sound):
    """Leaves the generator as it was."""

    def forward(self, t):
        with torch.random.fork_rng(devices=[]):
            return super().forward(t) + torch.rand(())


@part("time_embedder", "batch_norm")
class BatchNorm(Sound):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, t):
        return self.norm(super().forward(t))


@part("time_embedder", "counts")
class Counts(Sound):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, t):
        self.calls += 1
        return super().forward(t)


@part("time_embedder", "lazy_table")
class LazyTable(Sound):
    def forward(self, t):
        if not hasattr(self, "table"):
            self.register_buffer("table", torch.ones_like(self.proj.bias))
        return super().forward(t) * self.table


@part("time_embedder", "keeps_a_table")
class KeepsATable(Sound):
    """Of the pass that first asked for it, which may be one of sampling."""

    def forward(self, t):
        if not hasattr(self, "tables"):
            self.tables = {len(t): torch.linspace(0, 1, self.proj.out_features).to(t)}
        return super().forward(t) * self.tables[len(t)]


@part("time_embedder", "keeps_the_first")
class KeepsTheFirst(Sound):
    """No parameter or buffer, and all the same of the inputs of the first pass."""

    first = None

    def forward(self, t):
        found = super().forward(t)
        if self.first is None:
            self.first = found.detach().mean()
        return found + self.first


@part("time_embedder", "keeps_an_average")
class KeepsAnAverage(Sound):
    """No buffer; training alone writes it, and sampling alone reads it."""

    usual = 1.0

    def forward(self, t):
        if self.training:
            self.usual = 0.9 * self.usual + 0.1 * float(t.detach().mean())
            return super().forward(t)
        return super().forward(t) * self.usual


@part("time_embedder", "warms_up")
class WarmsUp(Sound):
    """The first pass of training is as ever."""

    passes = 0

    def forward(self, t):
        self.passes += self.training
        return super().forward(t) / (max(1, self.passes) if self.training else 1)


BROKEN: list[Broken] = [
    (random_laws.draws_nothing, Dropout, "in train mode, forward draws from torch's global generator"),
    (random_laws.draws_nothing, NoiseOfNumpy, "in eval mode, forward draws from numpy.random"),
    (random_laws.draws_nothing, NoiseOfPython, "in eval mode, the output depends on the seed of the process"),
    (random_laws.draws_nothing, DrawsInSecret, "in eval mode, the output depends on the seed of the process"),
    (random_laws.trains_as_it_samples, BatchNorm, r"train\(\) changes what forward gives"),
    (random_laws.trains_as_it_samples, KeepsATable, "Inference tensors cannot be saved for backward"),
    (random_laws.leaves_its_state, BatchNorm, "in train mode, forward changes norm.running_mean"),
    (random_laws.leaves_its_state, Counts, "in eval mode, forward changes calls"),
    (
        random_laws.leaves_its_state,
        KeepsTheFirst,
        "in eval mode, a pass gives something else after some on other inputs",
    ),
    (
        random_laws.leaves_its_state,
        KeepsAnAverage,
        "in eval mode, a pass gives something else after some on other inputs",
    ),
    (random_laws.leaves_its_state, WarmsUp, "in train mode, a pass gives something else after some on other inputs"),
    (random_laws.leaves_its_state, LazyTable, "in eval mode, forward adds or removes table"),
]
