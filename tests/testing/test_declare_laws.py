"""What a part declares of itself is held against what runs: sound parts keep the law, and it catches broken ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.testing.broken.blocks import OneByOne
from zoo.kinds import BACKBONE_KINDS
from zoo.part_entries import part_entry
from zoo.parts import Declared, TimeEmbedder, to_map, to_tokens
from zoo.plugins import Plugin
from zoo.registry import part
from zoo.sites import Site
from zoo.testing import check_part, laws_of
from zoo.testing.cases import Case
from zoo.testing.count_laws import declares_its_cost

pytestmark = pytest.mark.usefixtures("drawn_as_ever")


@part("block", "convolves")
class Convolves(OneByOne):
    """A convolution over the image tokens before a usual block, which declares what a trace would find too."""

    axes = frozenset({2})

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.mix = nn.Conv2d(dim, dim, 3, padding=1)

    def forward_stage(self, tokens: Any, vectors: Any, layout: Any, *taken: Any) -> Any:
        image = to_tokens(self.mix(to_map(tokens[:, layout.m :], layout.grid)))
        return super().forward_stage(torch.cat([tokens[:, : layout.m], image], dim=1), vectors, layout)

    def declare(self, groups: Any) -> Any:
        ((tokens, _, layout, _),) = groups
        batch, count, dim = tokens.shape
        attention = 2 * batch * count * count * dim
        products = batch * count * 12 * dim * dim + batch * layout.grid[0] * layout.grid[1] * 9 * dim * dim
        return Declared(self.forward(groups), products + attention, 0, attention)


@part("block", "scans")
class Scans(OneByOne):
    """A recurrence ``h = a * h + x`` over the tokens in place of attention, of which PyTorch's counter sees nothing."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, 1)
        del self.attention, self.mlp
        self.decay = nn.Parameter(torch.zeros(dim))

    def forward_stage(self, tokens: Any, vectors: Any, layout: Any, *taken: Any) -> Any:
        gate = vectors[2]
        state, decay, found = torch.zeros_like(tokens[:, 0]), self.decay.sigmoid(), []
        for token in tokens.unbind(1):
            state = torch.addcmul(token, decay, state)
            found.append(state * gate)
        return torch.stack(found, dim=1)

    def declare(self, groups: Any) -> Any:
        tokens = groups[0].tokens
        return Declared([torch.empty_like(tokens)], 2 * tokens.numel())


@torch.library.custom_op("zoo_tests::scan", mutates_args=())
def scan(x: Tensor, decay: Tensor) -> Tensor:
    state, found = torch.zeros_like(x[:, 0]), []
    for each in x.unbind(1):
        state = state * decay + each
        found.append(state)
    return torch.stack(found, dim=1)


@part("block", "scans_in_a_kernel")
class ScansInAKernel(Scans):
    """The same in an operator of its own library."""

    def forward_stage(self, tokens: Any, vectors: Any, layout: Any, *taken: Any) -> Any:
        return scan(tokens, self.decay.sigmoid()) * vectors[2].unsqueeze(1)


@pytest.mark.parametrize("sound", [Convolves, Scans, ScansInAKernel])
def test_a_part_that_declares_what_runs_keeps_the_law(sound: type) -> None:
    check_part(sound, laws=[declares_its_cost], examples=15)


