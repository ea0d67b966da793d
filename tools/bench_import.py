"""Peak memory of importing a checkpoint the size of a recipe's, as Markdown.

    python tools/bench_import.py [--recipe sit_xl] [--format sit] [--check]

Weights are random and thrown away; they take three times the checkpoint's size on the disk, in a temporary folder.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_cli import ONE_THREAD, run

ZOO = [sys.executable, "-m", "zoo"]
LIMIT = 1.3
"""How many times the size of the file the peak may be."""


def main() -> int:
    """Measure and print; the exit code is 1 if ``--check`` finds the peak over its limit."""
    parser = argparse.ArgumentParser(description="Peak memory of importing a checkpoint.")
    parser.add_argument("--recipe", default="sit_xl", help="whose size it has (default: sit_xl)")
    parser.add_argument("--format", default="sit", help="whose checkpoint it is (default: sit)")
    parser.add_argument("--check", action="store_true", help=f"exit 1 if the peak is over {LIMIT} x the file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, theirs, back = (folder / file for file in ("ours.safetensors", "theirs.pt", "back.safetensors"))
        recipe = ["--recipe", arguments.recipe]
        for words in (
            ["build", *recipe, "--out", str(ours)],
            ["export", str(ours), "--to", arguments.format, "--out", str(theirs)],
        ):
            subprocess.run([*ZOO, *words], stdout=subprocess.DEVNULL, check=True, env=ONE_THREAD)
        seconds, peak = run([*ZOO, "import", str(theirs), *recipe, "--out", str(back)])
        size = theirs.stat().st_size / 2**20
    print("| checkpoint | size (MB) | import: peak (MB) | x size | limit | s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    print(f"| {arguments.recipe} | {size:.0f} | {peak:.0f} | {peak / size:.2f} | {LIMIT} | {seconds:.1f} |")
    return 1 if arguments.check and peak > LIMIT * size else 0


if __name__ == "__main__":
    sys.exit(main())
