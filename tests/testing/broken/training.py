"""Parts that break a law of training, of chance or of compilation: one thing each."""

import random

import numpy as np
import torch
from torch import nn

from tests.testing.broken import Broken
from tests.testing.broken.blocks import OneByOne
from tests.testing.broken.modules import Sound
from zoo.registry import part
from zoo.testing import compile_laws, random_laws, train_laws


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


@part("time_embedder", "fails_on_two_dtypes")
class FailsOnTwoDtypes(Sound):
    def forward(self, t):
        found = t.new_zeros(len(t), self.proj.out_features)
        found[torch.arange(len(t))] = super().forward(t)
        return found


@part("time_embedder", "double_under_autocast")
class DoubleUnderAutocast(Sound):
    def forward(self, t):
        embedded = super().forward(t)
        return embedded.double() if embedded.dtype == torch.bfloat16 else embedded


@part("time_embedder", "rounded_angles")
class RoundedAngles(Sound):
    """Angles up to a thousand are off by several in bfloat16."""

    def forward(self, t):
        return (1000 * super().forward(t)).sin()


class Overflowing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return (gradient * 1e6).half() if gradient.dtype == torch.bfloat16 else gradient


@part("time_embedder", "overflowing_gradient")
class OverflowingGradient(Sound):
    def forward(self, t):
        return Overflowing.apply(super().forward(t))


class Fading(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (0.55 if gradient.dtype == torch.bfloat16 else 1.0)


@part("time_embedder", "fading_gradient")
class FadingGradient(Sound):
    def forward(self, t):
        return Fading.apply(super().forward(t))


@part("time_embedder", "loses_its_gate")
class LosesItsGate(Sound):
    """Its gradients are small beside those of other parameters, and under autocast there are none."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.gate = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.gate)

    def forward(self, t):
        gate = self.gate.detach() if torch.is_autocast_enabled("cpu") else self.gate
        return super().forward(t) + 0.02 * gate


@part("block", "rounded_sum")
class RoundedSum(OneByOne):
    """Adds in whatever dtype its Linear returns."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.mix = nn.Linear(dim, dim)

    def forward_stage(self, tokens, vectors, layout, *taken):
        return self.mix(super().forward_stage(tokens, vectors, layout)) * vectors[0].unsqueeze(1)


@part("time_embedder", "keeps_the_last")
class KeepsTheLast(Sound):
    """Every other pass takes what the one before computed."""

    last = None

    def forward(self, t):
        if self.last is None:
            self.last = super().forward(t)
            return self.last
        found, self.last = self.last, None
        return found


@part("time_embedder", "half_the_second_time")
class HalfTheSecondTime(Sound):
    """What a counter does that is in step with passes, and not with those of checkpointing."""

    passes = 0

    def forward(self, t):
        self.passes += 1
        return super().forward(t) * (0.5 if self.passes % 2 == 0 else 1.0)


class Recount(torch.autograd.Function):
    """Its gradient depends on what the forward pass left behind."""

    calls = 0

    @staticmethod
    def forward(ctx, x):
        Recount.calls += 1
        ctx.calls = Recount.calls
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.calls


@part("time_embedder", "gradient_of_passes")
class GradientOfPasses(Sound):
    def forward(self, t):
        return Recount.apply(super().forward(t))


@part("time_embedder", "masked_sum")
class MaskedSum(Sound):
    """Samples are joined, and those of others masked out."""

    def forward(self, t):
        return torch.eye(len(t), dtype=t.dtype, device=t.device) @ super().forward(t)


class NoJvp(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Nothing to save."""

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class WrongJvp(NoJvp):
    @staticmethod
    def jvp(ctx, tangent):
        return 2 * tangent


@part("time_embedder", "no_jvp")
class WithoutJvp(Sound):
    def forward(self, t):
        return NoJvp.apply(super().forward(t))


@part("time_embedder", "wrong_jvp")
class WithWrongJvp(Sound):
    def forward(self, t):
        return WrongJvp.apply(super().forward(t))


@part("time_embedder", "prints")
class Prints(Sound):
    def forward(self, t):
        print("a graph break")
        return super().forward(t)


@part("time_embedder", "asks_for_a_value")
class AsksForAValue(Sound):
    def forward(self, t):
        return super().forward(t) if t.sum().item() > 0 else super().forward(-t)


@part("time_embedder", "counts_in_python")
class CountsInPython(Sound):
    calls = 0

    def forward(self, t):
        self.calls += 1
        return super().forward(t) + 0 * self.calls


@part("time_embedder", "otherwise_compiled")
class OtherwiseCompiled(Sound):
    def forward(self, t):
        return super().forward(t) * (2 if torch.compiler.is_compiling() else 1)


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
    (train_laws.runs_under_autocast, FailsOnTwoDtypes, "Index put requires the source and destination dtypes match"),
    (train_laws.runs_under_autocast, DoubleUnderAutocast, "under autocast returns torch.float64"),
    (train_laws.runs_under_autocast, RoundedAngles, "under autocast it computes something else"),
    (train_laws.runs_under_autocast, OverflowingGradient, "under autocast the gradient of proj.weight is another"),
    (train_laws.runs_under_autocast, FadingGradient, "under autocast the gradient of proj.(weight|bias) is another"),
    (train_laws.runs_under_autocast, LosesItsGate, "under autocast the gradient of gate is another"),
    (train_laws.adds_to_wide_tokens, RoundedSum, "under autocast returns torch.bfloat16 for tokens of torch.float32"),
    (train_laws.can_be_checkpointed, KeepsTheLast, "CheckpointError|backward through the graph a second time"),
    (train_laws.can_be_checkpointed, HalfTheSecondTime, "under activation checkpointing it computes something else"),
    (train_laws.can_be_checkpointed, GradientOfPasses, "under activation checkpointing the gradient of proj.weight"),
    (train_laws.keeps_nan_apart, MaskedSum, "a sample that is NaN reaches others"),
    (train_laws.has_forward_derivatives, WithoutJvp, "jvp"),
    (train_laws.has_forward_derivatives, WithWrongJvp, "the forward derivative is not that of finite differences"),
    (compile_laws.compiles_whole, Prints, r"is not one graph, at training\.py:\d+, in forward: print\("),
    (compile_laws.compiles_whole, AsksForAValue, r"is not one graph, at training\.py:\d+, in forward: .*item\(\) > 0"),
    (compile_laws.compiles_whole, CountsInPython, "a second call of the same shapes is compiled anew"),
    (compile_laws.compiles_whole, OtherwiseCompiled, "compiled, it computes something else"),
]
