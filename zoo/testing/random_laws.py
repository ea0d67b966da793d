"""Laws of chance and state: a pass draws nothing, leaves nothing behind, and is the same in training."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zoo.parts.initialise import all_tensors
from zoo.testing.asserts import assert_close, assert_equal, bytes_of
from zoo.testing.cases import BATCH, FEW, MODES, Case
from zoo.testing.generators import seeded
from zoo.testing.law import law

SEEDS = (20, 21)


@law(
    "Draw nothing in forward, as dropout does, since a run that goes on, or has more processes, would draw other"
    " numbers: zoo drops labels and draws a router's scores, and constants are made in reset_parameters.",
    examples=FEW,
)
def draws_nothing(case: Case) -> None:
    """A pass neither draws from the random generators of the process nor depends on them, also in training."""
    part = case.build()
    for mode in MODES:
        part.train(mode == "train")
        found = []
        for seed in SEEDS:
            with seeded(seed) as drawn:
                found.append(case.outputs(part, BATCH))
                names = drawn()
            assert not names, f"in {mode} mode, forward draws from {' and '.join(names)}"
        assert_equal(found[0], found[1], f"in {mode} mode, the output depends on the seed of the process")


@law(
    "Leave out dropout, and averages over a batch as BatchNorm takes them: zoo does the dropping, and a norm over the"
    " axes of a sample takes nothing from the others. Keep no tensor from pass to pass.",
    examples=FEW,
)
def trains_as_it_samples(case: Case) -> None:
    """In training mode a pass gives what it gives in eval mode."""
    part = case.build()
    with seeded(SEEDS[0]):
        with torch.inference_mode():  # whose tensors, where a part keeps them, no training can use
            sampled = case.outputs(part, BATCH)
        trained = case.outputs(part.train(), BATCH)
    assert_close(trained, sampled, "train() changes what forward gives")


@law(
    "Write to no parameter, buffer or attribute in forward that a later pass reads, and add none, since each process"
    " would have its own: make tables in the constructor, and fill them in reset_parameters.",
    examples=FEW,
)
def leaves_its_state(case: Case) -> None:
    """A pass changes no parameter or buffer, adds none, and leaves nothing that a later one reads, also in training."""
    part, first = case.build(), {}
    before = {name: tensor.clone() for name, tensor in all_tensors(part).items()}
    for mode in MODES:
        first[mode] = case.outputs(part.train(mode == "train"), BATCH)
        after = all_tensors(part)
        others = sorted(after.keys() ^ before.keys())
        assert not others, f"in {mode} mode, forward adds or removes {', '.join(others)}"
        changed = [name for name, tensor in after.items() if not _same(tensor, before[name])]
        assert not changed, f"in {mode} mode, forward changes {', '.join(changed)}"
    used, given = case.build(), replace(case, seed=case.seed + 1).inputs(BATCH + 1)
    for mode in MODES:
        case.call(used.train(mode == "train"), given)
    for mode in MODES:
        again = case.outputs(used.train(mode == "train"), BATCH)
        assert_close(again, first[mode], f"in {mode} mode, a pass gives something else after some on other inputs")


LAWS = (trains_as_it_samples, leaves_its_state)


def _same(one: Tensor, other: Tensor) -> bool:
    """Bit by bit, so that NaN is as NaN."""
    alike = (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
    return alike and bytes_of(one) == bytes_of(other)
