"""What schedules of the learning rate promise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar


class Schedule(ABC):
    """The learning rate of every update after the warm-up, as a factor. Constructor: ``(*, options)``.

    ``train.warmup`` goes before any schedule: the rate rises in equal parts to ``train.learning_rate``.
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
        """
