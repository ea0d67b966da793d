"""Time a training step of this checkout beside one of another, as Markdown.

    git worktree add ../before REVISION && make -C ../before .venv/.installed
    python tools/bench_step.py ../before [--recipe digits_dit] [--rounds 15] [--set train.batch=8]

Both train in processes of their own, which take turns: some steps here, as many there, so that both meet the same
neighbours on a shared machine. A ratio is that of one round, and the first one, which warms up, is not counted. CPU
seconds of a process are measured, on one thread, from update to update: reading, logging and averages among them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.progress import track

HERE = Path(__file__).parents[1]
GO = "go\n"


def train(recipe: str, steps: int, changes: Sequence[str]) -> None:
    """Train until the input ends: as many steps for every line of it, whose mean seconds are printed.

    What is imported of zoo is the same in every checkout since runs have folders.
    """
    import torch

    from zoo import Registry, load_recipe
    from zoo.distributed.distributed import join_processes
    from zoo.runs.run_folder import RunFolder
    from zoo.train.run import Run, Silent

    class Turns(Silent):
        done, since = 0, 0.0

        def step(self, *_: Any, **__: Any) -> None:
            if self.done % steps == 0:
                if self.done:
                    print((time.process_time() - self.since) / steps, flush=True)
                if not sys.stdin.readline():
                    os._exit(0)
                self.since = time.process_time()
            self.done += 1

    torch.set_num_threads(1)
    registry = Registry()
    endless = [f"train.{each}=1000000" for each in ("steps", "checkpoint_every")]
    with join_processes("cpu") as world:
        own = load_recipe(recipe, [*changes, *endless], registry)
        Run(own, RunFolder(Path(tempfile.mkdtemp()) / "run"), registry, world, Turns()).train()


def start(checkout: Path, recipe: str, steps: int, changes: Sequence[str], folder: str) -> subprocess.Popen[str]:
    """A process that trains by the code and the environment of a checkout, in a folder, and waits for its turns."""
    own = checkout / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else sys.executable
    command = [python, __file__, str(checkout), "--recipe", recipe, "--steps", str(steps), "--train"]
    command += [word for each in changes for word in ("--set", each)]
    own_variables = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout), "PYTHONWARNINGS": "ignore", "TMPDIR": folder}
    environment = {**os.environ, **own_variables}
    return subprocess.Popen(
        command, cwd=checkout, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def turn(process: subprocess.Popen[str]) -> float:
    """Mean seconds of the steps of a turn."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(GO)
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"training ended: {' '.join(map(str, process.args))}")  # type: ignore[arg-type]
    return float(line)


def measure(
    other: Path, recipe: str, steps: int, rounds: int, changes: Sequence[str]
) -> tuple[list[float], list[float]]:
    """Seconds of a step, a round each: here, and there."""
    found: tuple[list[float], list[float]] = ([], [])
    console = Console(stderr=True)
    shown = track(range(rounds + 1), recipe, console=console, disable=not console.is_terminal, transient=True)
    with tempfile.TemporaryDirectory() as folder:
        processes = [start(checkout, recipe, steps, changes, folder) for checkout in (HERE, other.resolve())]
        try:
            for each in shown:
                for side in (0, 1) if each % 2 else (1, 0):
                    found[side].append(turn(processes[side]))
        finally:
            for process in processes:
                process.kill()
                process.wait()
    return found[0][1:], found[1][1:]


def main() -> int:
    """Measure and print; the exit code is 1 if ``--check`` finds a step that costs over ``--most`` times the other."""
    parser = argparse.ArgumentParser(description="A training step of this checkout beside one of another.")
    parser.add_argument("other", type=Path, help="the other checkout, with a .venv of its own")
    parser.add_argument("--recipe", action="append", help="may be repeated (default: digits_dit and digits_hybrid)")
    parser.add_argument("--rounds", type=int, default=15, help="counted rounds (default: 15)")
    parser.add_argument("--steps", type=int, default=10, help="of a round, on each side (default: 10)")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the recipes; may be repeated")
    parser.add_argument("--most", type=float, default=1.03, help="what --check lets pass (default: 1.03)")
    parser.add_argument("--check", action="store_true", help="exit 1 if the median of the ratios is over --most")
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    recipes = arguments.recipe or ["digits_dit", "digits_hybrid"]
    if arguments.train:
        train(recipes[0], arguments.steps, arguments.set)
    over = False
    print(f"| recipe | here (ms a step) | there | median ratio of {arguments.rounds} rounds | quartiles |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for recipe in recipes:
        here, there = measure(arguments.other, recipe, arguments.steps, arguments.rounds, arguments.set)
        ratios = [one / other for one, other in zip(here, there, strict=True)]
        low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        own, others = (1000 * median(each) for each in (here, there))
        print(f"| {recipe} | {own:.1f} | {others:.1f} | {median(ratios):.3f} | {low:.3f} to {high:.3f} |", flush=True)
        over |= median(ratios) > arguments.most
    return 1 if arguments.check and over else 0


if __name__ == "__main__":
    sys.exit(main())
