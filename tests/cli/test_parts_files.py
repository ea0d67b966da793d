"""``--parts FILE``: every command takes parts from a file, and a run keeps a copy that only a user can have run."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer
import yaml

from tests import commands
from tests.commands import done, zoo
from tests.train.small import VALUES
from zoo import hookimpl, part
from zoo.callbacks import Callback
from zoo.cli import app
from zoo.flow.solvers import EulerSolver
from zoo.parts.blocks import DiTBlock
from zoo.plugins import Plugin
from zoo.registry import Registry

SOURCE = '''
import zoo
from zoo.callbacks import Callback
from zoo.data.digits import Digits, DigitsSource
from zoo.errors import DataError
from zoo.flow.solvers import EulerSolver
from zoo.parts.blocks import DiTBlock


@zoo.part("block", "mine")
class MyBlock(DiTBlock):
    """As DiT's."""


@zoo.part("solver", "mine")
class MySolver(EulerSolver):
    """As Euler's."""


@zoo.part("callback", "mine")
class MyCallback(Callback):
    """Does nothing."""


class MySource(DigitsSource):
    def read(self, indices, random):
        if 3 in indices:
            raise DataError("the fourth is damaged")
        return super().read(indices, random)


@zoo.part("dataset", "mine")
class MyDigits(Digits):
    """As zoo's, one of which cannot be read."""

    def open(self, split="train"):
        source = super().open(split)
        source.__class__ = MySource
        return source
