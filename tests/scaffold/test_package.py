"""What a new package holds, without installing it."""

import ast
import tomllib
from importlib import import_module

import pytest
import yaml

import zoo
from tests.train.vectors import vector_registry, vectors
from zoo.kinds import KINDS
from zoo.scaffold import Names, files_of
from zoo.scaffold.package import asked_range

NAMES = Names("zoo-mine", "zoo_mine", "mine")
TOGETHER = [["block", "mlp"], ["upsampler", "stage_embedder"], ["router", "downsampler", "norm"], list(KINDS)]


@pytest.mark.parametrize("kinds", [*([kind] for kind in KINDS), *TOGETHER], ids="-".join)
def test_the_recipe_builds_with_its_parts(kinds, tmp_path):
    text = files_of(NAMES, kinds)["zoo_mine/recipes/mine_trial.yaml"]
    path = tmp_path / "mine_trial.yaml"
    path.write_text(text)
    parts = [getattr(import_module(f"zoo.scaffold.parts.{kind}"), NAMES.class_of(kind)) for kind in kinds]
    recipe = zoo.load_recipe(path, registry=zoo.Registry().with_parts(parts))
    assert text.count("mine") == len(kinds) + text.splitlines()[0].count("mine")
    assert recipe.name == "mine_trial"


@pytest.mark.parametrize("kinds", [["dataset"], list(KINDS)], ids=["one", "all"])
def test_every_file_can_be_read(kinds):
    files = files_of(NAMES, kinds)
    for path, text in files.items():
        assert "{%" not in text and "{{ " not in text.replace("${{ ", ""), path  # noqa: PT018
        if path.endswith(".py"):
            ast.parse(text)
        elif path.endswith((".yml", ".yaml")):
            assert yaml.safe_load(text)
        assert not text or text.endswith("\n"), path
        assert "\n\n\n\n" not in text, path


def test_its_tests_fail_by_what_zoo_says_and_no_more(pytester):
    """Of a part that is refused: a traceback would lead through zoo, and the message be far below."""
    test = files_of(NAMES, ["mlp"])["tests/test_recipe.py"]
    refuses = 'def recipes():\n    return [zoo.load_recipe("dit_b", "backbone.heads=5").name]\n'
    pytester.makepyfile(f"{test}\n\n{refuses}")
    result = pytester.runpytest("-k", "cost or trains")
    said = result.stdout.str()
    assert "backbone.block.attention: softmax: dim 768 is not divisible by heads 5" in said
    assert "Traceback" not in said
    assert ".py:" not in said.partition("= FAILURES =")[2].partition("= short test summary")[0]
    result.assert_outcomes(failed=2, deselected=2)


def test_its_test_draws_by_labels_of_the_author_s_conditioner_too(monkeypatch, tmp_path):
    backbone = zoo.build(vectors(registry=vector_registry()))  # whose labels are pairs of numbers, and no classes
    written: dict = {"__name__": "test_recipe"}
    exec(files_of(NAMES, ["class_conditioner"])["tests/test_recipe.py"], written)
    monkeypatch.setitem(written, "run_zoo", lambda *arguments: None)
    monkeypatch.setitem(written, "recipes", lambda: ["mine_trial"])
    monkeypatch.setattr(zoo, "load", lambda run: backbone)
    written["test_trains_and_draws"](tmp_path)


def test_its_readme_has_to_say_what_its_parts_have_become(monkeypatch, tmp_path):
    files, mlp = files_of(NAMES, ["mlp"]), import_module("zoo.scaffold.parts.mlp").MineMLP
    (tmp_path / "README.md").write_text(files["README.md"])
    written: dict = {"__name__": "test_recipe", "__file__": str(tmp_path / "tests/test_recipe.py")}
    exec(files["tests/test_recipe.py"], written)
    monkeypatch.setitem(written, "entries", lambda: [zoo.Registry().with_parts([mlp]).get("mlp", "mine")])
    written["test_the_readme_says_what_each_part_is"]()
    monkeypatch.setattr(mlp, "__doc__", "Three Linears (Own, 2026).\n\nOptions: none.")
    with pytest.raises(AssertionError, match=r"\n\| mlp \| `mine` \| Three Linears \(Own, 2026\)\. \|$"):
        written["test_the_readme_says_what_each_part_is"]()


def test_its_test_looks_for_the_figures_of_its_recipe_alone(monkeypatch, tmp_path):
    files, metric = files_of(NAMES, ["metric"]), import_module("zoo.scaffold.parts.metric").MineMetric
    (tmp_path / "mine_trial.yaml").write_text(files["zoo_mine/recipes/mine_trial.yaml"])
    written: dict = {"__name__": "test_recipe"}
    exec(files["tests/test_recipe.py"], written)
    monkeypatch.setattr(zoo.Registry, "installed", classmethod(lambda cls: zoo.Registry().with_parts([metric])))
    monkeypatch.setitem(written, "recipes", lambda: [tmp_path / "mine_trial.yaml"])
    monkeypatch.setitem(written, "parts", lambda: {("metric", "mine"), ("metric", "of_another_recipe")})

    def figures(text):
        def run_zoo(*_):
            (tmp_path / "run/evaluations").mkdir(parents=True, exist_ok=True)
            (tmp_path / "run/evaluations/one.json").write_text(text)

        return run_zoo

    monkeypatch.setitem(written, "run_zoo", figures('{"mine": 1.0}'))
    written["test_trains_and_draws"](tmp_path)
    monkeypatch.setitem(written, "run_zoo", figures('{"fid": 1.0}'))
    with pytest.raises(AssertionError):
        written["test_trains_and_draws"](tmp_path)


def test_what_pip_is_told():
    project = tomllib.loads(files_of(NAMES, ["block"])["pyproject.toml"])["project"]
    assert project["name"] == "zoo-mine"
    assert project["dependencies"][0] == f"diffusion-zoo{asked_range(zoo.__version__)}"
    assert project["optional-dependencies"] == {"test": ["diffusion-zoo[testing]"]}
    assert project["entry-points"] == {
        "zoo.parts": {"block/mine": "zoo_mine.block:MineBlock"},
        "zoo.recipes": {"mine": "zoo_mine.recipes"},
    }


@pytest.mark.parametrize(
    ("version", "asked"),
    [("0.1.0", ">=0.1,<0.2"), ("0.12.3.dev4", ">=0.12,<0.13"), ("1.4.2", ">=1.4,<2"), ("2", ""), ("unknown", "")],
)
def test_the_range_that_a_package_asks_for(version, asked):
    assert asked_range(version) == asked
