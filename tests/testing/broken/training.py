"""Parts that break a law of training or of compilation: one thing each."""

import torch
from torch import nn

from tests.testing.broken import Broken
from tests.testing.broken.blocks import OneByOne
from tests.testing.broken.modules import Sound
from zoo.registry import part
from zoo.testing import compile_laws, train_laws


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
