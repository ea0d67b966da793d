"""A plug-in that is well: plugins/zoo-lightning, installed, and seen from the command line."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.plugins.site import install, python, zoo

LIGHTNING = Path(__file__).parents[2] / "plugins" / "zoo-lightning"
VERSION = tomllib.loads((LIGHTNING / "pyproject.toml").read_text())["project"]["version"]
RECIPES = sorted(path.stem for path in LIGHTNING.glob("zoo_lightning/recipes/*.yaml"))


@pytest.fixture(scope="module")
def lightning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where plugins/zoo-lightning is installed."""
    return install(LIGHTNING, tmp_path_factory.mktemp("lightning"))


def test_its_parts_are_listed_with_their_origin(lightning):
    done = zoo(lightning, "parts")
    assert (done.returncode, done.stderr) == (0, "")
    own = [line for line in done.stdout.splitlines() if line.rstrip().endswith(f"diffusion-zoo-lightning {VERSION}")]
    assert [re.search(r"\b(rope|lightning)\b", line).group() for line in own] == ["lightning"]


def test_its_parts_are_listed_as_json(lightning):
    done = zoo(lightning, "parts", "--kind", "block", "--json")
    listed = {part["name"]: part for part in json.loads(done.stdout)}
    assert set(listed) == {"dit", "lightning"}
    assert (listed["lightning"]["plugin"], listed["lightning"]["version"]) == ("diffusion-zoo-lightning", VERSION)
    assert set(listed["lightning"]["options"]["properties"]) == {"mlp_ratio", "qk_norm"}


def test_its_recipes_are_listed_without_torch(lightning):
    done = python(lightning, "-X", "importtime", "-m", "zoo", "recipes")
    assert done.returncode == 0
    for name in RECIPES:
        assert re.search(rf"^{name} +Lightning.* diffusion-zoo-lightning {VERSION}", done.stdout, re.M)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "zoo_lightning" in imported
    assert not {"torch", "zoo.parts", "zoo_lightning.block"} & imported


def test_it_is_listed(lightning):
    done = zoo(lightning, "plugins", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    own = {
        "distribution": "diffusion-zoo-lightning",
        "version": VERSION,
        "requires": "diffusion-zoo>=0.1",
        "parts": ["block/lightning"],
        "formats": [],
        "recipes": RECIPES,
        "commands": [],
        "state": "ok",
        "problems": [],
    }
    assert json.loads(done.stdout) == [own]
    unloaded = {**own, "recipes": ["all of zoo_lightning.recipes"], "state": "not loaded"}
    assert json.loads(zoo(lightning, "plugins", "--json", "--no-load").stdout) == [unloaded]


def test_what_it_would_bring_is_listed_without_an_import(lightning):
    done = python(lightning, "-X", "importtime", "-m", "zoo", "plugins", "--no-load")
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "zoo.plugins" in imported
    assert not {"torch", "zoo_lightning"} & imported
    row = (
        r"diffusion-zoo-lightning +\S+ +diffusion-zoo>=0\.1 +block/lightning +- +all of zoo_lightning\.recipes +- +not"
    )
    assert re.search(row, done.stdout)


def test_the_schema_knows_its_parts(lightning, tmp_path):
    schema = tmp_path / "zoo.schema.json"
    schema.write_text(zoo(lightning, "schema").stdout)
    check = ["-m", "check_jsonschema", "--schemafile", str(schema)]
    shipped = sorted((lightning / "zoo_lightning" / "recipes").glob("*.yaml"))
    assert [path.stem for path in shipped] == RECIPES
    done = python(lightning, *check, *map(str, shipped))
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("extends: lightning_b\nbackbone: {block: {type: lightning, mlp_ratio: 0}}\n")
    assert python(lightning, *check, str(wrong)).returncode == 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_its_recipes_are_audited(lightning, recipe):
    done = zoo(lightning, "build", "--recipe", recipe, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    parts = {part["kind"]: part for part in json.loads(done.stdout)["parts"]}
    assert (parts["block"]["type"], parts["block"]["plugin"]) == ("lightning", "diffusion-zoo-lightning")
    assert parts["block"]["macs"] > 0
    assert (parts["position"]["type"], parts["position"]["plugin"]) == ("rope", "zoo")
    assert (parts["head"]["type"], parts["head"]["plugin"]) == ("linear", "zoo")


def test_its_block_needs_a_position_that_gives_angles(lightning):
    done = zoo(lightning, "build", "--recipe", "lightning_b", "--set", "backbone.position=sincos")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "block 'lightning' needs rotary angles, and position 'sincos' gives none" in line


def test_the_built_in_attention_turns_where_a_position_has_angles(lightning):
    assert zoo(lightning, "build", "--recipe", "dit_s", "--set", "backbone.position=rope").returncode == 0


def test_runs_of_blocks_of_two_packages(lightning):
    runs = "backbone.block=[{type: dit, blocks: 6}, {type: lightning, blocks: 6}]"
    mixed = ["--recipe", "mpdit_b", "--set", runs, "--set", "backbone.position=rope"]
    done = zoo(lightning, "build", *mixed, "--flops", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (blocks,) = [part for part in json.loads(done.stdout)["parts"] if part["kind"] == "block"]
    assert (blocks["type"], blocks["plugin"]) == ("dit, lightning", "zoo, diffusion-zoo-lightning")
    done = zoo(lightning, "build", *mixed[:-2])
    assert (done.returncode, done.stdout) == (2, "")
    assert "block 'lightning' needs rotary angles, and position 'sincos' gives none" in done.stderr


def test_a_head_width_that_cannot_be_turned_is_told(lightning):
    done = zoo(lightning, "build", "--recipe", "lightning_b", "--set", "backbone.heads=384")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "rope: dim / heads must divide by 4" in line


def test_without_it_its_recipes_are_not_found(tmp_path):
    done = zoo(tmp_path / "site", "build", "--recipe", "lightning_b")
    assert (done.returncode, done.stdout) == (2, "")
    assert "lightning_b: there is no such recipe" in done.stderr
