"""Parts that break a law of every kind with a forward pass: one thing each."""

from math import prod

import torch
from torch import Tensor, nn

from tests.testing.broken import Broken
from zoo.parts import Declared, Grid, Norm, Position, PositionEmbedding, TimeEmbedder
from zoo.registry import part
from zoo.testing import laws
from zoo.testing.count_laws import declares_its_cost
from zoo.testing.laws import runs_on_cuda
from zoo.testing.of_kind import norm, time_embedder


class Sound(TimeEmbedder):
    """A part that keeps every law; the broken ones below change one thing each."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(1, dim)

    def forward(self, t: Tensor) -> Tensor:
        return self.proj(t.unsqueeze(1))


@part("time_embedder", "wide")
class Wide(Sound):
    def forward(self, t):
        return super().forward(t).repeat(1, 2)


@part("time_embedder", "single_precision")
class SinglePrecision(Sound):
    def forward(self, t):
        return super().forward(t).float()


@part("time_embedder", "double_in_training")
class DoubleInTraining(Sound):
    def forward(self, t):
        found = super().forward(t)
        return found.double() if self.training else found


@part("position", "on_the_cpu")
class OnTheCPU(PositionEmbedding):
    def __init__(self, dim: int, grid: Grid) -> None:
        super().__init__()
        self.table = torch.zeros(prod(grid), dim, dtype=torch.float64, device="cpu")

    def forward(self):
        return Position(add=self.table)


@part("time_embedder", "on_the_cpu_in_training")
class OnTheCPUInTraining(Sound):
    def forward(self, t):
        found = super().forward(t)
        return found * torch.ones(found.shape[1], dtype=t.dtype) if self.training else found


@part("time_embedder", "batch_mean")
class BatchMean(Sound):
    def forward(self, t):
        return super().forward(t - t.mean())


@part("time_embedder", "mean_of_many")
class MeanOfMany(Sound):
    def forward(self, t):
        return super().forward(t - t.mean() if len(t) > 3 else t)


@part("time_embedder", "adds_halves")
class AddsHalves(Sound):
    """What guidance does outside of a part, and of batches that it doubled itself."""

    def forward(self, t):
        if len(t) % 2 == 0:
            first, second = t.chunk(2)
            t = torch.cat([first + second, second])
        return super().forward(t)


@part("time_embedder", "noisy")
class Noisy(Sound):
    def forward(self, t):
        return super().forward(t + torch.rand_like(t))


@part("time_embedder", "in_place")
class InPlace(Sound):
    def forward(self, t):
        return super().forward(t.mul_(0.5).clone())


@part("time_embedder", "in_place_in_sampling")
class InPlaceInSampling(Sound):
    def forward(self, t):
        return super().forward(t if torch.is_grad_enabled() else t.mul_(0.5).clone())


@part("time_embedder", "another_in_sampling")
class AnotherInSampling(Sound):
    def forward(self, t):
        return super().forward(t) * (1.0 if torch.is_grad_enabled() else 1.1)


@part("time_embedder", "detached")
class Detached(Sound):
    def forward(self, t):
        return torch.nn.functional.linear(t.unsqueeze(1), self.proj.weight, self.proj.bias.detach())


@part("time_embedder", "hidden_state")
class HiddenState(Sound):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.shift = float(torch.rand((), device="cpu"))

    def forward(self, t):
        return super().forward(t) + self.shift


SHARED = nn.Parameter(torch.zeros(1, dtype=torch.float64))


@part("time_embedder", "bare_parameter")
class BareParameter(Sound):
    """Its constructor alone says what the parameter starts at."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, t):
        return super().forward(t) * self.scale


class Tabled(Sound):
    """A table that no state dict holds."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("table", torch.ones(dim), persistent=False)

    def reset_parameters(self) -> None:
        self.table.fill_(1.0)

    def forward(self, t):
        return super().forward(t) * self.table


@part("time_embedder", "forgets_the_table")
class ForgetsTheTable(Tabled):
    def reset_parameters(self) -> None:
        """Nothing random here."""


@part("time_embedder", "another_table")
class AnotherTable(Tabled):
    def reset_parameters(self) -> None:
        self.table = torch.ones(len(self.table))


@part("time_embedder", "another_memory")
class AnotherMemory(Tabled):
    """Wherever the table was, and in whichever dtype."""

    def reset_parameters(self) -> None:
        self.table.data = torch.ones(len(self.table))


@part("time_embedder", "whole_numbers")
class WholeNumbers(Tabled):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("order", torch.arange(dim), persistent=False)

    def forward(self, t):
        return super().forward(t)[:, self.order]


@part("time_embedder", "plain_tensor")
class PlainTensor(Sound):
    """On the meta device it is lost, and no ``to`` moves it."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.tables = {"scale": [torch.linspace(0.0, 1.0, dim)]}

    def forward(self, t):
        return super().forward(t) * self.tables["scale"][0].to(t)


