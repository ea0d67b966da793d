"""A new package with a part of every kind passes its own tests, installed."""

import os
import subprocess
import sys

import pytest

from zoo.kinds import KINDS
from zoo.scaffold import Names, write_package

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)  # it holds all the kit's laws on a part of every kind
def test_passes_its_own_tests(tmp_path):
    folder, site = tmp_path / "zoo-mine", tmp_path / "site"
    write_package(folder, Names.of("zoo-mine"), list(KINDS))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", site, folder], check=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON", "COV"))}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "xfailed" not in run.stdout  # nor breaks a law that parts need not keep