'''


@part("block", "mine")
class TheirBlock(DiTBlock):
    """Of a package."""


@part("solver", "mine")
class TheirSolver(EulerSolver):
    """Of a package."""


@part("callback", "mine")
class TheirCallback(Callback):
    """Of a package."""


OWN = ("--set", "backbone.block=mine", "--set", "sample.solver=mine")
READING = {
    *("build", "compare", "data check", "diagram", "ema", "eval", "export", "import", "inflate", "parts", "report"),
    *("sample", "schema", "sweep", "train"),
}
"""Commands that read recipes, runs or weights, or list parts."""


def refused(*words: object) -> str:
    return commands.refused(zoo(*words), told=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a recipe, a file of parts, and a run that has them."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "my_parts.py").write_text(SOURCE)
    (folder / "small.yaml").write_text(yaml.safe_dump(VALUES))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done("train", "--recipe", "small.yaml", *OWN, "--parts", "my_parts.py", "--run-dir", "run")
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in made.iterdir():
        Path(path.name).symlink_to(path)
    return tmp_path


@pytest.fixture
def own_run(made, tmp_path, monkeypatch):
    """The same, to write to."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "own"))


@pytest.fixture
def copy(made):
    (found,) = (made / "run/parts").glob("*/my_parts.py")
    return Path("run", found.relative_to(made / "run"))


def subcommands() -> dict[str, list[str]]:
    """The options of every command, by its words."""
    leaves = {}
    for name, command in typer.main.get_command(app).commands.items():
        below = {f"{name} {leaf}": each for leaf, each in getattr(command, "commands", {}).items()} or {name: command}
        leaves |= {leaf: [word for each in one.params for word in each.opts] for leaf, one in below.items()}
    return leaves


def test_every_command_that_reads_parts_takes_files_of_them():
    assert READING - {name for name, options in subcommands().items() if "--parts" in options} == set()


def test_a_recipe_is_built_with_the_parts_of_a_file(here):
    done("build", "--recipe", "small.yaml", *OWN, "--parts", "my_parts.py", "--out", "w.safetensors")
    table = done("build", "--recipe", "small.yaml", *OWN, "--parts", "my_parts.py", "--flops").stdout
    assert [line.split()[:3] for line in table.splitlines() if " mine " in line][:1] == [
        ["block", "mine", "my_parts.py"]
    ]


def test_parts_lists_those_of_a_file(here):
    listed = json.loads(done("parts", "--json", "--kind", "solver", "--parts", "my_parts.py").stdout)
    (own,) = [each for each in listed if each["name"] == "mine"]
    assert (own["plugin"], own["version"][:7], own["summary"]) == ("my_parts.py", "sha256:", "As Euler's.")
    assert '"mine"' in done("schema", "--parts", "my_parts.py").stdout


def told_by_check(*words: object) -> str:
    found = zoo("data", "check", *words, "--leave-out", "list.txt")
    assert found.exit_code == 3, found.stderr
    return found.stderr.splitlines()[-1].removeprefix("to train without these samples: ")


def test_the_command_that_a_check_of_data_tells_gives_the_file(own_run):
    words = (*OWN, "--set", "data.dataset=mine", "--set", "data.workers=0", "--parts", "my_parts.py")
    told = told_by_check("--recipe", "small.yaml", *words)
    assert told.endswith(" --set data.leave_out=list.txt --parts my_parts.py")
    done(*shlex.split(told)[1:], "--run-dir", "more")
    Path("list.txt").unlink()
    again = told_by_check("--run", "more", "--set", "data.leave_out=null", "--parts", "my_parts.py")
    assert again == "zoo train --resume --run-dir more --set data.leave_out=list.txt --parts my_parts.py"


def test_a_sample_that_cannot_be_read_is_left_out_by_a_command_with_the_copy(own_run):
    words = (*OWN, "--set", "data.dataset=mine", "--set", "data.workers=1", "--set", "train.steps=300")
    result = zoo("train", "--recipe", "small.yaml", *words, "--parts", "my_parts.py", "--run-dir", "more")
    assert result.exit_code == 3
    (copy,) = Path("more/parts").glob("*/my_parts.py")
    assert f"zoo train --resume --run-dir more --parts {copy} --set 'data.leave_out=" in result.stderr.splitlines()[-1]


def test_a_file_that_fails_is_one_line(here):
    Path("broken.py").write_text("import zoo\n1 / 0\n")
    assert refused("parts", "--parts", "broken.py") == "broken.py:2: ZeroDivisionError: division by zero"
    assert refused("schema", "--parts", "none.py") == "none.py: there is no such file of parts"


PAIRS = """
import zoo
from zoo.flow.solvers import HeunSolver


@zoo.part("solver", "pairs")
class Pairs(HeunSolver):
    def levels(self, steps):
        if steps % 2:
            raise ValueError("takes steps by twos")
        return super().levels(steps)
"""


def test_a_solver_that_refuses_a_number_of_steps_is_one_line_before_anything_is_drawn(here):
    Path("pairs.py").write_text(PAIRS)
    words = ("--parts", "pairs.py", "--set", "sample.solver=pairs")
    said = "small: sample.steps: solver pairs refuses 3: takes steps by twos"
    odd = (*words, "--set", "sample.steps=3")
    assert refused("build", "--recipe", "small.yaml", *odd, "--flops") == said
    assert refused("train", "--recipe", "small.yaml", *odd, "--run-dir", "more") == said
    assert refused("sample", "--run", "run", "--parts", "my_parts.py", *odd, "--out", "odd") == said
    assert not Path("more/metrics.jsonl").exists()
    assert not Path("odd").exists()
    done("build", "--recipe", "small.yaml", *words, "--set", "sample.steps=2", "--flops")


def test_a_run_keeps_a_copy_and_its_hash(here, copy):
    assert copy.read_bytes() == Path("my_parts.py").read_bytes()
    recorded = json.loads(Path("run/run.json").read_text())[-1]["versions"]
    assert recorded["packages"]["my_parts.py"] == f"sha256:{copy.parent.name}"
    assert {each["kind"] for each in recorded["parts"] if each["plugin"] == "my_parts.py"} == {"block", "solver"}
    first = Path("run/recipe.yaml").read_text().splitlines()[0]
    assert first.endswith(f"zoo train --resume --run-dir run --parts {copy}")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ("block 'mine' and solver 'mine'", "train --resume --run-dir run"),
        ("block 'mine' and solver 'mine'", "sample --run run --out images"),
        ("block 'mine' and solver 'mine'", "eval --run run"),
        ("block 'mine' and solver 'mine'", "compare --runs run"),
        ("block 'mine' and solver 'mine'", "report --run run --out page.html"),
        ("block 'mine'", "export run --to zoo --out w.safetensors"),
        ("block 'mine'", "inflate run --recipe hybrid_b --out w.safetensors"),
    ],
)
def test_no_run_makes_zoo_run_its_copy_and_the_message_says_how_to(here, copy, parts, words):
    come = "come" if " and " in parts else "comes"
    assert refused(*words.split()) == (
        f"run: {parts} {come} from my_parts.py, in no package, which zoo does not run by itself; give --parts {copy}"
        " (in Python, parts=)"
    )


def test_the_copy_draws_what_the_file_draws(here, copy):
    for name, file in {"own": "my_parts.py", "copied": copy}.items():
        assert "sha256" not in done("sample", "--run", "run", "--count", 2, "--out", name, "--parts", file).stderr
    assert Path("own/grid.png").read_bytes() == Path("copied/grid.png").read_bytes()
    assert json.loads(Path("own/samples.json").read_text())["plugins"]["my_parts.py"] == f"sha256:{copy.parent.name}"


def test_another_file_than_was_trained_with_is_told(here, copy):
    Path("other.py").write_text(f"{SOURCE}# changed\n")
    told = done("export", "run", "--to", "zoo", "--out", "w.safetensors", "--parts", "other.py").stderr
    assert "made with block 'mine' of my_parts.py; here are block 'mine' of other.py" in told
    assert f"(sha256:{copy.parent.name})" in refused("sample", "--run", "w.safetensors", "--out", "images")


@pytest.fixture
def package(monkeypatch):
    """A package whose parts have the names of the file's."""
    registry = Registry()
    module = ModuleType("their_parts")
    module.zoo_parts = hookimpl(lambda: [TheirBlock, TheirSolver, TheirCallback], specname="zoo_parts")
    registry.register(module, Plugin("their-parts", "1.0"))
    monkeypatch.setattr(Registry, "installed", classmethod(lambda cls: registry))


@pytest.mark.parametrize(
    "words",
    ["sample --run run --out images", "compare --runs run", "train --resume --run-dir run --set train.steps=4"],
)
def test_a_package_with_parts_of_the_same_names_is_refused(own_run, package, words):
    before = Path("run/run.json").read_bytes()
    (kept,) = Path("run/parts").glob("*/my_parts.py")
    assert refused(*words.split()) == (
        f"run/checkpoints/step_00000003: block 'mine' is of their-parts 1.0 here, and was of my_parts.py"
        f" sha256:{kept.parent.name}; uninstall their-parts, or leave it out by ZOO_PLUGINS, and give --parts {kept}"
    )
    assert Path("run/run.json").read_bytes() == before
    assert not Path("images").exists()


def test_what_may_change_while_a_run_goes_on_may_become_a_packages(here, request):
    own = ("--set", "train.callbacks=[mine]", "--set", "sample.solver=mine", "--parts", "my_parts.py")
    done("train", "--recipe", "small.yaml", *own, "--run-dir", "more")
    request.getfixturevalue("package")
    assert "solver 'mine' is of their-parts 1.0 here" in refused("sample", "--run", "more", "--out", "none")
    told = done("train", "--resume", "--run-dir", "more", "--set", "train.steps=4").stderr
    assert "callback 'mine' of my_parts.py" in told
    assert "callback 'mine' of their-parts" in told
    done("sample", "--run", "more", "--count", 1, "--out", "images")  # of the checkpoint that their parts have written


def test_another_run_starts_from_weights_of_a_file_that_became_a_package(here, package):
    words = (*OWN, "--run-dir", "more", "--set", "train.init=run")
    assert "made with block 'mine' of my_parts.py; here are block 'mine' of their-parts" in " ".join(
        done("train", "--recipe", "small.yaml", *words).stderr.split()
    )


def test_a_file_takes_the_place_of_a_package(here, package, monkeypatch):
    done("train", "--recipe", "small.yaml", *OWN, "--run-dir", "more")
    monkeypatch.setattr(Registry, "installed", classmethod(lambda cls: Registry()))
    told = done("export", "more", "--to", "zoo", "--out", "w.safetensors", "--parts", "my_parts.py").stderr
    assert "made with block 'mine' of their-parts; here are block 'mine' of my_parts.py" in told


def test_a_copy_that_was_changed_is_not_offered(own_run):
    (copy,) = Path("run/parts").glob("*/my_parts.py")
    copy.write_text("import os")
    assert str(copy) not in refused("sample", "--run", "run", "--out", "images")
    told = zoo("train", "--resume", "--run-dir", "run", "--set", "train.steps=4", "--parts", "my_parts.py")
    expected = f"error: {copy}: is no copy of my_parts.py any more; move it elsewhere"
    assert (told.exit_code, told.stderr.splitlines()[-1]) == (3, expected)


def test_a_run_goes_on_with_a_changed_file_and_keeps_both(own_run):
    Path("my_parts.py").write_text(f"{SOURCE}# changed\n")
    more = ("--set", "train.steps=4")
    told = done("train", "--resume", "--run-dir", "run", *more, "--parts", "my_parts.py").stderr
    assert "warning: run/checkpoints/step_00000003: made with my_parts.py sha256:" in told
    kept = {path.read_text() for path in Path("run/parts").glob("*/my_parts.py")}
    assert kept == {SOURCE, f"{SOURCE}# changed\n"}
    going_on = shlex.split(Path("run/recipe.yaml").read_text().splitlines()[0])
    assert Path(going_on[-1]).read_text() == f"{SOURCE}# changed\n"


SPAWNING = """
import multiprocessing, sys
from zoo.cli import main
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "options"), [(["-m", "zoo"], ["--procs", "2"]), (["spawning.py"], [])], ids=["ranks", "spawned workers"]
)
def test_processes_that_begin_anew_have_the_file(own_run, start, options):
    Path("my_parts.py").write_text(SOURCE.replace("if 3 in indices", "if False"))
    Path("spawning.py").write_text(SPAWNING)
    given = ["--recipe", "small.yaml", *OWN, "--set", "data.dataset=mine", "--set", "data.workers=1"]
    words = ["train", *given, "--parts", "my_parts.py", "--run-dir", "more", *options]
    result = subprocess.run([sys.executable, *start, *words], capture_output=True, text=True, timeout=240, check=False)
    assert (result.returncode, "wrote more: checkpoints" in result.stderr) == (0, True), result.stderr
