"""Weights of other versions of a plug-in or of PyTorch are told; parts of another package, or version, are refused."""

import hashlib
import json
import warnings
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import pytest

import zoo
from tests.train.small import ALONE, VALUES
from zoo.assembly import check_recorded, load_recipe
from zoo.errors import PluginError, RunError, WeightsError
from zoo.flow.solvers import EulerSolver
from zoo.parts.blocks import DiTBlock
from zoo.plugins import Plugin, zoo_version
from zoo.recipe import recorded_in, versions
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import open_weights
from zoo.sampling.images import SampleRun, draw_samples
from zoo.train.run import Run, Silent
from zoo.weights import write_weights


@zoo.part("block", "mine")
class Mine(DiTBlock):
    """A block of a plug-in."""


@zoo.part("block", "mine")
class MineAnew(DiTBlock):
    """The same, which computes something else by now."""

    version = 2


@zoo.part("solver", "steady")
class Steady(EulerSolver):
    """A solver of a plug-in."""


@zoo.part("solver", "steady")
class SteadyAnew(EulerSolver):
    """The same, which computes something else by now."""

    version = 2


def with_plugins(*given):
    """The built-in parts and those of plug-ins: a name, a version, and classes each."""
    found = Registry()
    for name, version, *classes in given:
        module = ModuleType(name)
        module.zoo_parts = zoo.hookimpl(lambda classes=classes: classes, specname="zoo_parts")
        found.register(module, Plugin(name, version))
    return found


def registry(version="1.0", block=Mine, solver=Steady):
    return with_plugins(("my-parts", version, block), ("my-solvers", "1.0", solver))


def recipe_of(registry, **train):
    parts = {"backbone": {"block": "mine"}, "sample": {"solver": "steady"}, "train": {"keep_last": 3, **train}}
    merged = {name: {**VALUES[name], **parts.get(name, {})} for name in ("backbone", "train", "sample")}
    return load_recipe({"name": "small", **merged}, (), registry)


