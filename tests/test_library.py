"""zoo as a library, from a notebook: overrides as values, classes that are in no package, and what is at the top."""

import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

import zoo
from tests.train.small import small
from zoo.assembly import build, load_recipe
from zoo.errors import PluginError, RecipeError, ZooError
from zoo.flow.solvers import EulerSolver, HeunSolver
from zoo.parts.base import TimeEmbedder
from zoo.parts.blocks import DiTBlock
from zoo.plugins import Plugin
from zoo.registry import Registry, part


@part("time_embedder", "mine")
class Mine(TimeEmbedder):
    def __init__(self, dim: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.dim, self.scale = dim, scale

    def forward(self, t): ...


@part("time_embedder", "mine")
class MineToo(Mine): ...


@part("time_embedder", "fno")
class MyFno(Mine): ...


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"backbone.dim": 64, "train.steps": 7}, (64, 7)),
        ({"backbone": {"dim": 64}, "train": {"steps": 7}}, (64, 7)),
        (["backbone.dim=64", "train.steps=7"], (64, 7)),
        ({"backbone.dim": 64, "train": None}, (64, 400_000)),
    ],
)
def test_overrides_are_values_by_key_path_or_assignments(registry, overrides, expected):
    recipe = small(registry=registry)
    found = load_recipe(recipe.resolved(), overrides, registry)
    assert (found.backbone.dim, found.train.steps) == expected


def test_values_of_python_that_are_no_plain_text(registry, tmp_path):
    overrides = {
        "train.init": tmp_path / "w.safetensors",
        "sample.guidance": (1.0, 2.0),
        "train.learning_rate": np.float64(0.5),
        "train.steps": np.int64(7),
    }
    recipe = load_recipe(small(registry=registry).resolved(), overrides, registry)
    assert recipe.train.init == str(tmp_path / "w.safetensors")
    assert recipe.sample.guidance.options.scale == (1.0, 2.0)
    assert (recipe.train.learning_rate, recipe.train.steps) == (0.5, 7)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"backbone.dim": "192"}, "overrides['backbone.dim']: backbone.dim: should be a whole number, got \"192\""),
        (["backbone.dim=x"], "overrides['backbone.dim']: backbone.dim: should be a whole number, got \"x\""),
        (
            {"backbone": {"dimm": 3}},
            "overrides['backbone']: backbone.dimm: unknown option; did you mean 'dim'?",
        ),
        (
            {"backbone..dim": 3},
            "overrides['backbone..dim']: write it as a key path, such as 'backbone.depth'",
        ),
        ({3: 3}, "overrides[3]: write it as a key path, such as 'backbone.depth'"),
        ("backbone.dim", "overrides['backbone.dim']: write it as key.path=value, such as backbone.depth=24"),
        (
            {"extends": "dit_b"},
            "overrides['extends']: extends is fixed in the file; write a recipe of three lines instead",
        ),
        (
            {"backbone.dim.x": 1},
            "overrides['backbone.dim.x']: backbone.dim is 16, with nothing below it; set it itself",
        ),
        (
            {"backbone.block": int},
            "overrides['backbone.block']: recipes hold plain values, not type: \"<class 'int'>\"",
        ),
    ],
)
def test_a_bad_override_from_python_is_told_as_python_has_it(registry, overrides, expected):
    with pytest.raises(RecipeError) as caught:
        load_recipe(small(registry=registry).resolved(), overrides, registry)
    assert caught.value.problems == (expected,)


def test_a_class_that_is_in_no_package_is_built_by_its_name(registry):
    options = {"backbone.time_embedder": {"type": "mine", "scale": 2.0}}
    backbone = build(small().resolved(), options, registry=registry, parts=[Mine])
    assert isinstance(backbone.time_embedder, Mine)
    assert backbone.time_embedder.scale == 2.0
    assert backbone.recipe.plugins()[f"{__name__}.Mine"] == "in no package"
    assert pickle.loads(pickle.dumps(backbone)).recipe == backbone.recipe
    with pytest.raises(PluginError, match="there is no time_embedder 'mine'"):
        registry.get("time_embedder", "mine")  # it was left as it is


@part("block", "mine")
class MyBlock(DiTBlock): ...


def test_a_weight_file_says_that_its_part_is_in_no_package(registry, tmp_path):
    backbone = build(small().resolved(), {"backbone.block": "mine"}, registry=registry, parts=[MyBlock])
    zoo.save(backbone, tmp_path / "w.safetensors")
    with pytest.raises(PluginError) as caught:
        zoo.load(tmp_path / "w.safetensors", registry=registry)
    assert str(caught.value) == (
        f"{tmp_path}/w.safetensors: block 'mine' comes from {__name__}.MyBlock, in no package; give the class in"
        " Python, by parts=[MyBlock]"
    )
    loaded = zoo.load(tmp_path / "w.safetensors", registry=registry, parts=[MyBlock])
    assert isinstance(loaded.blocks[0], MyBlock)
    packaged = Registry()
    packaged.register(SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: [MyBlock])), Plugin("since-then", "1"))
    assert isinstance(zoo.load(tmp_path / "w.safetensors", registry=packaged).blocks[0], MyBlock)


def test_a_class_may_be_given_twice_and_alone(registry):
    assert registry.with_parts([Mine, Mine]).with_parts(Mine).get("time_embedder", "mine").cls is Mine


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            [Mine, MineToo],
            rf"two parts claim time_embedder 'mine': {__name__}.Mine and {__name__}.MineToo; give yours an",
        ),
        ([MyFno], rf"two parts claim time_embedder 'fno': zoo .*FNOTimeEmbedder\) and {__name__}.MyFno; give yours an"),
        (
            [torch.nn.Linear],
            r"parts: torch.nn.modules.linear.Linear is not marked; put @zoo.part\(kind, name\) above the",
        ),
        ([3], r"parts: \?.3 is not marked"),
    ],
)
def test_classes_that_cannot_be_taken(registry, parts, expected):
    with pytest.raises(PluginError, match=expected):
        load_recipe("dit_s", registry=registry, parts=parts)


