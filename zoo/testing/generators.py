"""The random generators that all of a process share: what the kit seeds, and looks at afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch


class Generator(NamedTuple):
    """A random generator of the process."""

    name: str
    seed: Callable[[int], object]
    draw: Callable[[], float]
    state: Callable[[], Any]
    put: Callable[[Any], object]


WATCHED = (
    Generator(
        "torch's global generator",
        torch.default_generator.manual_seed,
        lambda: float(torch.rand((), device="cpu")),
        torch.get_rng_state,
        torch.set_rng_state,
    ),
    Generator("numpy.random", np.random.seed, np.random.random, np.random.get_state, np.random.set_state),
)
GENERATORS = (*WATCHED, Generator("random", random.seed, random.random, random.getstate, random.setstate))
"""Of Python's own, checks of types draw which items of a list to look at; it is seeded all the same."""


@contextmanager
def torch_seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's generator of the CPU, and leave it as it was.

    ``torch.manual_seed`` seeds those of all devices, and notes the stack for each that has not been used yet: a part
    that is built a thousand times would take a second longer.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def seeded(seed: int) -> Iterator[Callable[[], list[str]]]:
    """Seed all of them, give what tells those of the watched that have been drawn from, and leave them as they were."""
    before = [(each, each.state()) for each in GENERATORS]

    def drawn() -> list[str]:
        return [each.name for each in WATCHED if each.draw() != untouched[each.name]]

    try:
        for each in GENERATORS:
            each.seed(seed)
        untouched = {each.name: each.draw() for each in GENERATORS}
        for each in GENERATORS:
            each.seed(seed)
        yield drawn
    finally:
        for each, state in before:
            each.put(state)
