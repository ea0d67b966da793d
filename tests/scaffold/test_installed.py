"""A new package with a part of every kind passes its own tests, installed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.kinds import KINDS
from zoo.scaffold import Names, write_package

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)  # it holds all the kit's laws on a part of every kind
def test_passes_its_own_tests(tmp_path):
    folder = tmp_path / "zoo-mine"
    write_package(folder, Names.of("zoo-mine"), list(KINDS))
    said = pytest_of(folder)
    assert "xfailed" not in said  # nor breaks a law that parts need not keep


def test_its_tests_go_on_with_parts_and_recipe_of_other_names(tmp_path):
    folder = tmp_path / "zoo-mine"
    write_package(folder, Names.of("zoo-mine"), ["block", "metric"])
    places = [
        folder / "pyproject.toml",
        folder / "README.md",
        *(folder / "zoo_mine").rglob("*.py"),
        *folder.rglob("*.yaml"),
    ]
    for path in places:
        path.write_text(re.sub(r"\bmine\b", "own", path.read_text("utf-8")), "utf-8")
    (folder / "zoo_mine/recipes/mine_trial.yaml").rename(folder / "zoo_mine/recipes/small.yaml")
    assert " passed" in pytest_of(folder, "tests/test_recipe.py")


def pytest_of(folder: Path, *arguments: str) -> str:
    """Install a package beside its folder and run its tests, which all have to pass; what they print."""
    site = folder.parent / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", site, folder], check=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON", "COV"))}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout
