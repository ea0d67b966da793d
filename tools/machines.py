"""Run the tests under the settings of other machines: those that such a setting could break, and no more.

    make test-machines                       # all settings, a table at the end; exit 1 where a test failed
    python tools/machines.py --list          # what there is
    python tools/machines.py --only avx2 --only alone

Kernels and threads change rounding, the place changes what files, clocks and words a process finds, and order changes
what ran before in the process. No setting imitates a processor with AMX, whose oneDNN takes more memory:
``tests/audit/test_memory.py`` plants that instead.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]

KERNELS = (
    *("tests/audit/test_memory.py", "tests/evaluate", "tests/flow", "tests/parts", "tests/test_backbone.py"),
    *("tests/test_page_examples.py", "tests/tools", "tests/sampling/test_images.py", "tests/train/test_run.py"),
    *("tests/train/test_trainer.py", "tests/weights/test_golden.py", "tests/weights/test_published.py"),
)
"""Tests of figures that kernels compute."""

THREADS = (
    *("tests/audit/test_memory.py", "tests/cli/test_sample.py", "tests/data/test_stream.py", "tests/evaluate"),
    *("tests/tools/test_bench.py", "tests/sampling/test_images.py"),
    *("tests/train/test_run.py", "tests/train/test_trainer.py"),
)
"""Tests of sums that threads share, and of processes that start others."""

PLACE = ("tests/cli", "tests/data", "tests/evaluate", "tests/recipe", "tests/report", "tests/plugins",
         "tests/test_pages.py", "tests/test_page_examples.py", "tests/runs/test_run_folder.py",
         "tests/runs/test_lock.py", "tests/runs/test_metrics_file.py")  # fmt: skip
"""Tests of files, caches, times and printed text."""


@dataclass(frozen=True)
class Setting:
    """What a test run finds.

    Attributes:
        tests: the files and folders that it runs.
        environment: variables that it sets; None takes one away.
        alone: each file is run in a process of its own.
        shuffled: files, and the tests of each, come in random order.
    """

    tests: tuple[str, ...]
    environment: Mapping[str, str | None] = field(default_factory=dict)
    alone: bool = False
    shuffled: bool = False


SETTINGS = {
    "default": Setting(KERNELS, {"ATEN_CPU_CAPABILITY": "default"}),
    "avx2": Setting(KERNELS, {"ATEN_CPU_CAPABILITY": "avx2"}),
    "onednn-avx2": Setting(KERNELS, {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "onednn-avx512": Setting(KERNELS, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}),
    "1-thread": Setting(THREADS, {"OMP_NUM_THREADS": "1"}),
    "4-threads": Setting(THREADS, {"OMP_NUM_THREADS": "4"}),
    "no-home": Setting(PLACE, {"HOME": None, "XDG_CACHE_HOME": None}),
    "far-away": Setting(PLACE, {"TZ": "Pacific/Kiritimati", "LC_ALL": "C"}),
    "alone": Setting(("tests",), alone=True),
    "shuffled": Setting(("tests",), shuffled=True),
}
"""By name."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        code: pytest's exit code; 0 also where a file has slow tests alone.
        told: pytest's last line, such as "12 passed".
        output: all that pytest printed.
    """

    code: int
    told: str
    output: str


def environment(setting: Setting) -> dict[str, str]:
    """The caller's variables, but for those of the setting."""
    changed = {**os.environ, **setting.environment}
    return {name: value for name, value in changed.items() if value is not None}


def run(setting: Setting, tests: Sequence[str], options: Sequence[str]) -> Outcome:
    """Run the quick tests among some files and folders in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *options, *tests]
    done = subprocess.run(command, cwd=ROOT, env=environment(setting), capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    told = re.findall(r"^(?:=+ )?(\d+ .*|no tests ran.*) in [\d.]+s.*$", output, flags=re.MULTILINE)
    code = 0 if done.returncode == NO_TESTS else done.returncode
    return Outcome(code, told[-1] if told else "ended early", output)


NO_TESTS = 5
"""pytest's exit code where all tests of a file are slow."""


def outcomes(setting: Setting, jobs: int, seed: int) -> Iterator[tuple[str, Outcome]]:
    """What is run under a setting, and what came of it: everything at once, or file by file."""
    if setting.alone:
        files = [str(file) for folder in setting.tests for file in sorted((ROOT / folder).rglob("test_*.py"))]
        quick = [file for file in files if "/browser/" not in file]
        with ThreadPoolExecutor(jobs) as pool:
            yield from zip(quick, pool.map(lambda file: run(setting, [file], ["-n", "0"]), quick), strict=True)
    else:
        order = ["--random-order", "--random-order-seed", str(seed)] if setting.shuffled else []
        yield " ".join(setting.tests), run(setting, setting.tests, ["-n", str(jobs), *order])


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and tell by the exit code whether all passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=SETTINGS, help="a setting; can be given several times")
    parser.add_argument("--list", action="store_true", help="list the settings")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes side by side (default: cores)")
    parser.add_argument("--seed", type=int, help="of the random order (default: another one every time)")
    options = parser.parse_args(argv)
    console = Console(highlight=False, soft_wrap=True)
    if options.list:
        for name, setting in SETTINGS.items():
            console.print(f"{name}: {words(setting)}; {len(setting.tests)} files and folders", markup=False)
        return 0
    seed = random.randrange(2**31) if options.seed is None else options.seed  # noqa: S311 - no secret
    table = Table("setting", "what it is", "tests", "s", "exit code", title=f"random order by --seed {seed}")
    failed = False
    for name in options.only or SETTINGS:
        start = time.monotonic()
        found = list(outcomes(SETTINGS[name], options.jobs, seed))
        seconds = time.monotonic() - start
        for tests, outcome in found:
            if outcome.code:
                console.print(f"{name}: {tests}\n{outcome.output}", markup=False)
        codes = [outcome.code for _, outcome in found]
        told = found[0][1].told if len(found) == 1 else f"{codes.count(0)} of {len(codes)} files passed"
        table.add_row(name, words(SETTINGS[name]), told, f"{seconds:.0f}", str(max(codes)))
        failed |= any(codes)
    console.print(table)
    return int(failed)


def words(setting: Setting) -> str:
    """A setting in a few words."""
    changed = [f"without {name}" if value is None else f"{name}={value}" for name, value in setting.environment.items()]
    if setting.alone:
        changed.append("each file alone")
    if setting.shuffled:
        changed.append("in random order")
    return " ".join(changed)


if __name__ == "__main__":
    sys.exit(main())
