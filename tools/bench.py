"""Measure what patch schedules, stored latents and the multi-tensor average save, beside what multiply-adds allow.

    python tools/bench.py                    # print the table
    python tools/bench.py --check            # the same, and exit 1 if a target is missed
    python tools/bench.py --only training_s  # one benchmark

Every round runs each candidate once, in turn, so that all of them meet the same neighbours on a shared machine; a ratio
is that of one round, and the table has the median and the quartiles of all rounds. The first round warms up and is not
counted. On one thread, CPU seconds of this process are measured, which neighbours disturb far less than elapsed ones.
All parameters are random, since backbones start with gates and heads of zero. It takes about ten minutes.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from statistics import median

import torch
from bench_passes import bench_memory, bench_sampling, bench_training
from bench_plan import bench_plan
from bench_rounds import Result
from bench_stored import bench_ema, bench_latents

SHORT = 5
"""Times as many rounds of what takes a moment."""

BENCHMARKS: dict[str, Callable[[int], list[Result]]] = {
    "training_s": lambda rounds: bench_training(
        "training_s", "dit_s", {"ppflow_s_2": 1.45, "ppflow_s_3": 1.80}, rounds
    ),
    "training_b": lambda rounds: bench_training("training_b", "dit_b", {"mpdit_b": 1.35, "hybrid_b": 1.95}, rounds),
    "sampling": lambda rounds: bench_sampling("sampling", rounds),
    "memory": lambda rounds: bench_memory("memory"),
    "latents": lambda rounds: bench_latents("latents", rounds * SHORT),
    "ema": lambda rounds: bench_ema("ema", rounds * SHORT),
    "plan": lambda rounds: bench_plan("plan", "dit_s", ("ppflow_s_2", "ppflow_s_3"), rounds),
    "plan_b": lambda rounds: bench_plan("plan_b", "dit_b", ("mpdit_b", "hybrid_b"), rounds),
}
"""Every benchmark by its name; each takes the number of rounds."""


def markdown(results: Sequence[Result]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield "| what | takes | beside | takes | target | multiply-adds allow | measured | quartiles | of what is allowed |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for result in results:
        target, (low, high) = result.target, result.spread
        cells = [
            target.subject,
            _cost(result.subject, result.unit),
            target.baseline,
            _cost(result.baseline, result.unit),
            str(target),
            "-" if result.allowed is None else f"{result.allowed:.3f} x",
            f"{result.ratio:.3f} x" if result.problem is None else f"**{result.ratio:.3f} x**",
            "exact" if len(result.ratios) == 1 else f"{low:.3f} to {high:.3f}",
            "-" if result.allowed is None else f"{result.ratio / result.allowed:.1%}",
        ]
        yield "| " + " | ".join(cells) + " |"


def conditions(rounds: int) -> str:
    """Under which conditions the table was measured."""
    threads = torch.get_num_threads()
    clock = "1 thread, CPU seconds" if threads == 1 else f"{threads} threads, elapsed seconds"
    return (
        f"PyTorch {torch.__version__} on {platform.machine()}, {clock}; medians of {rounds} interleaved rounds"
        f" (latents and ema: {rounds * SHORT}), and quartiles of the rounds' ratios. Memory is counted, not timed:"
        " tokens say there what is allowed, not multiply-adds."
    )


def _cost(costs: Sequence[float], unit: str) -> str:
    return f"{median(costs):.3g} {unit}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit code is 1 if ``--check`` finds a target missed."""
    parser = argparse.ArgumentParser(description="What zoo saves, measured beside what multiply-adds allow.")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="run this benchmark; may be repeated")
    parser.add_argument("--rounds", type=_positive, default=9, help="counted rounds (default: 9)")
    parser.add_argument("--threads", type=_positive, default=1, help="threads of PyTorch (default: 1)")
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or PyTorch's profiler reports its progress on stderr
    torch.set_num_threads(chosen.threads)
    results = [result for name in chosen.only or BENCHMARKS for result in BENCHMARKS[name](chosen.rounds)]
    print(conditions(chosen.rounds), "", *markdown(results), sep="\n")
    missed = [result.problem for result in results if result.problem is not None]
    if missed:
        print("missed:", *missed, sep="\n  ", file=sys.stderr)
    return 1 if chosen.check and missed else 0


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
