"""All packages in plugins/ at once, as one user has them; and each of them taken away again."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plugins.site import install, python, zoo

PLUGINS = Path(__file__).parents[2] / "plugins"
PACKAGES = sorted(path.parent.name for path in PLUGINS.glob("*/pyproject.toml"))
OF_BACKBONES = [name for name in PACKAGES if any((PLUGINS / name).glob("*/recipes/*.yaml"))]

MIXED = {
    "extends": "digits_mpdit",
    "packages": ["diffusion-zoo-conv", "diffusion-zoo-lightning", "diffusion-zoo-linear"],
    "backbone": {
        "latent": {"channels": 1, "height": 16, "width": 16},
        "dim": 48,
        "heads": 2,
        "depth": 4,
        "position": "rope",
        "time_embedder": "sinusoidal",
        "class_conditioner": "embedding",
        "modulation": "adaln_zero",
        "patch_schedule": {"type": "by_depth", "levels": [{"patch": 4, "blocks": 2}, {"patch": 2, "blocks": 2}]},
        "upsampler": "conv_shuffle",
        "block": [
            {"type": "lightning", "blocks": 2},
            {"type": "dit", "blocks": 2, "attention": "sana", "mlp": "gelu"},
        ],
    },
    "train": {"steps": 20, "batch": 32, "log_every": 1, "checkpoint_every": 20},
}
"""A hybrid of parts of three packages."""

BUILDS = """
import sys
import zoo
names = sys.argv[1:]
for name in names:
    zoo.build(zoo.load_recipe(name), device="meta")
print(len(names))
"""


def described(name: str) -> dict[str, Any]:
    """A package's own metadata."""
    return tomllib.loads((PLUGINS / name / "pyproject.toml").read_text("utf-8"))["project"]


def recipes_of(name: str) -> set[str]:
    return {path.stem for path in (PLUGINS / name).glob("*/recipes/*.yaml")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of them are installed."""
    folder = tmp_path_factory.mktemp("together")
    for name in PACKAGES:
        install(PLUGINS / name, folder / name, folder / "site")
    return folder / "site"


def without(site: Path, name: str, folder: Path) -> Path:
    """Where all but one are."""
    own = (name.replace("-", "_"), f"diffusion_{name.replace('-', '_')}-")
    rest = folder / "site"
    rest.mkdir(parents=True)
    for path in site.iterdir():
        if not path.name.startswith(own):
            (rest / path.name).symlink_to(path)
    return rest


@pytest.mark.slow
def test_all_are_listed_and_all_their_recipes_build(site):
    listed = {each["distribution"]: each for each in json.loads(zoo(site, "plugins", "--json").stdout)}
    assert set(listed) == {f"diffusion-{name}" for name in PACKAGES}
    assert {each["state"] for each in listed.values()} == {"ok"}
    parts = json.loads(zoo(site, "parts", "--json").stdout)
    for name in PACKAGES:
        own = {f"{part['kind']}/{part['name']}" for part in parts if part["plugin"] == f"diffusion-{name}"}
        assert own == set(described(name)["entry-points"]["zoo.parts"])
    names = sorted(set().union(*map(recipes_of, OF_BACKBONES)))
    done = python(site, "-c", BUILDS, *names, OMP_NUM_THREADS="1")
    assert (done.returncode, done.stdout.strip()) == (0, str(len(names))), done.stderr


@pytest.mark.slow
def test_a_hybrid_of_three_packages_learns_on_two_ranks(site):
    (site.parent / "mixed.yaml").write_text(yaml.safe_dump(MIXED), "utf-8")
    done = python(
        site, "-m", "zoo", "train", "-r", "mixed.yaml", "--procs", "2", "--run-dir", "run", OMP_NUM_THREADS="1"
    )
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, (site.parent / "run" / "metrics.jsonl").read_text("utf-8").splitlines())
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 20
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    for name, part in (
        ("zoo-lightning", "block 'lightning'"),
        ("zoo-linear", "'sana'"),
        ("zoo-conv", "'conv_shuffle'"),
    ):
        rest = without(site, name, site.parent / "mixed" / name)
        shutil.copy(site.parent / "mixed.yaml", rest.parent)
        done = zoo(rest, "sample", "--run", str(site.parent / "run"), "--count", "1", "--out", str(rest / "out"))
        version = described(name)["version"]
        assert (done.returncode, done.stdout) == (2, "")
        assert f"comes from diffusion-{name} {version}, which is not installed" in done.stderr, part
        done = zoo(rest, "build", "--recipe", "mixed.yaml")
        assert done.returncode == 2
        assert re.findall(r"mixed.yaml:\d+: packages: (\S+) is not installed", done.stderr) == [f"diffusion-{name}"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_taken_away_leaves_the_rest_whole(site, name, tmp_path):
    rest = without(site, name, tmp_path)
    listed = json.loads(zoo(rest, "plugins", "--json").stdout)
    assert {each["distribution"] for each in listed} == {f"diffusion-{other}" for other in PACKAGES if other != name}
    assert {each["state"] for each in listed} == {"ok"}
    for other in OF_BACKBONES:
        recipe = min(recipes_of(other))
        done = zoo(rest, "build", "--recipe", recipe)
        assert done.returncode == (2 if other == name else 0), done.stderr
        if other == name:
            assert recipe in done.stderr
