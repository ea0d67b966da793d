"""Weights of other versions of a plug-in or of PyTorch are told; a part of another package is refused."""

import json
import shutil
import warnings
from types import ModuleType

import pytest

import zoo
from tests.train.small import ALONE, VALUES
from zoo.assembly import load_recipe
from zoo.errors import PluginError
from zoo.flow.solvers import EulerSolver
from zoo.parts.blocks import DiTBlock
from zoo.plugins import Plugin
from zoo.registry import Registry
from zoo.train.run_folder import RunFolder
from zoo.train.session import Session, Silent
from zoo.train.weights import open_weights


@zoo.part("block", "mine")
class Mine(DiTBlock):
    """A block of a plug-in."""


@zoo.part("solver", "other_euler")
class OtherEuler(EulerSolver):
    """Of a plug-in that training does not use."""


def registry(name="my-parts", version="1.0", parts=(Mine,)):
    module = ModuleType(name)
    module.zoo_parts = zoo.hookimpl(lambda: list(parts), specname="zoo_parts")
    found = Registry()
    found.register(module, Plugin(name, version))
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "small"
    own = registry()
    recipe = load_recipe({**VALUES, "backbone": {**VALUES["backbone"], "block": "mine"}}, (), own)
    Session(recipe, RunFolder(path), own, ALONE, Silent()).run()
    return path


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def file_of(run, tmp_path):
    zoo.save(zoo.load(run, registry=registry()), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.mark.parametrize("as_file", [False, True])
def test_the_same_versions_say_nothing(as_file, run, tmp_path):
    path = file_of(run, tmp_path) if as_file else run
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_weights(path, registry())


@pytest.mark.parametrize("as_file", [False, True])
def test_another_version_of_a_plug_in_is_told(as_file, run, tmp_path):
    path = file_of(run, tmp_path) if as_file else run
    with pytest.warns(UserWarning, match=f"{path}: made with my-parts 1.0; here are my-parts 1.1$"):
        open_weights(path, registry(version="1.1"))


def edit(run, **values):
    started = json.loads((run / "run.json").read_text())
    started[-1].update(values)
    (run / "run.json").write_text(json.dumps(started))


def test_another_pytorch_is_told_and_another_build_of_it_is_not(run):
    edit(run, torch="2.0.1+cu118")
    with pytest.warns(UserWarning, match=r"made with torch 2\.0\.1\+cu118; here are torch "):
        open_weights(run, registry())
    edit(run, torch=zoo.assembly.loading.torch.__version__.partition("+")[0] + "+cu999")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_weights(run, registry())


@pytest.mark.parametrize("as_file", [False, True])
def test_a_part_of_another_package_is_refused(as_file, run, tmp_path):
    path = file_of(run, tmp_path) if as_file else run
    with pytest.raises(PluginError) as caught:
        open_weights(path, registry("their-parts"))
    assert str(caught.value) == (
        f"{path}: block 'mine' is of plug-in their-parts here, and was of my-parts==1.0; uninstall their-parts and"
        " pip install my-parts==1.0"
    )
    assert caught.value.exit_code == 2


def test_going_on_with_parts_of_another_package_is_refused(run):
    other = registry("their-parts")
    values = {**VALUES, "backbone": {**VALUES["backbone"], "block": "mine"}, "train": {**VALUES["train"], "steps": 4}}
    with pytest.raises(PluginError, match="block 'mine' is of plug-in their-parts here"):
        Session(load_recipe(values, (), other), RunFolder(run), other, ALONE, Silent()).run(resume=True)


def test_only_parts_in_use_and_on_record_count(run):
    """A solver that was chosen for drawing may be of any package."""
    from zoo.assembly import check_recorded
    from zoo.recipe import recorded_in

    both = registry(parts=(Mine,))
    module = ModuleType("later")
    module.zoo_parts = zoo.hookimpl(lambda: [OtherEuler], specname="zoo_parts")
    both.register(module, Plugin("later", "3"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_recorded(recorded_in(run, ["sample.solver=other_euler"]), both)
        check_recorded(recorded_in(run), both)
