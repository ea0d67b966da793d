"""What is shipped: the wheel, used as it is installed, away from the source."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with nothing but what the wheel installs."""
    site = tmp_path_factory.mktemp("wheel") / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", site, ROOT], check=True)
    return site


def test_the_wheel_has_the_recipes(site):
    run = subprocess.run(
        [sys.executable, "-m", "zoo", "recipes", "--paths"],
        cwd=site.parent,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    shipped = {Path(line).name for line in run.stdout.splitlines() if str(site) in line}
    assert shipped == {path.name for path in (ROOT / "recipes").rglob("*.yaml")}


@pytest.mark.parametrize(
    ("folder", "one"), [("zoo/report/page/templates", "run.html"), ("zoo/scaffold/package", "recipe.yaml.jinja")]
)
def test_the_wheel_has_the_templates(site, folder, one):
    names = {path.name for path in (ROOT / folder).iterdir()}
    assert one in names
    assert {path.name for path in (site / folder).iterdir()} == names


def test_pytest_has_the_option_and_leaves_the_asserts_of_zoo_alone(site):
    (site.parent / "test_it.py").write_text(
        "import zoo.errors\n\n"
        "def test_it(pytestconfig):\n"
        "    assert pytestconfig.getoption('--zoo-plugin') == []\n"
        f"    assert zoo.errors.__file__.startswith({str(site)!r})\n"
        "    assert 'AssertionRewritingHook' not in type(zoo.errors.__loader__).__name__\n",
        "utf-8",
    )
    env = {"PYTHONPATH": str(site), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-m", "pytest", "test_it.py"], cwd=site.parent, env=env, check=True)
