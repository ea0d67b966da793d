"""The packages of backbones in plugins/, each installed by itself, as by a stranger."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.plugins.site import install, python, zoo

PLUGINS = Path(__file__).parents[2] / "plugins"
PACKAGES = sorted({path.relative_to(PLUGINS).parts[0] for path in PLUGINS.glob("*/*/recipes/*.yaml")})


@pytest.mark.slow
@pytest.mark.timeout(900)  # a minute or two, on a machine that does nothing else
@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_brings_what_it_says_and_its_own_tests_pass(name: str, tmp_path: Path) -> None:
    site = install(PLUGINS / name, tmp_path)
    (listed,) = json.loads(zoo(site, "plugins", "--json").stdout)
    groups = tomllib.loads((PLUGINS / name / "pyproject.toml").read_text())["project"]["entry-points"]
    assert (listed["state"], set(listed["parts"])) == ("ok", set(groups["zoo.parts"]))
    assert set(listed["recipes"]) == {path.stem for path in (PLUGINS / name).glob("*/recipes/*.yaml")}
    tests = tmp_path / "source" / "tests"
    run = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    done = python(site, *run, timeout=800, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout
