"""A step of one checkout beside that of another: that both train; how fast either is, is not asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_times_a_step_of_two_checkouts(tmp_path):
    other = tmp_path / "other"
    other.symlink_to(ROOT)
    command = [sys.executable, "tools/bench_step.py", str(other), "--recipe", "digits_dit", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--steps", "1", "--check", "--most", "0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    heads, _, row = done.stdout.splitlines()
    assert heads == "| recipe | here (ms a step) | there | median ratio of 1 rounds | quartiles |"
    recipe, here, there, ratio, _ = (cell.strip() for cell in row.strip("|").split("|"))
    assert recipe == "digits_dit"
    assert float(ratio) == pytest.approx(float(here) / float(there), rel=0.05)
