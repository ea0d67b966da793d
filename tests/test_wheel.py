"""What is shipped: the wheel, used as it is installed, away from the source."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_has_the_recipes(tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", tmp_path / "site", ROOT], check=True)
    run = subprocess.run(
        [sys.executable, "-m", "zoo", "recipes", "--paths"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    shipped = {Path(line).name for line in run.stdout.splitlines() if str(tmp_path) in line}
    assert shipped == {path.name for path in (ROOT / "recipes").rglob("*.yaml")}
