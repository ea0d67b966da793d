"""What an audit itself costs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "recipes" / "mpdit_xl.yaml"
LIMIT_MB = 600


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="peak memory of a child is told on Unix alone")
@pytest.mark.parametrize("options", [["--flops"], ["--json"]], ids=["table", "json"])
def test_audit_of_the_largest_model_allocates_nothing(options: list[str]) -> None:
    """481 M parameters would be 1.9 GB."""
    command = [sys.executable, "-m", "zoo", "build", "--recipe", str(RECIPE), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    peak_mb = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    assert peak_mb < LIMIT_MB
    if "--json" in options:
        assert json.loads(printed)["params"]["total"] == pytest.approx(481.2e6, abs=0.1e6)
    else:
        assert "56.428 G" in printed
