"""Plug-ins as strangers ship them: installed, broken, and at odds with each other; seen from the command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest

from tests.forked import run_zoo
from zoo.plugins import Plugin, visit_plugins

LIGHTNING = Path(__file__).parents[1] / "plugins" / "zoo-lightning"
VERSION = tomllib.loads((LIGHTNING / "pyproject.toml").read_text())["project"]["version"]
RECIPES = ["lightning_b", "lightning_hybrid_b", "lightning_mpdit_b"]

Run = subprocess.CompletedProcess[str]


def python(site: Path, *args: str, **environment: str) -> Run:
    """Run Python with the distributions under ``site`` installed, in a folder without recipes."""
    # Wide help, whatever the terminal; and nothing of what the tests run under leaks in.
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON", "COV"))}
    return subprocess.run(
        [sys.executable, *args],
        env={**clean, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "140", **environment},
        cwd=site.parent,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def zoo(site: Path, *args: str) -> Run:
    return run_zoo(*args, folder=site.parent, path=[site])


def fake(site: Path, name: str, entry_points: Mapping[str, str], source: str | None = None) -> Path:
    """Install a distribution ``name`` 1.0 with one module of that name; ``entry_points`` by group."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("".join(f"[{group}]\n{line}\n" for group, line in entry_points.items()))
    if source is not None:
        (site / f"{name}.py").write_text(textwrap.dedent(source))
    return site


def block(name: str, *, hook: str = "zoo_parts", kind: str = "block", options: str = "") -> str:
    """The source of a plug-in with one part."""
    return f"""
        import zoo
        from zoo.parts.blocks import DiTBlock

        @zoo.part("{kind}", "{name}")
        class Fake(DiTBlock):
            '''DiT's block under another name.'''

            def __init__(self, dim: int, heads: int{options}) -> None:
                super().__init__(dim, heads)

        @zoo.hookimpl
        def {hook}():
            return [Fake]
    """


# -- a plug-in that is well --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lightning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where plugins/zoo-lightning is installed, from a copy, so that building it leaves nothing in the repository."""
    folder = tmp_path_factory.mktemp("lightning")
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    source, site = shutil.copytree(LIGHTNING, folder / "source", ignore=ignored), folder / "site"
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    done = python(site, *pip, "--no-build-isolation", "--target", str(site), str(source))
    assert done.returncode == 0, done.stderr
    return site


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
    assert set(listed["lightning"]["options"]["properties"]) == {"mlp_ratio", "multiple_of"}


def test_its_recipes_are_listed_without_torch(lightning):
    done = python(lightning, "-X", "importtime", "-m", "zoo", "recipes")
    assert done.returncode == 0
    for name in RECIPES:
        assert re.search(rf"^{name} .*LightningDiT's blocks.* diffusion-zoo-lightning {VERSION}", done.stdout, re.M)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "zoo_lightning" in imported
    assert not {"torch", "zoo.parts", "zoo_lightning.parts"} & imported


def test_the_schema_knows_its_parts(lightning, tmp_path):
    schema = tmp_path / "zoo.schema.json"
    schema.write_text(zoo(lightning, "schema").stdout)
    check = ["-m", "check_jsonschema", "--schemafile", str(schema)]
    shipped = sorted((lightning / "zoo_lightning" / "recipes").glob("*.yaml"))
    assert [path.stem for path in shipped] == RECIPES
    done = python(lightning, *check, *map(str, shipped))
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("extends: lightning_b\nbackbone: {block: {type: lightning, multiple_of: 0}}\n")
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


