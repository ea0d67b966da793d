"""Parts of which an audit cannot tell what runs."""

import torch

from tests.testing.broken import Broken
from tests.testing.broken.blocks import OneByOne
from zoo.parts.attentions import SoftmaxAttention
from zoo.parts.mlps import GELUMLP
from zoo.parts.routers import Tread
from zoo.registry import part
from zoo.testing import count_laws


@part("mlp", "rounds_a_size")
class RoundsASize(GELUMLP):
    """In a trace a size is a tensor, which has no ``round``."""

    per_token = False

    def forward(self, tokens, layout):
        return super().forward(tokens, layout) + tokens[:, : round(tokens.shape[1] * 0.5)].sum(1, keepdim=True)


@part("router", "rounds_its_share")
class RoundsItsShare(Tread):
    def __init__(self) -> None:
        super().__init__(first=0, stop=1)

    def begin(self, tokens, layout, scores):
        if scores is not None:
            round(scores.shape[1] * self.share)
        return super().begin(tokens, layout, scores)


@part("mlp", "asks_for_a_value")
class AsksForAValue(GELUMLP):
    def forward(self, tokens, layout):
        return super().forward(tokens, layout) if tokens.isfinite().all() else tokens


@torch.library.custom_op("zoo_tests::gate", mutates_args=())
def gate(x: torch.Tensor) -> torch.Tensor:
    return x.sigmoid()


@gate.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


@part("mlp", "kernel_of_its_own")
class KernelOfItsOwn(GELUMLP):
    def forward(self, tokens, layout):
        return gate(super().forward(tokens, layout))


@part("mlp", "for_nothing")
class ForNothing(GELUMLP):
    """Computes what it throws away."""

    def forward(self, tokens, layout):
        super().forward(tokens + 1, layout)
        return super().forward(tokens, layout)


@part("mlp", "less_on_meta")
class LessOnMeta(GELUMLP):
    def forward(self, tokens, layout):
        return tokens if tokens.is_meta else super().forward(tokens, layout)


@part("block", "packs_the_batch")
class PacksTheBatch(OneByOne):
    """Attends to all samples at once, and masks out the others'."""

    def forward_stage(self, tokens, vectors, layout, *taken):
        whole, samples = tokens.flatten(0, 1), torch.arange(len(tokens), device=tokens.device)
        sample = samples.repeat_interleave(tokens.shape[1])
        scores = (whole @ whole.T).masked_fill(sample[:, None] != sample, float("-inf"))
        mixed = (scores.softmax(dim=1) @ whole).reshape(tokens.shape)
        return super().forward_stage(tokens + mixed, vectors, layout)


@part("attention", "writes_it_out")
class WritesItOut(SoftmaxAttention):
    def forward_stage(self, tokens, layout):
        scores = (tokens @ tokens.mT).softmax(dim=-1)
        return scores @ self.qkv(tokens)[..., : tokens.shape[2]]


BROKEN: list[Broken] = [
    (count_laws.is_counted, RoundsASize, r"doesn't define __round__ .* make a number of one .* round\(int\("),
    (count_laws.is_counted, RoundsItsShare, r"make a number of one before Python calculates"),
    (count_laws.is_counted, AsksForAValue, "cannot be traced and counted on the meta device"),
    (count_laws.is_counted, KernelOfItsOwn, "neither counted nor known to be negligible: zoo_tests::gate"),
    (count_laws.is_counted, ForNothing, "A part computes what nothing uses"),
    (count_laws.is_counted, LessOnMeta, r"an audit counts 0 multiply-adds, and \d+ run on a CPU"),
    (count_laws.is_counted, PacksTheBatch, "a sample costs more beside others"),
    (count_laws.attention_is_seen, WritesItOut, "which an audit does not see as attention"),
]
