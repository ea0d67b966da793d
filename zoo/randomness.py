"""Randomness as a function of where it is used: seed, purpose, step and sample. Free of torch.

Philox is counter-based (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3): each (step, index) has a stretch
of 2^64 numbers of its own, so that no draw depends on the number of processes, or on what was drawn before.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What randomness is for. Values are part of what makes a run repeatable: never change one."""

    ORDER = 0
    FLOW = 1
    AUGMENT = 2
    SAMPLE = 3
    SOLVER = 4
    POSTERIOR = 5
    LABELS = 6


def generator_at(seed: int, purpose: Purpose, step: int, index: int) -> np.random.Generator:
    """The generator of one place.

    Args:
        seed: of the run, in [0, 2^64).
        purpose: what is drawn.
        step: of training, or epoch, or update of a solver.
        index: of the sample in the global batch, or among all samples to be drawn.
    """
    key = np.array([seed, purpose], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, index, step, 0], dtype=np.uint64)))