@pytest.mark.slow
def test_its_own_tests_pass(lightning):
    tests = lightning.parent / "source" / "tests"
    done = python(lightning, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout


# -- plug-ins that are broken ------------------------------------------------------------------------------------------

BROKEN = {
    "absent": ("import no_such_module", "No module named 'no_such_module'"),
    "quits": ("raise SystemExit(3)", "SystemExit: 3"),
    "misspelt": (block("misspelt", hook="zoo_part"), "unknown hook 'zoo_part'"),
    "silent": ("import zoo", "gives no part: mark its zoo_parts() with @zoo.hookimpl"),
    "starred": (block("starred", options=", *sizes: int"), "a part takes no *args and no **kwargs"),
    "untyped": (block("untyped", options=", *, width=3"), "option 'width' has no type"),
    "misplaced": (block("misplaced", kind="head"), "marked as a head, but does not derive from that kind's base class"),
    "greedy": (block("greedy", options=", colour: str = ''"), "supplies no 'colour'"),
}
"""By distribution: its module, and what the user must be told."""


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them at once, and among them one that is well."""
    site = tmp_path_factory.mktemp("broken") / "site"
    for name, (source, _) in BROKEN.items():
        fake(site, name, {"zoo.parts": f"any = {name}"}, source)
    return fake(site, "well", {"zoo.parts": "any = well"}, block("well"))


@pytest.fixture(scope="module")
def listing(broken: Path) -> Run:
    return zoo(broken, "parts", "--kind", "block", "--json")


def test_the_rest_works_without_them(listing):
    assert listing.returncode == 0
    assert [part["name"] for part in json.loads(listing.stdout)] == ["dit", "well"]


@pytest.mark.parametrize("name", BROKEN)
def test_each_is_named_with_its_reason(listing, name):
    (line,) = [line for line in listing.stderr.splitlines() if f"plug-in {name} 1.0 " in line]
    assert BROKEN[name][1] in line


def test_tracebacks_come_on_request(broken, listing):
    assert "Traceback" not in listing.stderr
    assert "--debug" in listing.stderr
    assert re.search(r'Traceback .*absent\.py", line 1.*no_such_module', zoo(broken, "parts", "--debug").stderr, re.S)


def test_a_missing_part_may_be_in_one_of_them(broken):
    done = zoo(broken, "build", "--recipe", "dit_b", "--set", "backbone.block=swin")
    assert (done.returncode, done.stdout) == (2, "")
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "there is no block 'swin'" in error
    assert "absent (ModuleNotFoundError: No module named 'no_such_module')" in error
    assert "zoo parts --debug" in error


def test_a_part_of_another_plugin_is_built_nevertheless(broken):
    done = zoo(broken, "build", "--recipe", "dit_b", "--set", "backbone.block=well", "--json")
    assert done.returncode == 0
    (own,) = [part for part in json.loads(done.stdout)["parts"] if part["kind"] == "block"]
    assert (own["type"], own["plugin"]) == ("well", "well")


# -- plug-ins at odds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["parts"], ["build", "--recipe", "dit_b"], ["schema"]], ids=lambda each: each[0])
def test_two_claim_one_name(tmp_path, command):
    site = tmp_path / "site"
    for name in ("one", "other"):
        fake(site, name, {"zoo.parts": f"any = {name}"}, block("swin"))
    done = zoo(site, *command)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "two plug-ins claim block 'swin'" in line
    assert "one 1.0" in line
    assert "other 1.0" in line


def test_a_builtin_name_is_taken(tmp_path):
    done = zoo(fake(tmp_path / "site", "usurper", {"zoo.parts": "any = usurper"}, block("dit")), "parts")
    assert done.returncode == 2
    assert re.search(r"claim block 'dit': zoo .* and usurper 1\.0", done.stderr)


def test_two_ship_recipes_of_one_name(tmp_path):
    site = tmp_path / "site"
    for name in ("one", "other"):
        fake(site, name, {"zoo.recipes": f"any = {name}_recipes"})
        (site / f"{name}_recipes").mkdir()
        (site / f"{name}_recipes" / "swin.yaml").write_text("# Swin.\nextends: dit_b\n")
    done = zoo(site, "build", "--recipe", "swin")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "one_recipes" in line
    assert "other_recipes" in line


# -- recipes and commands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry_point", "source", "reason"),
    [
        ("any = shelf.recipes", None, "No module named 'shelf'"),
        ("any = shelf", "", "'shelf' is no package"),
        ("any = shelf.recipes", "raise RuntimeError('lost')", "RuntimeError: lost"),
    ],
    ids=["missing", "module", "raises"],
)
def test_recipes_that_cannot_be_found(tmp_path, entry_point, source, reason):
    site = fake(tmp_path / "site", "shelf", {"zoo.recipes": entry_point}, source)
    done = zoo(site, "recipes")
    assert done.returncode == 0
    assert "mpdit_b " in done.stdout
    (line,) = done.stderr.splitlines()
    assert "shelf" in line
    assert reason in line
    build = zoo(site, "build", "--recipe", "swin")
    assert build.returncode == 2
    assert re.search(rf"no such recipe.*shelf.*{re.escape(reason)}", build.stderr)


GREET = """
    from zoo.errors import ZooError

    def greet(name: str = "you") -> None:
        '''Say hello.'''
        if name == "nobody":
            raise ZooError("nobody is no one to greet")
        print("hello,", name)
"""


def test_a_command(tmp_path):
    site = fake(tmp_path / "site", "greeter", {"zoo.cli": "greet = greeter:greet"}, GREET)
    listed = zoo(site, "--help")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert re.search(r"greet +Say hello\.", listed.stdout)
    assert zoo(site, "greet", "--name", "zoo").stdout == "hello, zoo\n"


def test_an_error_in_a_command_is_one_line(tmp_path):
    site = fake(tmp_path / "site", "greeter", {"zoo.cli": "greet = greeter:greet"}, GREET)
    done = zoo(site, "greet", "--name", "nobody")
    assert (done.returncode, done.stderr) == (2, "error: nobody is no one to greet\n")


@pytest.mark.parametrize(
    ("name", "source", "reason"),
    [
        ("greet", "import no_such_module", "No module named 'no_such_module'"),
        ("greet", "raise SystemExit(3)", "3"),
        ("greet", "greet = 3", "callable"),
        ("build", "def greet() -> None: ...", "command 'build': zoo has one already"),
    ],
    ids=["import", "quits", "not_callable", "taken"],
)
def test_a_command_that_is_broken(tmp_path, name, source, reason):
    done = zoo(fake(tmp_path / "site", "greeter", {"zoo.cli": f"{name} = greeter:greet"}, source), "--help")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert "plug-in greeter 1.0 failed to load, its commands are missing" in line
    assert reason in line
    assert "Compose a backbone from a recipe" in done.stdout


def test_two_have_one_command(tmp_path):
    site = tmp_path / "site"
    for name in ("one", "other"):
        fake(site, name, {"zoo.cli": f"greet = {name}:greet"}, f"def greet() -> None: print('{name}')")
    done = zoo(site, "--help")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert "'greet'" in line
    assert re.search(r"\bone\b", line)
    assert re.search(r"\bother\b", line)


def test_a_distribution_that_cannot_be_read_is_named_and_the_rest_goes_on(monkeypatch):
    class Broken:
        name, version = "broken", "1.0"

        @property
        def entry_points(self) -> None:
            raise TypeError("no equals sign")

    class Sound:
        name, version = "sound", "2.0"
        entry_points = (metadata.EntryPoint("it", "sound:it", "zoo.parts"), metadata.EntryPoint("no", "x", "other"))

    monkeypatch.setattr(metadata, "distributions", lambda: [Sound(), Broken()])
    visited = []
    failures = visit_plugins("zoo.parts", lambda plugin, entry_point: visited.append((plugin, entry_point.name)))
    assert visited == [(Plugin("sound", "2.0"), "it")]
    assert [(each.plugin.name, each.reason) for each in failures] == [("broken", "TypeError: no equals sign")]
