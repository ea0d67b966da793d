"""Plug-ins that are broken: a line each, and the rest works."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.plugins.site import Run, block, fake, python, zoo

BROKEN = {
    "absent": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "quits": ("raise SystemExit(3)", "SystemExit: 3"),
    "says": ("print('no licence'); raise SystemExit(1)", "SystemExit: 1 (it printed 'no licence')"),
    "panics": ("raise BaseException('panic')", "BaseException: panic"),
    "misspelt": (block("misspelt", hook="zoo_part"), "unknown hook 'zoo_part'"),
    "silent": ("import zoo", "gives no part: mark its zoo_parts() with @zoo.hookimpl"),
    "starred": (block("starred", options=", *sizes: int"), "a part takes no *args and no **kwargs"),
    "untyped": (block("untyped", options=", *, width=3"), "option 'width' has no type"),
    "misplaced": (block("misplaced", kind="head"), "marked as a head, but does not derive from Head; let it"),
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
    for command in ("parts", "plugins"):
        told = zoo(broken, command, "--debug").stderr
        assert re.search(r'Traceback .*absent\.py", line 1.*no_such_module', told, re.S)


def test_a_missing_part_may_be_in_one_of_them(broken):
    done = zoo(broken, "build", "--recipe", "dit_b", "--set", "backbone.block=swin")
    assert (done.returncode, done.stdout) == (2, "")
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "there is no block 'swin'" in error
    assert "absent (ModuleNotFoundError: No module named 'no_such_module')" in error
    assert error.endswith("; see `zoo plugins`")


def test_a_part_of_another_plugin_is_built_nevertheless(broken):
    done = zoo(broken, "build", "--recipe", "dit_b", "--set", "backbone.block=well", "--json")
    assert done.returncode == 0
    (own,) = [part for part in json.loads(done.stdout)["parts"] if part["kind"] == "block"]
    assert (own["type"], own["plugin"]) == ("well", "well")


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


def test_a_group_of_commands(tmp_path):
    source = """
        import typer

        app = typer.Typer(help="For guests.")

        @app.command()
        def greet() -> None:
            print("hello")
    """
    site = fake(tmp_path / "site", "guests", {"zoo.cli": "guests = guests:app"}, source)
    assert re.search(r"guests +For guests\.", zoo(site, "--help").stdout)
    assert zoo(site, "guests", "greet").stdout == "hello\n"


def test_an_error_in_a_command_is_one_line(tmp_path):
    site = fake(tmp_path / "site", "greeter", {"zoo.cli": "greet = greeter:greet"}, GREET)
    done = zoo(site, "greet", "--name", "nobody")
    assert (done.returncode, done.stderr) == (2, "error: nobody is no one to greet\n")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("greet = 3", "greeter:greet is not callable; let the entry point name a function or a Typer app"),
        ("def greet(n: int | str) -> None: ...", "AssertionError: Typer currently doesn't support Union types"),
    ],
    ids=["import", "quits", "not_callable", "no_option"],
)
def test_a_command_that_is_broken(tmp_path, source, reason):
    site = fake(tmp_path / "site", "greeter", {"zoo.cli": "greet = greeter:greet"}, source)
    told = f"warning: command 'greet' comes from greeter 1.0, which failed to load: {reason}\n"
    done = zoo(site, "--help")
    assert (done.returncode, done.stderr) == (0, told)
    assert "Compose a backbone from a recipe" in done.stdout
    done = zoo(site, "greet")
    assert (done.returncode, done.stderr.startswith(told)) == (2, True)
    assert "no such command 'greet'" in done.stderr
    done = zoo(site, "recipes")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_of_zoo_stays_its_own(tmp_path):
    site = fake(tmp_path / "site", "greeter", {"zoo.cli": "build = greeter:greet"}, GREET)
    done = zoo(site, "--help")
    assert done.stderr == (
        "warning: command 'build' is zoo's own and stays so, which greeter 1.0 claims; give that one another name\n"
    )
    done = zoo(site, "build", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Compose a backbone from a recipe" in done.stdout


def test_a_distribution_that_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path):
    site = fake(tmp_path / "site", "shelf", {"zoo.recipes": "any = shelf"})
    (site / "shelf-1.0.dist-info" / "entry_points.txt").write_text("[zoo.recipes]\nno equals sign\n")
    done = zoo(site, "recipes")
    assert (done.returncode, "mpdit_b " in done.stdout) == (0, True)
    assert re.fullmatch(
        r"warning: plug-in shelf 1\.0 is left out: it has metadata that cannot be read \(.*\); install it again, or"
        r" uninstall it\n",
        done.stderr,
    )


def test_a_group_that_is_misspelt_is_told(tmp_path):
    site = fake(tmp_path / "site", "mine", {"zoo.part": "block/mine = mine:Mine"}, "")
    fake(site, "zoologist", {"zoo.animals": "any = zoologist"}, "")
    done = zoo(site, "plugins")
    assert done.returncode == 2
    assert done.stderr == (
        "warning: plug-in mine 1.0 is left out: it has entry points in 'zoo.part', where zoo looks for none; did you"
        " mean 'zoo.parts'?\n"
    )
    assert "zoologist" not in done.stdout


@pytest.mark.parametrize(("missing", "who"), [("Name", "without a name in {site} 1.0"), ("Version", "vague unknown")])
def test_metadata_that_lack_a_field_are_told_in_a_line(tmp_path, missing, who):
    site = fake(tmp_path / "site", "vague", {"zoo.parts": "any = vague"}, block("vague"))
    file = site / "vague-1.0.dist-info" / "METADATA"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith(missing)))
    done = zoo(site, "plugins")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith(
        f"plug-in {who.format(site=site)} is left out: it has no {missing} in its METADATA; install it again"
    )
    listing = zoo(site, "parts", "--kind", "block")
    assert listing.returncode == 0
    assert "vague" not in listing.stdout
    done = zoo(site, "plugins", plugins="none")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def garbled(tmp_path):
    """A package that does not plug in, with entry points that nobody can read; and among the rest one that is well."""
    site = fake(tmp_path / "site", "garbled", {"its.own": "no entry point"})
    return fake(site, "well", {"zoo.parts": "any = well"}, block("well"))


def test_entry_points_that_nobody_can_read_are_told_in_a_line_and_the_rest_works(garbled):
    """Though pydantic and PyTorch read those of all packages, and could not be imported."""
    done = python(garbled, "-m", "zoo", "build", "--recipe", "dit_s", "--set", "backbone.block=well", "--json")
    assert done.returncode == 0
    assert "well" in {part["plugin"] for part in json.loads(done.stdout)["parts"]}
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: plug-in garbled 1.0 is left out: it has metadata that cannot be read (")
    assert line.endswith("; install it again, or uninstall it")
    assert python(garbled, "-c", "import zoo, torch, pydantic").stderr == ""


def test_the_list_shows_whose_entry_points_nobody_can_read(garbled):
    done = zoo(garbled, "plugins", "--json")
    rows = [(row["distribution"], row["state"]) for row in json.loads(done.stdout)]
    assert (done.returncode, rows) == (2, [("garbled", "failed"), ("well", "ok")])


def test_a_section_of_entry_points_without_its_bracket_is_told(tmp_path):
    site = fake(tmp_path / "site", "open-ended", {"zoo.parts": "any = well"}, "")
    (site / "open_ended-1.0.dist-info" / "entry_points.txt").write_text("[zoo.parts\nany = well\n")
    done = zoo(site, "plugins")
    assert done.returncode == 2
    assert done.stderr == (
        "warning: plug-in open-ended 1.0 is left out: it has '[zoo.parts' in its entry_points.txt, without a closing"
        " bracket; mend it, or install it again\n"
    )


def test_a_version_of_zoo_that_nobody_can_read_is_told(tmp_path):
    site = fake(tmp_path / "site", "vague", {"zoo.parts": "any = vague"}, "", requires="Diffusion_Zoo >>> 1")
    fake(site, "other", {"zoo.parts": "any = other"}, block("other"), requires="diffusion-zoo-extras >>> 1")
    done = zoo(site, "plugins")
    assert done.returncode == 2
    assert done.stderr == (
        "warning: plug-in vague 1.0 is left out: it has metadata that cannot be read (ValueError: Requires-Dist:"
        " Diffusion_Zoo >>> 1); install it again, or uninstall it\n"
    )


def test_all_that_can_be_read_is_left_as_it_is(tmp_path):
    site = fake(tmp_path / "site", "well", {"zoo.parts": "any = well"}, block("well"))
    own = "importlib.metadata.Distribution.entry_points"
    code = f"import importlib.metadata; before = {own}; import zoo; print({own} is before)"
    assert python(site, "-c", code).stdout == "True\n"
