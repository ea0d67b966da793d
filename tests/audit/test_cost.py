"""What an audit itself costs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "recipes" / "mpdit_xl.yaml"
LIMIT_MB = 600

PEAK = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10), file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A small process between: a child's peak begins with that of the process that started it."""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="peak memory of a child is told on Unix alone")
@pytest.mark.parametrize("options", [["--flops"], ["--json"]], ids=["table", "json"])
def test_audit_of_the_largest_model_allocates_nothing(options: list[str]) -> None:
    """481 M parameters would be 1.9 GB."""
    command = [sys.executable, "-m", "zoo", "build", "--recipe", str(RECIPE), *options]
    done = subprocess.run([sys.executable, "-c", PEAK, *command], capture_output=True, text=True, check=True)
    assert float(done.stderr.splitlines()[-1]) < LIMIT_MB
    if "--json" in options:
        assert json.loads(done.stdout)["params"]["total"] == pytest.approx(481.2e6, abs=0.1e6)
    else:
        assert "56.428 G" in done.stdout