@part("time_embedder", "declines")
class Declines(TimeEmbedder):
    """Declares nothing, which is to be traced."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(1, dim)

    def forward(self, t: Any) -> Any:
        return self.proj(t.unsqueeze(1))

    def declare(self, *inputs: Any) -> None:
        return None


def test_a_part_that_leaves_itself_to_the_trace_keeps_the_law() -> None:
    check_part(Declines, laws=[declares_its_cost], examples=15)


class Changed(Convolves):
    """Declares what ``change`` makes of the right count."""

    change: Any

    def declare(self, groups: Any) -> Any:
        return type(self).change(super().declare(groups))


@part("block", "a_thousand_times")
class AThousandTimes(Changed):
    change = staticmethod(lambda own: replace(own, macs=1000 * own.macs))


@part("block", "nothing")
class Nothing(Changed):
    change = staticmethod(lambda own: Declared(own.output, 0))


@part("block", "a_third")
class AThird(Changed):
    change = staticmethod(lambda own: replace(own, macs=own.macs // 3, attention_macs=own.attention_macs // 3))


@part("block", "one_sample")
class OneSample(Changed):
    """Of whatever batch it is given."""

    change = staticmethod(
        lambda own: replace(
            own, macs=own.macs // len(own.output[0]), attention_macs=own.attention_macs // len(own.output[0])
        )
    )


@part("block", "no_attention")
class NoAttention(Changed):
    change = staticmethod(lambda own: replace(own, attention_macs=0))


@part("block", "all_attention")
class AllAttention(Changed):
    change = staticmethod(lambda own: replace(own, attention_macs=own.macs))


@part("block", "other_shape")
class OtherShape(Changed):
    change = staticmethod(lambda own: replace(own, output=[own.output[0][:, 1:]]))


@part("block", "other_dtype")
class OtherDtype(Changed):
    change = staticmethod(lambda own: replace(own, output=[own.output[0].half()]))


@part("block", "no_declared")
class NoDeclared(Changed):
    change = staticmethod(lambda own: own.macs)


@part("block", "fails_to_declare")
class FailsToDeclare(Changed):
    change = staticmethod(lambda own: own.nonsense)


@part("block", "scan_for_free")
class ScanForFree(Scans):
    def declare(self, groups: Any) -> Any:
        return Declared([torch.empty_like(groups[0].tokens)], 0)


@part("block", "kernel_for_free")
class KernelForFree(ScansInAKernel):
    def declare(self, groups: Any) -> Any:
        return Declared([torch.empty_like(groups[0].tokens)], 0)


@part("block", "hides_a_product")
class HidesAProduct(Scans):
    """A linear layer that is not declared with the rest."""

    def forward_stage(self, tokens: Any, vectors: Any, layout: Any, *taken: Any) -> Any:
        weight = torch.ones(len(self.decay), len(self.decay), dtype=tokens.dtype, device=tokens.device)
        return super().forward_stage(F.linear(tokens, weight), vectors, layout)


BROKEN = [
    (AThousandTimes, r"declares \d+ multiply-adds for a batch of \d, and \d+ run on a CPU: more than a factor of 2"),
    (Nothing, r"declares 0 multiply-adds for a batch of \d, and \d+ run"),
    (AThird, r"declares \d+ multiply-adds for a batch of \d, and \d+ run"),
    (OneSample, r"declares \d+ multiply-adds for a batch of 3, and \d+ run"),
    (NoAttention, r"declares 0 multiply-adds of attention for a batch of \d, and \d+ run"),
    (AllAttention, r"declares \d+ multiply-adds of attention for a batch of \d, and \d+ run"),
    (OtherShape, r"declares an output .*, and forward returns \['\[\d, \d+, \d+\] torch.float32"),
    (OtherDtype, r"declares an output .* torch.float16.*, and forward returns .* torch.float32"),
    (NoDeclared, r"NoDeclared: declare must return a zoo\.parts\.Declared, or None to be traced, not an int"),
    (FailsToDeclare, r"FailsToDeclare: declare fails: AttributeError"),
    (ScanForFree, r"declares 0 multiply-adds"),
    (KernelForFree, r"declares 0 multiply-adds"),
    (HidesAProduct, r"declares \d+ multiply-adds"),
]


SITE = Site(axes=2, dim=16, heads=2, depth=1, grid=(2, 3), patch=(1, 1), m=1)


@pytest.mark.parametrize(("broken", "told"), BROKEN, ids=[cls.__name__ for cls, _ in BROKEN])
def test_the_law_catches_a_broken_part(broken: type, told: str) -> None:
    entry = part_entry(broken, Plugin("under test", "0"))
    with pytest.raises(AssertionError, match=told):
        declares_its_cost(Case(entry, entry.signature.options(), SITE, seed=0))


def test_the_kit_holds_every_part_of_the_backbone_to_it() -> None:
    assert all(declares_its_cost in laws_of(kind) for kind in BACKBONE_KINDS if kind != "patch_schedule")