def test_a_solver_that_is_in_no_package_draws(registry):
    @part("solver", "still")
    class Still(EulerSolver): ...

    backbone = build(small(registry=registry))
    latents = zoo.sample(AveragedModel(backbone), [1, 2], steps=1, solver="still", registry=registry, parts=[Still])
    assert torch.equal(latents, zoo.sample(backbone, [1, 2], steps=1, registry=registry))


# -- what is at the top --------------------------------------------------------------------------------------------

NAMES = """
import importlib, pkgutil, sys
import zoo
assert "torch" not in sys.modules, "import zoo imports torch"
listed = dir(zoo)
for module in pkgutil.walk_packages(zoo.__path__, "zoo."):
    if module.name not in ("zoo.__main__",):
        importlib.import_module(module.name)
for name in zoo.__all__:
    assert name in listed, name
    assert not isinstance(getattr(zoo, name), type(zoo)), f"zoo.{name} is a module"
    assert callable(getattr(zoo, name)), name
"""


def test_no_module_hides_a_name_of_zoo():
    done = subprocess.run([sys.executable, "-c", NAMES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- inputs that people try ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (lambda z, t, y: (z.tolist(), t, y), "latents: must be a tensor with a row for each sample, got list"),
        (lambda z, t, y: (z, 0.5, y), "t: must be a tensor with a row for each sample, got float"),
        (
            lambda z, t, y: (z, t, [1, 2]),
            "labels: must be a tensor with a row for each sample, or a mapping of names to such, got list",
        ),
    ],
)
def test_a_forward_says_what_it_takes(arguments, expected):
    given = arguments(torch.randn(2, 1, 8, 8), torch.rand(2), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=expected):
        build(small()).check_inputs(*given)  # as forward does, where the tests' own checks of types do not come first


def test_a_forward_of_several_stages_needs_noise_levels_that_have_values():
    with torch.device("meta"), pytest.raises(ValueError, match="t: has no values on the meta device"):
        build(small())(torch.empty(2, 1, 8, 8), torch.empty(2), torch.ones(2, dtype=torch.int64))


def test_drawing_says_what_it_takes(registry):
    with pytest.raises(ValueError, match=r"builtins.str is no backbone of zoo's; give what zoo.build or zoo.load ret"):
        zoo.sample("dit_b", [1], registry=registry)
    with pytest.raises(ValueError, match=r"on the meta device and has no weights; give one of zoo.load"):
        zoo.sample(build(small(), device="meta"), [1], registry=registry)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"labels": "3"}, r"labels: give numbers, one for each latent, such as \[3, 5\], not '3'"),
        ({"labels": [[1], [2, 3]]}, r"labels: give numbers, one for each latent, .*, not \[\[1\], \[2, 3\]\]"),
        ({"labels": ["cat"]}, r"labels: give numbers, one for each latent, .*, not \['cat'\]"),
        ({"labels": {3: 5}}, r"labels: give one for each latent, such as \[3, 5\]"),
        ({"steps": 1.5}, "steps: give a whole number, not 1.5"),
        ({"seed": "x"}, "seed: give a whole number, not 'x'"),
        ({"labels": None, "count": "x"}, "count: give a whole number, not 'x'"),
        ({"solver": 3}, r"solver: give a name, such as 'heun', or a zoo.flow.Solver, not 3"),
        ({"solver": HeunSolver}, r"solver: give a name, .*, not <class 'zoo.flow.solvers.HeunSolver'>"),
        ({"guidance": "x"}, "guidance.type: there is no guidance 'x'.*"),
        ({"guidance": {"scales": 2.0}}, "guidance.scales: unknown option; did you mean 'scale'.*"),
        ({"guidance": -1}, "guidance.scale: should be at least 0.0, got -1"),
        (
            {"guidance": {"channels": 2}},
            "guidance: channels: 2, but the latents have 1; make it less, or leave it out to guide all",
        ),
        ({"guidance": {"interval": 0.5}}, "guidance.interval: .*"),
        ({"guidance": object}, "guidance: .*"),
    ],
    ids=str,
)
def test_options_of_drawing_of_another_type(registry, options, expected):
    with pytest.raises(ValueError, match=rf"^{expected}$"):
        zoo.sample(build(small()), **{"labels": [1], "steps": 1, **options}, registry=registry)


def test_what_is_no_dtype(registry, tmp_path):
    expected = r"dtype: give a torch.dtype, such as torch.bfloat16, not 'bfloat16'"
    with pytest.raises(ValueError, match=expected):
        build(small(), dtype="bfloat16")
    zoo.save(build(small()), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=expected):
        zoo.load(tmp_path / "w.safetensors", dtype="bfloat16", registry=registry)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (
            "cuda",
            "device cuda: cannot be used: there is no GPU that this PyTorch can use; leave .+",
        ),
        ("tpu9", "device tpu9: cannot be used: .+"),
        (["cpu"], r"device \['cpu'\]: cannot be used: .+"),
    ],
    ids=str,
)
def test_a_device_that_is_not_there(registry, tmp_path, monkeypatch, device, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    zoo.save(build(small()), tmp_path / "w.safetensors")
    for use in (
        lambda: build(small(), device=device),
        lambda: zoo.load(tmp_path / "w.safetensors", device=device, registry=registry),
    ):
        with pytest.raises(ZooError, match=rf"^{expected}$"):
            use()
