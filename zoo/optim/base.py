"""What optimizers and schedules of the learning rate promise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

Role = Literal["matrix", "norm", "bias", "embedding", "table"]
"""What a weight is for: see ``Weight``."""


@dataclass(frozen=True)
class Weight:
    """A parameter that is trained.

    Attributes:
        name: as in the state dict of the objective, which holds ``backbone`` and ``losses``.
        parameter: under FSDP a DTensor, of which this process has some rows; for an elementwise optimizer these alone.
        role: what it is for: ``"matrix"`` that vectors are multiplied by, or a convolution's; scale of a ``"norm"``;
            ``"bias"``; ``"embedding"``, whose rows are looked up; ``"table"``, all else, such as learned positions.
        in_block: whether it is a block's.
    """

    name: str
    parameter: nn.Parameter
    role: Role
    in_block: bool


class Optimizer(ABC):
    """How weights are updated by their gradients. Constructor: ``(*, options)``.

    Attributes:
        shards: whether it updates weights that FSDP shares out; where not, ``train.parallel: fsdp`` is refused.
        elementwise: whether each number of a weight moves by its own gradients alone. FSDP then has it update the rows
            of this process as plain tensors, which saves the host the most of an update's time; what it keeps of a
            weight is either shaped as these rows or the same on every process.
    """

    kind: ClassVar[str] = "optimizer"
    shards: ClassVar[bool] = True
    elementwise: ClassVar[bool] = False

    @abstractmethod
    def build(
        self, weights: Sequence[Weight], learning_rate: float
    ) -> torch.optim.Optimizer | Sequence[torch.optim.Optimizer]:
        """PyTorch's optimizer of all weights, or several that share them out; each weight is in one group of one.

        Before every update zoo sets the ``lr`` of each group: that of ``build`` times the factor of warm-up and
        schedule. Whatever is in ``state`` of a weight, and in a group, is saved and taken up again: tensors, numbers,
        texts, and lists, tuples and mappings of these; nothing else may decide about an update. Under FSDP what is no
        DTensor has to be the same on every process.

        Where ``train.learning_rate_of`` has factors, it is called once for each, with the weights of that factor.

        Args:
            weights: in the order of the state dict.
            learning_rate: ``train.learning_rate``, times their factor.
        """


class Schedule(ABC):
    """The learning rate of every update after the warm-up, as a factor. Constructor: ``(*, options)``.

    ``train.warmup`` goes before any schedule: the rate rises in equal parts to ``train.learning_rate``. A run may go on
    with other ``steps`` as long as the factors of the updates done are the same with these.
    """

    kind: ClassVar[str] = "schedule"

    @abstractmethod
    def factor(self, step: int, steps: int) -> float:
        """What ``train.learning_rate`` is multiplied by.

        Args:
            step: the update, counted from 0 after the warm-up. It hangs on this alone, and on ``steps``: a run that
                goes on asks from anywhere.
            steps: updates after the warm-up, at least 1; ``step`` is below, but for a run that has trained them all.

        Returns:
            A finite number, not negative.

        Raises:
            ValueError: the training is too short for it, at whatever step.
        """
