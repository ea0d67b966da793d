"""Parts that are right, and that a law which measures too closely would refuse."""

import math
from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch
from torch import nn

from tests.strangers.maskdit import MaskTokens
from tests.testing.broken.labels import LearnedUnknown, NullOfItsTable, WithRegisters
from tests.testing.broken.modules import Sound
from zoo.parts import (
    MLP,
    ClassCondition,
    Downsampler,
    Grid,
    IndexConditioner,
    Norm,
    Part,
    TimeEmbedder,
    Upsampler,
    behind,
    ratio,
    shuffle,
    to_map,
    to_tokens,
)
from zoo.parts.blocks import DiTBlock
from zoo.parts.norms import LayerNorm
from zoo.registry import Registry, part
from zoo.testing import check_assemblies, check_part, train_laws
from zoo.testing.check import part_cases
from zoo.testing.conformance import entries_of
from zoo.testing.ddp_laws import trains_on_two_ranks
from zoo.testing.numeric_laws import gradients_are_slopes, rounds_nothing_on_the_way
from zoo.testing.place_laws import keeps_places, knows_grids_apart, takes_many_tokens


def broken(law, cases):
    """What a law says of cases by which it is broken."""
    said = []
    for case in cases:
        try:
            law(case)
        except AssertionError as error:
            said.append(str(error))
    return said


@part("mlp", "relu")
class ReLU(MLP):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, tokens, layout):
        return self.down(self.up(tokens).relu())


@part("mlp", "leaky_relu")
class LeakyReLU(ReLU):
    def forward(self, tokens, layout):
        return self.down(nn.functional.leaky_relu(self.up(tokens), 0.1))


@part("mlp", "reglu")
class ReGLU(ReLU):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.gate = nn.Linear(dim, 4 * dim)

    def forward(self, tokens, layout):
        return self.down(self.gate(tokens).relu() * self.up(tokens))


@part("norm", "own")
class OwnNorm(LayerNorm):
    """Another than the built-in ones, for a slot."""


@part("mlp", "holds_a_norm")
class HoldsANorm(ReLU):
    def __init__(self, dim: int, *, norm: Part[Norm] = OwnNorm) -> None:
        super().__init__(dim)
        self.norm = norm(dim)

    def forward(self, tokens, layout):
        return super().forward(self.norm(tokens), layout)


@part("block", "holds_its_own")
class HoldsItsOwn(DiTBlock):
    def __init__(self, dim: int, heads: int, *, mlp: Part[MLP] = HoldsANorm) -> None:
        super().__init__(dim, heads, mlp=mlp)


@pytest.mark.parametrize("cls", [ReLU, LeakyReLU, ReGLU])
def test_what_rounding_moves_past_a_kink_is_no_other_gradient(cls):
    (case, *_) = part_cases(*entries_of([cls]), examples=1)
    assert broken(train_laws.runs_under_autocast, [replace(case, seed=seed) for seed in range(20)]) == []