def train(path, registry, *, resume=False, **values):
    Run(recipe_of(registry, **values), RunFolder(path), registry, ALONE, Silent()).train(resume=resume)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with my-parts 1.0; checkpoints of steps 2 and 3."""
    path = tmp_path_factory.mktemp("runs") / "small"
    train(path, registry())
    return path


def file_of(run, tmp_path):
    """The same as a weight file, by what `zoo export` does."""
    given = open_weights(run, registry())
    write_weights(tmp_path / "w.safetensors", given.tensors, given.recipe, versions=given.versions)
    return tmp_path / "w.safetensors"


@pytest.fixture(params=["run", "file"])
def made(request, run, tmp_path):
    """A run or a weight file, what messages call it, and what train.init takes."""
    path = run if request.param == "run" else file_of(run, tmp_path)
    return path, path / "checkpoints/step_00000003" if request.param == "run" else path


@contextmanager
def silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_the_same_versions_say_nothing(made):
    with silence():
        given = open_weights(made[0], registry())
    assert given.recipe.plugins().items() >= {"my-parts": "1.0", "my-solvers": "1.0"}.items()


def test_another_version_of_a_plug_in_is_told(made):
    path, where = made
    with pytest.warns(UserWarning, match=f"^{where}: made with my-parts 1.0; here are my-parts 1.1$"):
        open_weights(path, registry("1.1"))


def test_a_copy_of_weights_says_what_they_were_made_with(run, tmp_path):
    with pytest.warns(UserWarning, match="my-parts 1.1"):
        given = open_weights(run, registry("1.1"))
    write_weights(tmp_path / "w.safetensors", given.tensors, given.recipe, versions=given.versions)
    with silence():
        open_weights(tmp_path / "w.safetensors", registry("1.0"))


def test_another_pytorch_is_told_and_another_build_of_it_is_not(made, monkeypatch):
    path, where = made
    own = versions.metadata.version("torch").partition("+")[0]
    monkeypatch.setattr(versions, "metadata", SimpleNamespace(version=lambda name: f"{own}+cu999"))
    with silence():
        open_weights(path, registry())
    monkeypatch.setattr(versions, "metadata", SimpleNamespace(version=lambda name: "99.0"))
    with pytest.warns(UserWarning, match=rf"^{where}: made with torch {own}\S*; here are torch 99\.0$"):
        open_weights(path, registry())


def with_starts(run, change):
    started = json.loads((run / "run.json").read_text())
    change(started)
    (run / "run.json").write_text(json.dumps(started))


HARM = {
    "gone": lambda run: (run / "run.json").unlink(),
    "damaged": lambda run: (run / "run.json").write_text("{"),
    # Of a start that came to no checkpoint.
    "later": lambda run: with_starts(run, lambda each: each[-1]["versions"]["packages"].update({"my-parts": "1.1"})),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_counts_is_the_checkpoint_and_not_the_list_of_starts(harm, run):
    HARM[harm](run)
    told = "my-parts 1.0; here are my-parts 1.1"
    with pytest.warns(UserWarning, match=told):
        open_weights(run, registry("1.1"))
    with pytest.warns(UserWarning, match=told):
        check_recorded(recorded_in(run), registry("1.1"))
    with pytest.raises(PluginError, match="block 'mine' is in version 2 here"):
        train(run, registry(block=MineAnew), resume=True, steps=4)


def test_every_checkpoint_has_its_own_versions(run):
    with pytest.warns(UserWarning, match=r"step_00000003: made with my-parts 1.0; here are my-parts 1.1"):
        train(run, registry("1.1"), resume=True, steps=4)
    with silence():
        check_recorded(recorded_in(run), registry("1.1"))
        open_weights(run, registry("1.1"))
        check_recorded(recorded_in(run, step=2), registry("1.0"))
        open_weights(run, registry("1.0"), step=2)
    told = r"step_00000002: made with my-parts 1.0; here are my-parts 1.1"
    with pytest.warns(UserWarning, match=told):
        check_recorded(recorded_in(run, step=2), registry("1.1"))
    with pytest.warns(UserWarning, match=told):
        open_weights(run, registry("1.1"), step=2)


@pytest.mark.parametrize("plugin", ["zoo", "my-parts"])
def test_a_part_that_is_gone_says_nothing_of_the_versions_that_are_here(plugin, tmp_path, monkeypatch):
    own = versions.Versions.here

    def of_an_older_zoo(*given):
        found = own(*given)
        return found.model_copy(update={"packages": {**found.packages, "zoo": "0.0.1"}})

    with monkeypatch.context() as patch:
        patch.setattr(versions.Versions, "here", of_an_older_zoo)
        train(tmp_path / "run", with_plugins(("my-parts", "1.0", Mine), (plugin, "1.0", Steady)))
    with pytest.warns(UserWarning, match="made with zoo 0.0.1, my-parts 1.0; here are zoo .*, my-parts 1.1"):
        recipe = check_recorded(
            recorded_in(tmp_path / "run"), with_plugins(("my-parts", "1.1", Mine)), needs=("backbone",)
        )
    assert recipe.sample.solver.type == "steady"  # kept as it was written
    here = {"zoo": zoo_version(), "my-parts": "1.1"}
    assert here.items() <= recipe.versions().packages.items()
    assert recipe.versions(("sample",)).packages["zoo"] == zoo_version()
    assert recipe.plugins() == here


OTHERS = {
    "another package": (
        with_plugins(("their-parts", "3", Mine), ("my-solvers", "1.0", Steady)),
        "their-parts 3 here, and was of my-parts 1.0; uninstall their-parts and pip install my-parts==1.0",
    ),
    "packages that have exchanged their parts": (
        with_plugins(("my-solvers", "1.0", Mine), ("my-parts", "1.0", Steady)),
        "my-solvers 1.0 here, and was of my-parts 1.0; uninstall my-solvers and pip install my-parts==1.0",
    ),
    "zoo, which has such a part by now": (
        with_plugins(("zoo", zoo_version(), Mine), ("my-solvers", "1.0", Steady)),
        f"zoo {zoo_version()} here, and was of my-parts 1.0; pip install my-parts==1.0 diffusion-zoo=={zoo_version()}",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_part_of_another_package_is_refused(other, made):
    here, message = OTHERS[other]
    path, where = made
    with pytest.raises(PluginError) as caught:
        open_weights(path, here)
    assert str(caught.value) == f"{where}: block 'mine' is of {message}"
    assert caught.value.exit_code == 2


def test_another_spelling_of_the_package_is_the_same_package(made):
    given = open_weights(made[0], with_plugins(("My_Parts", "1.0", Mine), ("my.solvers", "1.0", Steady)))
    assert given.recipe.plugins()["My_Parts"] == "1.0"


def test_a_part_that_zoo_had_and_a_plug_in_has_by_now_is_refused(tmp_path):
    train(tmp_path / "run", with_plugins(("zoo", zoo_version(), Mine), ("my-solvers", "1.0", Steady)))
    message = r"is of my-solvers 1\.0 here, and was of zoo .*; uninstall my-solvers and pip install diffusion-zoo="
    with pytest.raises(PluginError, match=message):
        open_weights(tmp_path / "run", with_plugins(("my-solvers", "1.0", Mine, Steady)))


@pytest.mark.parametrize("other", OTHERS)
def test_going_on_with_parts_of_another_package_is_refused(other, run):
    here, message = OTHERS[other]
    before = (run / "run.json").read_bytes()
    with pytest.raises(PluginError) as caught:
        train(run, here, resume=True, steps=4)
    assert str(caught.value) == f"{run}/checkpoints/step_00000003: block 'mine' is of {message}"
    assert (run / "run.json").read_bytes() == before


def refusal(where, start):
    return (
        f"{where}: block 'mine' is in version 2 here (my-parts 1.1), and was in version 1 (my-parts 1.0): it computes"
        " something else; pip install my-parts==1.0, or begin another run from these weights with"
        f" train.init={start}"
    )


def test_a_part_in_another_version_is_refused(made):
    path, where = made
    with pytest.raises(PluginError) as caught:
        open_weights(path, registry("1.1", MineAnew))
    assert str(caught.value) == refusal(where, path)
    assert caught.value.exit_code == 2


def test_going_on_with_a_part_in_another_version_is_refused(run):
    before = (run / "run.json").read_bytes()
    with pytest.raises(PluginError) as caught:
        train(run, registry("1.1", MineAnew), resume=True, steps=4)
    assert str(caught.value) == refusal(run / "checkpoints/step_00000003", run)
    assert (run / "run.json").read_bytes() == before


def test_another_run_starts_from_weights_of_a_part_in_another_version(made, tmp_path):
    """As the refusal says."""
    path, where = made
    told = f"^{where}: made with my-parts 1.0, block 'mine' in version 1; here are my-parts 1.1, in version 2$"
    with pytest.warns(UserWarning, match=told):
        train(tmp_path / "another", registry("1.1", MineAnew), init=str(path))
    with silence():
        open_weights(tmp_path / "another", registry("1.1", MineAnew))
    with pytest.raises(PluginError, match=r"block 'mine' is in version 1 here .* was in version 2"):
        open_weights(tmp_path / "another", registry("1.1"))


def test_a_solver_in_another_version_is_told_and_no_matter_for_training(run):
    other = registry(solver=SteadyAnew)
    with pytest.warns(UserWarning, match="made with solver 'steady' in version 1; here are in version 2$"):
        check_recorded(recorded_in(run), other)
    with silence():
        open_weights(run, other)
        train(run, other, resume=True, steps=4)


def test_only_parts_in_use_count(run):
    """What takes the place of a part may be of any package."""
    here = with_plugins(("my-parts", "1.0", Mine), ("their-solvers", "3", Steady))
    with silence():
        check_recorded(recorded_in(run, ["sample.solver=euler"]), here)
    with pytest.raises(PluginError, match="solver 'steady' is of their-solvers 3 here"):
        check_recorded(recorded_in(run), here, ("backbone", "sample"))
    with pytest.warns(UserWarning, match="solver 'steady' of my-solvers; here are .*solver 'steady' of their-solvers"):
        check_recorded(recorded_in(run), here)  # to train on


def draw(run, out, registry, *, resume=False):
    recipe = check_recorded(recorded_in(run), registry)
    return draw_samples(SampleRun(run, out, "ema", (), 8, 0, npz=False, resume=resume), recipe, registry, ALONE)


def test_images_of_other_versions_side_by_side_are_told(run, tmp_path):
    out = tmp_path / "out"
    assert draw(run, out, registry()) == 8
    for path in (out / "samples.json", out / "000003.png"):
        path.unlink()
    with pytest.warns(UserWarning, match="made with solver") as told:
        assert draw(run, out, registry(solver=SteadyAnew), resume=True) == 1
    assert str(told[-1].message) == (
        f"{out}: its images were drawn with solver 'steady' in version 1; here are in version 2; they may be others in"
        " these versions"
    )


def test_versions_that_are_none_are_refused(run, tmp_path):
    file = file_of(run, tmp_path)
    content = file.read_bytes()
    file.write_bytes(content.replace(b'\\"version\\": 1}', b'\\"version\\": 0}'))
    with pytest.raises(WeightsError, match="'versions' in its metadata is not what zoo wrote"):
        open_weights(file, registry())
    state = run / "checkpoints/step_00000003/state.json"
    values = json.loads(state.read_text())
    values["versions"]["packages"].pop("my-parts")
    state.write_text(json.dumps(values))
    manifest = state.with_name("manifest.json")
    written = json.loads(manifest.read_text())
    written["files"]["state.json"] = {
        "size": state.stat().st_size,
        "sha256": hashlib.sha256(state.read_bytes()).hexdigest(),
    }
    manifest.write_text(json.dumps(written))
    assert checkpoints.problem_of(state.parent) is None
    with pytest.raises(RunError, match=r"step_00000003: state\.json does not tell the versions that it was made with"):
        open_weights(run, registry())
