"""What a benchmark is held to, what came out of it, and rounds in which every candidate meets the same neighbours."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles

import torch
from rich.console import Console
from rich.progress import track

Run = Callable[[], object]


@dataclass(frozen=True)
class Target:
    """How much less something has to cost than something else.

    Attributes:
        benchmark: the name that ``--only`` takes.
        subject: what has to cost less.
        baseline: than what.
        at_least: how many times the subject's cost the baseline's has to be.
        at_most: or else, what share of the baseline's cost the subject's may be.
    """

    benchmark: str
    subject: str
    baseline: str
    at_least: float | None = None
    at_most: float | None = None

    def ratio(self, subject: float, baseline: float) -> float:
        """Baseline over subject where it has to be at least something, subject over baseline where at most."""
        return subject / baseline if self.at_least is None else baseline / subject

    def is_met(self, ratio: float) -> bool:
        """Whether a ratio is on the right side of the bound."""
        return (self.at_least is None or ratio >= self.at_least) and (self.at_most is None or ratio <= self.at_most)

    def __str__(self) -> str:
        return f"≤ {self.at_most:g} x" if self.at_least is None else f"≥ {self.at_least:g} x"


@dataclass(frozen=True)
class Result:
    """What came out of a benchmark.

    Attributes:
        target: what was to come out.
        subject: costs, one a round.
        baseline: costs in the same rounds.
        unit: of the costs.
        allowed: the ratio of multiply-adds (of tokens, for memory), exact; None where it says nothing.
    """

    target: Target
    subject: tuple[float, ...]
    baseline: tuple[float, ...]
    unit: str
    allowed: float | None = None

    @property
    def ratios(self) -> tuple[float, ...]:
        """The ratio of every round."""
        return tuple(self.target.ratio(*costs) for costs in zip(self.subject, self.baseline, strict=True))

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """The first and the third quartile of the rounds' ratios."""
        if len(self.ratios) == 1:
            return self.ratio, self.ratio
        low, _, high = quantiles(self.ratios, n=4, method="inclusive")
        return low, high

    @property
    def problem(self) -> str | None:
        """One line that says how the target was missed; None if it was not."""
        if self.target.is_met(self.ratio):
            return None
        target = self.target
        return f"{target.benchmark}: {target.subject} beside {target.baseline}: {self.ratio:.3f} x, not {target}"


def interleaved(name: str, runs: Mapping[str, Run], rounds: int) -> dict[str, tuple[float, ...]]:
    """Seconds of every run in every round: A, B, C, A, B, C, ...; a first round is not counted.

    CPU seconds of this process where PyTorch has one thread; else elapsed ones, since threads that wait use CPU too.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {each: [] for each in runs}
    console = Console(stderr=True)
    for _ in track(range(rounds + 1), name, console=console, disable=not console.is_terminal, transient=True):
        for each, run in runs.items():
            start = clock()
            run()
            seconds[each].append(clock() - start)
    return {each: tuple(found[1:]) for each, found in seconds.items()}