@part("time_embedder", "old_parameter")
class OldParameter(Sound):
    """Refers to the weight that ``to_empty`` replaces."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.tied = (self.proj.weight,)

    def forward(self, t):
        return torch.nn.functional.linear(t.unsqueeze(1), self.tied[0], self.proj.bias)


@part("time_embedder", "zeroed_in_the_constructor")
class ZeroedInTheConstructor(Sound):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        nn.init.zeros_(self.proj.weight)


@part("time_embedder", "knows_where_it_was_built")
class KnowsWhereItWasBuilt(Sound):
    """Something besides its tensors depends on where it was built."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.shift = float(self.proj.weight.is_meta)

    def forward(self, t):
        return super().forward(t) + self.shift


@part("time_embedder", "shared")
class Shared(Sound):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.shift = SHARED

    def forward(self, t):
        return super().forward(t) + self.shift.to(t.device)


@part("time_embedder", "excuses_what_is_not_there")
class ExcusesNothing(Sound):
    def without_gradient(self):
        return frozenset({"proj.wieght"})


@part("time_embedder", "excuses_what_learns")
class ExcusesTooMuch(Sound):
    def without_gradient(self):
        return frozenset({"proj.weight", "proj.bias"})


@part("time_embedder", "declares_nothing")
class DeclaresNothing(Sound):
    """More of them are in test_declare_laws.py."""

    def declare(self, t):
        return Declared(self(t), 0)


@part("time_embedder", "logit")
class Logit(Sound):
    def forward(self, t):
        return super().forward(t.logit())


@part("norm", "divides_by_nothing")
class DividesByNothing(Norm):
    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, tokens):
        return (tokens - tokens.mean(-1, keepdim=True)) / tokens.std(-1, keepdim=True)


@part("time_embedder", "timeless")
class Timeless(Sound):
    def forward(self, t):
        return super().forward(torch.ones_like(t))


@part("time_embedder", "weight_normed")
class WeightNormed(Sound):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        nn.utils.parametrizations.weight_norm(self.proj)


BROKEN: list[Broken] = [
    (time_embedder.is_finite_at_both_ends, Logit, "at t = 0 it is not finite"),
    (norm.is_finite_for_constant_tokens, DividesByNothing, "tokens that are 0.0 throughout come out not finite"),
    (laws.shape_contract, Wide, "returns shapes"),
    (laws.keeps_dtype, SinglePrecision, "in eval mode, returns torch.float32 for torch.float64"),
    (laws.keeps_dtype, DoubleInTraining, "in train mode, returns torch.float64 for torch.float32"),
    (laws.keeps_device, OnTheCPU, "in eval mode, returns a tensor on cpu"),
    (laws.keeps_device, OnTheCPUInTraining, "fails: RuntimeError: Tensor on device cpu"),
    (laws.batch_invariance, BatchMean, "depends on the rest of its batch"),
    (laws.batch_invariance, MeanOfMany, "depends on the rest of its batch"),
    (laws.batch_invariance, AddsHalves, "depends on the rest of its batch"),
    (laws.is_deterministic, Noisy, "two passes differ"),
    (laws.is_deterministic, InPlace, "forward changes its inputs"),
    (laws.is_deterministic, InPlaceInSampling, r"under torch\.no_grad\(\) forward changes its inputs"),
    (laws.is_deterministic, AnotherInSampling, r"under torch\.no_grad\(\) it computes something else"),
    (laws.gradient_reaches_parameters, Detached, "no gradient reaches proj.bias"),
    (laws.gradient_reaches_parameters, ExcusesNothing, "names what is no parameter"),
    (laws.gradient_reaches_parameters, ExcusesTooMuch, "excuses what has a gradient"),
    (laws.state_round_trip, HiddenState, "does not carry all of the part's state"),
    (laws.builds_share_nothing, Shared, "two builds share a tensor"),
    (laws.initialises_whole, BareParameter, r"it owns scale and has no reset_parameters\(\)"),
    (laws.initialises_whole, ForgetsTheTable, "table is not made by reset_parameters"),
    (laws.initialises_whole, AnotherTable, "puts another tensor in the place of table"),
    (laws.initialises_whole, AnotherMemory, "puts another tensor in the place of table"),
    (laws.initialises_whole, WholeNumbers, "order is not made by reset_parameters"),
    (laws.initialises_whole, PlainTensor, "holds tensors or modules in tables"),
    (laws.initialises_whole, OldParameter, "holds tensors or modules in tied"),
    (laws.initialises_whole, ZeroedInTheConstructor, "makes proj.weight otherwise than the constructor"),
    (laws.initialises_whole, KnowsWhereItWasBuilt, "computes something else"),
    (declares_its_cost, DeclaresNothing, "declares 0 multiply-adds"),
    (runs_on_cuda, Noisy, "in torch.float32 it gives something else than on a CPU"),
    (time_embedder.tells_noise_levels_apart, Timeless, "all noise levels have the same vector"),
    (laws.initialises_whole, WeightNormed, "is a parametrization of PyTorch's, as weight_norm makes them"),
]
