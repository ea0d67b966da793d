"""What is shipped: the wheel, used as it is installed, away from the source."""

import os
import re
import subprocess
import sys
import tomllib
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


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_without_extras_all_that_needs_none_imports_and_audits(site):
    extras = {re.split(r"[\[>]", each)[0] for listed in PROJECT["optional-dependencies"].values() for each in listed}
    absent = sorted(name.replace("-", "_") for name in extras)
    assert {"diffusers", "hypothesis", "pytest", "tensorboard"} <= set(absent)
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "import zoo.callbacks, zoo.cli, zoo.data, zoo.evaluate, zoo.flow, zoo.optim, zoo.parts, zoo.weights\n"
        f"assert zoo.__file__.startswith({str(site)!r})\n"
        "zoo.cli.main()\n"
    )
    audit = ["build", "--recipe", "digits_hybrid", "--flops", "--json"]
    env = {"PYTHONPATH": str(site), "PATH": os.environ["PATH"]}
    run = subprocess.run(
        [sys.executable, "-c", code, *audit], cwd=site.parent, env=env, capture_output=True, check=True
    )
    assert b'"macs":' in run.stdout


def test_an_index_shows_a_front_page_without_the_files_of_the_repository(site):
    (metadata,) = site.glob("diffusion_zoo-*.dist-info/METADATA")
    text = metadata.read_text("utf-8").partition("\n\n")[2]
    assert "pip install diffusion-zoo" in text
    assert "## What does it cost?" in text
    assert not re.findall(r"\]\((?!https://)|<img|href=|make demo", text)
