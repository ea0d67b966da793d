"""Runs and weight files of a plug-in that is not installed any more: what needs it says so once, the rest goes on."""

import json
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open

import zoo as library
from tests import commands
from tests.commands import done, zoo
from tests.train.small import ALONE, small
from zoo.errors import PluginError
from zoo.evaluate.frechet import FID
from zoo.flow.noise_samplers import UniformNoise
from zoo.flow.solvers import EulerSolver
from zoo.parts.blocks import DiTBlock
from zoo.plugins import Plugin, PluginProblem, zoo_version
from zoo.registry import Registry, part
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import load
from zoo.sampling.latents import sample
from zoo.train.run import Run, Silent

HINT = "from zoo-extra 0.0.1, which is not installed; pip install zoo-extra==0.0.1"
BESIDE = ("objective.noise_sampler=theirs", "sample.solver=theirs", "evaluate.metrics=[fid,theirs]")


def theirs(kind: str, base: type) -> type:
    return part(kind, "theirs")(type("Theirs", (base,), {"__doc__": "As the built-in one.", "__module__": "extra"}))


def with_plugin() -> Registry:
    registry = Registry()
    bases = {"block": DiTBlock, "noise_sampler": UniformNoise, "solver": EulerSolver, "metric": FID}
    parts = [theirs(kind, base) for kind, base in bases.items()]
    registry.register(SimpleNamespace(zoo_parts=library.hookimpl(lambda: parts)), Plugin("zoo-extra", "0.0.1"))
    return registry


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, registry = tmp_path_factory.mktemp("runs"), with_plugin()
    for name, overrides in {"whole": ("backbone.block=theirs", *BESIDE), "beside": BESIDE}.items():
        recipe = small(*overrides, "evaluate.count=12", registry=registry)
        Run(recipe, RunFolder(folder / name), registry, ALONE, Silent()).train()
    return folder


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch, runs):
    """The built-in parts alone."""
    monkeypatch.chdir(tmp_path)
    for name in ("whole", "beside"):
        Path(name).symlink_to(runs / name)
    registry = Registry()
    monkeypatch.setattr(Registry, "installed", lambda: registry)
    return registry


def refused(*arguments: object) -> str:
    return commands.refused(zoo(*arguments), told=True)


@pytest.mark.parametrize(
    ("parts", "arguments"),
    [
        ("block 'theirs' and noise_sampler 'theirs' and solver 'theirs'", ("train", "--resume", "--run-dir", "whole")),
        ("block 'theirs' and solver 'theirs'", ("sample", "--run", "whole", "--out", "images")),
        ("block 'theirs' and solver 'theirs' and metric 'theirs'", ("eval", "--run", "whole")),
        ("block 'theirs' and solver 'theirs' and metric 'theirs'", ("compare", "--runs", "whole")),
        ("block 'theirs' and noise_sampler 'theirs' and solver 'theirs'", ("report", "--run", "whole")),
        ("block 'theirs'", ("export", "whole", "--to", "zoo", "--out", "w.safetensors")),
        ("block 'theirs'", ("inflate", "whole", "--recipe", "hybrid_b", "--out", "w.safetensors")),
        ("solver 'theirs'", ("sample", "--run", "beside", "--out", "images")),
        ("solver 'theirs' and metric 'theirs'", ("eval", "--run", "beside")),
    ],
    ids=lambda each: "-".join(each[:1]) if isinstance(each, tuple) else "",
)
def test_a_command_names_the_package_to_install_in_one_line(parts, arguments):
    come = "come" if " and " in parts else "comes"
    assert refused(*arguments) == f"{'beside' if 'beside' in arguments else 'whole'}: {parts} {come} {HINT}"


def test_what_a_run_does_not_need_does_not_stop_loading_it(runs, installed):
    backbone = load(runs / "beside", registry=installed)
    assert sample(backbone, [3], steps=2, registry=installed).isfinite().all()
    with pytest.raises(PluginError, match=f"whole: block 'theirs' comes {HINT}"):
        load(runs / "whole", registry=installed)


