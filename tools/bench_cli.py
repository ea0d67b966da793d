"""Time the command line beside ``import torch``: medians of interleaved runs, as Markdown.

    python tools/bench_cli.py [--runs 7]

Every round runs each command once, in turn, so that all of them meet the same neighbours on a shared machine. The first
round warms the file cache and is not counted. Timing depends on the machine, so this is no test; peak memory is one, in
``tests/audit/test_cost.py``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import track

RECIPE = Path(__file__).parents[1] / "recipes" / "mpdit_xl.yaml"
ZOO = [sys.executable, "-m", "zoo"]
BASELINE = 'python -c "import torch"'
COMMANDS: dict[str, tuple[list[str], float | None]] = {
    BASELINE: ([sys.executable, "-c", "import torch"], None),
    "zoo build --recipe mpdit_xl.yaml --flops": ([*ZOO, "build", "--recipe", str(RECIPE), "--flops"], 3.0),
    "zoo --help": ([*ZOO, "--help"], 0.5),
    "zoo recipes": ([*ZOO, "recipes"], 0.5),
}
"""What is run, and how many times as long as the baseline it may take."""


ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
"""The environment of what is run: with more threads, busy neighbours could make it many times slower."""


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and peak megabytes of a command that has to succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ONE_THREAD)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> int:
    """Measure and print; the exit code is 1 if ``--check`` finds a command over its limit."""
    parser = argparse.ArgumentParser(description="Time the command line beside `import torch`.")
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each command (default: 7)")
    parser.add_argument("--check", action="store_true", help="exit 1 if a command is over its limit")
    arguments = parser.parse_args()
    runs = arguments.runs
    console = Console(stderr=True)
    rounds = range(runs + 1)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in track(rounds, "measuring", console=console, disable=not console.is_terminal, transient=True):
        for name, (command, _) in COMMANDS.items():
            found[name].append(run(command))
    seconds = {name: median(each for each, _ in results[1:]) for name, results in found.items()}
    print(f"| command | median of {runs} (s) | range (s) | x import torch | limit | peak (MB) |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, (_, limit) in COMMANDS.items():
        times = [each for each, _ in found[name][1:]]
        peak = max(each for _, each in found[name][1:])
        ratio = f"{seconds[name] / seconds[BASELINE]:.2f}"
        spread = f"{min(times):.2f} to {max(times):.2f}"
        print(f"| `{name}` | {seconds[name]:.2f} | {spread} | {ratio} | {limit or '-'} | {peak:.0f} |")
    over = [name for name, (_, limit) in COMMANDS.items() if limit and seconds[name] > limit * seconds[BASELINE]]
    return 1 if arguments.check and over else 0


if __name__ == "__main__":
    sys.exit(main())