@part("mlp", "in_single_precision")
class InSinglePrecision(MLP):
    """Computes in float32, whatever comes."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.log_scale)

    def forward(self, tokens, layout):
        return (tokens.float() * self.log_scale.float().exp()).to(tokens.dtype)


@part("mlp", "linears_in_single_precision")
class LinearsInSinglePrecision(ReLU):
    """Its products round otherwise for another number of rows."""

    def forward(self, tokens, layout):
        inner = _in_single(self.up, tokens).tanh()
        return _in_single(self.down, inner).to(tokens.dtype)


def _in_single(layer, x):
    return nn.functional.linear(x.float(), layer.weight.float(), layer.bias.float())


@part("block", "in_single_precision")
class BlockInSinglePrecision(DiTBlock):
    def __init__(self, dim: int, heads: int, *, mlp: Part[MLP] = LinearsInSinglePrecision) -> None:
        super().__init__(dim, heads, mlp=mlp)


@part("time_embedder", "in_single_precision")
class EmbedsInSinglePrecision(Sound):
    def forward(self, t):
        return _in_single(self.proj, t.unsqueeze(1)).tanh().to(t.dtype)


def test_a_part_may_compute_in_single_precision_on_every_rank():
    assert broken(trains_on_two_ranks, part_cases(*entries_of([InSinglePrecision]), examples=3)) == []


@part("time_embedder", "gaussian_fourier")
class GaussianFourier(TimeEmbedder):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.empty(dim // 2))
        self.mix = nn.Linear(2 * (dim // 2), dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.frequencies, std=100.0)

    def forward(self, t):
        angles = 2 * math.pi * t.unsqueeze(1) * self.frequencies
        return self.mix(torch.cat([angles.sin(), angles.cos()], -1))


def test_sines_of_high_frequency_have_the_forward_derivatives_that_they_have():
    check_part(GaussianFourier, laws=[train_laws.has_forward_derivatives], examples=20)


@part("upsampler", "by_attention")
class ByAttention(Upsampler):
    """Each finer token attends to all coarse ones, and to those in front; its query is its own coarse token."""

    def __init__(self, dim: int, next_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__()
        self.factor = ratio(patch, next_patch)
        self.queries = nn.Linear(dim, next_dim * prod(self.factor))
        self.keys, self.values = nn.Linear(dim, next_dim), nn.Linear(dim, next_dim)

    def forward(self, tokens, m, grid, kept=None):
        queries = behind(tokens[:, :m], shuffle(self.queries(tokens[:, m:]), grid, self.factor))
        found = nn.functional.scaled_dot_product_attention(queries, self.keys(tokens), self.values(tokens))
        return found, tuple(side * each for side, each in zip(grid, self.factor, strict=True))


@part("upsampler", "interpolates")
class Interpolates(Upsampler):
    axes = frozenset({2})

    def __init__(self, dim: int, next_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__()
        self.factor = ratio(patch, next_patch)
        self.proj = nn.Linear(dim, next_dim)

    def forward(self, tokens, m, grid, kept=None):
        finer = tuple(side * each for side, each in zip(grid, self.factor, strict=True))
        image = nn.functional.interpolate(to_map(tokens[:, m:], grid), finer, mode="bilinear")
        return behind(tokens[:, :m], self.proj(to_tokens(image))), finer


@part("downsampler", "takes_the_largest")
class TakesTheLargest(Downsampler):
    """Of each channel one of the finer tokens alone goes on."""

    axes = frozenset({2})

    def __init__(self, dim: int, next_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__()
        self.factor = ratio(next_patch, patch)
        self.proj = nn.Linear(dim, next_dim)

    def forward(self, tokens, m, grid):
        image = nn.functional.max_pool2d(to_map(tokens[:, m:], grid), self.factor)
        return behind(tokens[:, :m], self.proj(to_tokens(image))), ratio(grid, self.factor)


@pytest.mark.parametrize("cls", [ByAttention, Interpolates, TakesTheLargest])
def test_tokens_may_see_more_or_less_than_their_own_places(cls):
    check_part(cls, laws=[keeps_places, takes_many_tokens, knows_grids_apart], examples=20)


@part("time_embedder", "tables")
class Tables(GaussianFourier):
    """Sines that nothing learns by, which keep no gradients."""

    def forward(self, t):
        with torch.no_grad():
            angles = 2 * math.pi * t.unsqueeze(1) * self.frequencies
            sines = torch.cat([angles.sin(), angles.cos()], -1)
        return self.mix(sines)


@pytest.mark.parametrize("cls", [ReLU, LeakyReLU, ReGLU, InSinglePrecision, GaussianFourier, Tables])
def test_gradients_may_have_kinks_be_of_single_precision_and_stop_at_data(cls):
    check_part(cls, laws=[gradients_are_slopes, rounds_nothing_on_the_way], examples=20)


@part("class_conditioner", "draws_its_examples")
class DrawsItsExamples(IndexConditioner):
    """From the generators that all of the process share."""

    gives = frozenset({"label"})

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__(num_classes)
        self.table = nn.Embedding(num_classes + 1, dim)

    def forward(self, labels):
        return ClassCondition(vector=self.table(labels))

    def example_labels(self, batch, device=None):
        torch.rand(1, device="cpu")
        return torch.as_tensor(np.random.randint(0, self.num_classes, batch), device=device)


def test_example_labels_may_be_drawn():
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    check_part(DrawsItsExamples, examples=8)
    assert (np.random.get_state()[1] == before[0]).all()
    assert torch.equal(torch.get_rng_state(), before[1])
    check_assemblies(Registry().with_parts([DrawsItsExamples]), class_conditioner="draws_its_examples", examples=2)


def test_what_learns_by_dropped_labels_alone_learns_in_assemblies_too():
    registry = Registry().with_parts([LearnedUnknown])
    check_assemblies(registry, laws=["gradient_reaches_all"], class_conditioner="learned_unknown", examples=2)


@part("router", "stands_in_for_the_rest")
class StandsInForTheRest(MaskTokens):
    """In front of the last block half of the tokens are left out, and a learned one comes back for these."""

    def __init__(self, depth: int, block_dims: tuple[int, ...]) -> None:
        if depth < 2:
            raise ValueError("there is no block before the last one")
        super().__init__(stop=depth - 1, dim=block_dims[-1])


def test_what_learns_where_tokens_are_left_out_alone_keeps_the_laws():
    check_part(StandsInForTheRest, examples=8)
    registry = Registry().with_parts([StandsInForTheRest])
    check_assemblies(registry, laws=["gradient_reaches_all"], router="stands_in_for_the_rest", examples=4)


@part("mlp", "turns_pairs")
class TurnsPairs(ReLU):
    """By complex numbers, and weighs by a table in float64: both are brought to what comes in."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("turns", torch.empty(dim // 2, dtype=torch.complex64))
        self.register_buffer("weights", torch.empty(dim, dtype=torch.float64))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.turns.copy_(torch.polar(torch.ones(len(self.turns)), torch.linspace(0, 3, len(self.turns))))
            self.weights.copy_(torch.linspace(0.5, 1.5, len(self.weights), dtype=torch.float64))

    def forward(self, tokens, layout):
        real, imaginary = torch.view_as_real(self.turns).to(tokens.dtype).unbind(-1)
        x, y = tokens.chunk(2, dim=-1)
        turned = torch.cat([x * real - y * imaginary, x * imaginary + y * real], dim=-1)
        return super().forward(turned * self.weights.to(tokens.dtype), layout)


RIGHT = [
    ReLU,
    LeakyReLU,
    ReGLU,
    HoldsANorm,
    InSinglePrecision,
    LinearsInSinglePrecision,
    BlockInSinglePrecision,
    EmbedsInSinglePrecision,
    GaussianFourier,
    WithRegisters,
    LearnedUnknown,
    TurnsPairs,
]


@pytest.mark.filterwarnings("ignore:.*has_forward_derivatives")  # of float32, which no finite differences tell
@pytest.mark.parametrize("cls", RIGHT)
def test_a_right_part_keeps_every_law(cls):
    check_part(cls, examples=6)


def test_a_null_that_is_no_label_breaks_the_law_of_nulls_first():
    with pytest.raises(AssertionError, match=r"breaks the law null_is_a_label: .*\n  found: null has another dtype"):
        check_part(NullOfItsTable, examples=6)