def test_what_a_run_costs_does_not_need_its_solver(runs, installed):
    backbone = load(runs / "beside", registry=installed)
    whole = small(*BESIDE, registry=with_plugin())
    cost = library.cost(backbone)
    assert (cost.macs, cost.params) == (library.cost(whole).macs, library.cost(whole).params)
    assert (cost.image.passes, cost.image.macs, library.cost(whole).image.passes) == (None, None, (1, 1))
    unknown = f"unknown: 2 updates by theirs, guidance 1; {runs / 'beside'}: solver 'theirs' comes {HINT}"
    assert f"one image {unknown}" in " ".join(str(cost).split())
    (entry,) = library.compare([backbone], registry=installed, device="cpu")
    assert (entry.cost.image_macs, entry.cost.passes, entry.cost.sampling) == (None, None, unknown)
    assert library.diagram(backbone).svg == library.diagram(whole).svg


def test_a_weight_file_keeps_what_it_does_not_need(runs, installed):
    done("export", "beside", "--to", "zoo", "--out", "w.safetensors")
    with safe_open("w.safetensors", "pt") as file:
        metadata = file.metadata()
    versions = json.loads(metadata["versions"])
    assert versions["packages"] == {"torch": version("torch"), "zoo": zoo_version(), "zoo-extra": "0.0.1"}
    extra = [part for part in versions["parts"] if part["plugin"] == "zoo-extra"]
    assert [(part["kind"], part["name"], part["version"]) for part in extra] == [
        ("noise_sampler", "theirs", 1),
        ("solver", "theirs", 1),
        ("metric", "theirs", 1),
    ]
    beside = ("objective", "data", "train", "sample", "evaluate")
    recipe = small(*BESIDE, "evaluate.count=12", registry=with_plugin()).resolved()
    assert {name: json.loads(metadata["recipe"])[name] for name in beside} == {name: recipe[name] for name in beside}
    loaded = [load(path, registry=installed).state_dict() for path in (Path("w.safetensors"), runs / "beside")]
    assert all(torch.equal(tensor, loaded[1][name]) for name, tensor in loaded[0].items())
    told = refused("sample", "--run", "w.safetensors", "--out", "images")
    assert told == f"w.safetensors: solver 'theirs' comes {HINT}"


def test_another_part_takes_its_place():
    done("sample", "--run", "beside", "--out", "images", "--count", 1, "--solver", "heun")
    assert json.loads(Path("images/samples.json").read_text())["sample"]["solver"] == {"type": "heun", "shift": 1.0}


def test_a_misspelt_part_is_not_taken_for_one_of_the_plug_in():
    told = refused("sample", "--run", "beside", "--out", "images", "--set", "sample.solver=heunn")
    assert told.startswith("--set sample.solver=heunn: sample.solver.type: there is no solver 'heunn'; did you mean")


def test_what_is_installed_and_is_not_what_was_recorded_is_told(installed):
    other = SimpleNamespace(
        zoo_parts=library.hookimpl(lambda: [part("block", "other")(type("Other", (DiTBlock,), {}))])
    )
    installed.register(other, Plugin("zoo-extra", "0.0.2"))
    assert refused("sample", "--run", "beside", "--out", "images") == (
        "beside: solver 'theirs' comes from zoo-extra 0.0.1, not 0.0.2; pip install zoo-extra==0.0.1"
    )


def test_a_plug_in_that_fails_is_told_with_its_reason(installed):
    installed.problems.append(PluginProblem((Plugin("zoo-extra", "0.0.1"),), "ImportError: no luck", "", "parts"))
    result = zoo("sample", "--run", "beside", "--out", "images")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        "error: beside: solver 'theirs' comes from zoo-extra 0.0.1, which failed to load (ImportError: no luck;"
        " see `zoo plugins`)"
    )
