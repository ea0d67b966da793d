"""Plug-ins that are callbacks: plugins/zoo-trackers, installed without the trackers' own libraries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plugins.site import install, python, zoo

TRACKERS = Path(__file__).parents[2] / "plugins" / "zoo-trackers"


@pytest.mark.slow
def test_they_are_listed_and_their_own_tests_pass(tmp_path: Path) -> None:
    site = install(TRACKERS, tmp_path)
    listed = zoo(site, "parts", "--kind", "callback", "--json")
    own = {part["name"] for part in json.loads(listed.stdout) if part["plugin"] == "diffusion-zoo-trackers"}
    assert own == {"wandb", "mlflow"}
    tests = tmp_path / "source" / "tests"
    done = python(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
