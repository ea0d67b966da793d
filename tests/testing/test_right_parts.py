"""Parts that are right, and that a law which measures too closely would refuse."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.testing.broken.labels import NullOfItsTable, TextConditioner, WithRegisters
from tests.testing.broken.modules import Sound
from zoo.parts import MLP, Norm, Part, TimeEmbedder
from zoo.parts.blocks import DiTBlock
from zoo.parts.norms import LayerNorm
from zoo.registry import part
from zoo.testing import check_part, train_laws
from zoo.testing.check import part_cases
from zoo.testing.conformance import entries_of
from zoo.testing.ddp_laws import trains_on_two_ranks


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
    TextConditioner,
]


@pytest.mark.filterwarnings("ignore:.*has_forward_derivatives")  # of float32, which no finite differences tell
@pytest.mark.parametrize("cls", RIGHT)
def test_a_right_part_keeps_every_law(cls):
    check_part(cls, examples=6)


def test_a_null_that_is_no_label_breaks_the_law_of_nulls_first():
    with pytest.raises(AssertionError, match=r"breaks the law null_is_a_label: .*\n  found: null has another dtype"):
        check_part(NullOfItsTable, examples=6)
