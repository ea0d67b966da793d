"""What a step of one checkout launches beside that of another: of one and the same, the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_counts_a_step_of_two_checkouts(tmp_path):
    other = tmp_path / "other"
    other.symlink_to(ROOT)
    command = [sys.executable, "tools/bench_launches.py", str(other), "--recipe", "digits_dit"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    heads, _, row = done.stdout.splitlines()
    assert heads.startswith("| recipe | launches there | here | GB there | here |")
    recipe, *counts = (cell.strip() for cell in row.strip("|").split("|"))
    assert recipe == "digits_dit"
    assert counts[::2] == counts[1::2]
    assert int(counts[0].replace(",", "")) > 300  # of six blocks, there and back
    assert float(counts[6]) < float(counts[2])
