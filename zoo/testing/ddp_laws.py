"""The law of parts that train on several ranks: each has samples of its own, and all learn the same."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from zoo.data_parallel import data_parallel
from zoo.parts.values import map_tensors, tensors_in
from zoo.testing.asserts import assert_close
from zoo.testing.cases import Case, sample_of
from zoo.testing.generators import torch_seeded
from zoo.testing.law import law
from zoo.testing.ranks import RANKS, on_two_ranks

STEPS = 2
RATE = 0.1
ROUNDED = 1e-4
"""How far apart gradients may be, of the largest value: a part may compute in float32, as scans over tokens do."""


@law(
    "Let every pass use every parameter, whatever its samples and its rank (a learned null is one more row of a table),"
    " normalise nothing over the batch, and write no buffer in forward.",
    examples=1,
)
def trains_on_two_ranks(case: Case) -> None:
    """Under DistributedDataParallel, two ranks learn of a sample each what one process learns of both, step by step."""
    if any(parameter.requires_grad for parameter in case.unmade.parameters()):
        on_two_ranks(lambda rank: _train(case, rank))


class Called(nn.Module):
    """A part whose ``forward`` is how its kind is called."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case, self.part = case, case.build().train()

    def forward(self, *inputs: Any) -> list[Tensor]:
        """Its output's tensors."""
        return [each for each in tensors_in(self.case.call(self.part, inputs)) if each.is_floating_point()]


def _train(case: Case, rank: int) -> None:
    together = _behind_weights(case.inputs(RANKS))
    batched = bool(tensors_in(together))
    own = _behind_weights(tuple(sample_of(each, rank) for each in together) if batched else together)
    rows = slice(rank, rank + 1) if batched else slice(None)
    _assert_all_used(case, own)
    one, several = Called(case), Called(case)
    wrapped, random = data_parallel(several), _is_random(one, together)
    for step in range(1, STEPS + 1):
        expected = one(*together)
        weights = _weights(expected, case.seed)
        (_sum(expected, weights) / (RANKS if batched else 1)).backward()  # type: ignore[no-untyped-call]
        _sum(wrapped(*own), [each[rows] for each in weights]).backward()  # type: ignore[no-untyped-call]
        for (name, parameter), reference in zip(several.part.named_parameters(), one.part.parameters(), strict=True):
            if not parameter.requires_grad:
                continue
            told = f"in step {step} the gradient of {name}"
            gradient, of_all = _descend(parameter), _descend(reference)
            _assert_same(gradient, f"{told} on rank 0 is another than on rank 1")
            if not random:
                assert_close(gradient, of_all, f"{told} is another than one process has of all samples", ROUNDED)
        for name, buffer in several.part.named_buffers():
            _assert_same(buffer, f"forward writes {name}, which then is another on rank 0 than on rank 1")


def _behind_weights(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Inputs that want a gradient, as in a backbone: without, GroupNorm over a permuted map is a segmentation fault."""
    behind: tuple[Any, ...] = map_tensors(
        lambda each: each.detach().requires_grad_() if each.is_floating_point() else each, inputs
    )
    return behind


def _assert_all_used(case: Case, inputs: tuple[Any, ...]) -> None:
    """DistributedDataParallel says so too, of their numbers, and in the step after."""
    alone = Called(case)
    outputs = alone(*inputs)
    _sum(outputs, _weights(outputs, case.seed)).backward()  # type: ignore[no-untyped-call]
    unused = [name for name, each in alone.part.named_parameters() if each.requires_grad and each.grad is None]
    assert not unused, f"a pass over its sample does not use {', '.join(unused)}, and the other ranks wait for that"


def _is_random(part: Called, inputs: tuple[Any, ...]) -> bool:
    """Whether something is drawn in training, such as by dropout."""
    passes = []
    for seed in (1, 2):
        with torch_seeded(seed), torch.no_grad():
            passes.append(part(*inputs))
    return not all(torch.equal(first, second) for first, second in zip(*passes, strict=True))


def _weights(outputs: list[Tensor], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(each.shape, generator=generator, dtype=each.dtype) for each in outputs]


def _sum(outputs: list[Tensor], weights: list[Tensor]) -> Tensor:
    terms = [(output * weight).sum() for output, weight in zip(outputs, weights, strict=True)]
    return torch.stack(terms).sum()


def _assert_same(own: Tensor, message: str) -> None:
    """On all ranks, bit by bit."""
    every = [torch.empty_like(own) for _ in range(RANKS)]
    dist.all_gather(every, own.detach().contiguous())
    assert all(torch.equal(each, own) for each in every), message


@torch.no_grad()
def _descend(parameter: Tensor) -> Tensor:
    """Go a step down the gradient, which is returned; none is left."""
    gradient, parameter.grad = parameter.grad, None
    assert gradient is not None, "a parameter has no gradient"
    parameter -= RATE * gradient
    return gradient
