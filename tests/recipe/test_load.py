"""From a file to a checked draft: extends, names, sections, lists of parts."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

import zoo
from tests.recipe.drafts import BASE
from zoo.assembly import load_recipe
from zoo.errors import RecipeError
from zoo.evaluate import Metric
from zoo.plugins import Plugin, zoo_version
from zoo.recipe import draft_recipe, read_tree
from zoo.registry import Registry, part


def test_what_a_recipe_leaves_out_is_filled_in(load):
    recipe = load({"r.yaml": BASE})
    assert recipe.name == "r"
    assert recipe.backbone.skip.type == "linear"
    time_embedder = {"type": "sinusoidal", "layers": 2, "clock": "noise", "scale": 1.0}
    assert recipe.resolved()["backbone"]["time_embedder"] == time_embedder
    assert recipe.resolved()["backbone"]["patch_schedule"] == {"type": "uniform", "patch": 2}


@pytest.mark.parametrize("key", ["num_classes", "skip", "time_embedder", "head", "block"])
def test_null_is_the_default(load, key):
    assert load({"r.yaml": f"{BASE}  {key}: null\n".replace("  num_classes: 10\n", "")}) == load(
        {"r.yaml": BASE.replace("  num_classes: 10\n", "")}
    )


def test_a_recipe_on_top_of_two_others(load):
    recipe = load(
        {
            "sub/top.yaml": "extends: middle\nbackbone: {dim: 64}\n",
            "sub/middle.yaml": "name: mid\nextends: ../base.yaml\nbackbone: {dim: 48, heads: 4, time_embedder: fno}\n",
            "base.yaml": f"name: base\n{BASE}  time_embedder: {{layers: 3}}\n",
        }
    )
    assert (recipe.backbone.dim, recipe.backbone.heads, recipe.backbone.depth) == (64, 4, 2)
    assert recipe.backbone.time_embedder.type == "fno"
    assert recipe.name == "top"  # a name is not inherited


def test_a_thousand_recipes_on_top_of_each_other(load):
    files = {f"r{index}.yaml": f"extends: r{index + 1}.yaml\n" for index in range(1500)}
    assert load({**files, "r1500.yaml": BASE}).name == "r0"


@pytest.mark.parametrize("overrides", [(), ["name="], ["name=mine", "name=null"]])
def test_a_name_that_is_left_out_is_the_files(load, overrides):
    assert load({"own.yaml": BASE}, overrides).name == "own"
    assert load({"own.yaml": BASE}, ["name=mine"]).name == "mine"


def test_plain_values_are_a_recipe_too(load, registry):
    values = load({"r.yaml": BASE}).resolved()
    assert draft_recipe(read_tree(values), registry).recipe() == load({"r.yaml": BASE})
    assert draft_recipe(read_tree({"extends": "r"}), registry).recipe().name == "recipe"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"r.yaml": "extends: r"}, "r.yaml:1: extends: goes in a circle: r.yaml -> r.yaml; take one of them out"),
        (
            {"r.yaml": "extends: a.yaml", "a.yaml": "\nextends: b.yaml", "b.yaml": "\n\nextends: a.yaml"},
            "b.yaml:3: extends: goes in a circle: a.yaml -> b.yaml -> a.yaml; take one of them out",
        ),
        (
            {"r.yaml": "\nextends: no.yaml"},
            "r.yaml:2: extends: no.yaml: there is no such recipe; `zoo recipes` lists those that have a name",
        ),
        (
            {"r.yaml": "extends: mpdit_bb"},
            "r.yaml:1: extends: mpdit_bb: there is no such recipe; did you mean 'mpdit_b'?",
        ),
        ({"r.yaml": "extends: 3"}, "r.yaml:1: extends: should be the path or name of one recipe, got 3"),
        ({"r.yaml": "extends: [a, b]"}, 'r.yaml:1: extends: should be the path or name of one recipe, got ["a", "b"]'),
        ({"r.yaml": "extends:"}, "r.yaml:1: extends: should be the path or name of one recipe, got null"),
        ({"r.yaml": "extends: a.yaml", "a.yaml": "- 1"}, "a.yaml:1: a recipe is a mapping with `backbone:`, not [1]"),
        (
            {"r.yaml": "extends: a.yaml", "a.yaml": "a: [\n"},
            "a.yaml:2: not valid YAML: '[' or '{' is not closed",
        ),
    ],
)
def test_refuses_what_cannot_be_extended(problems, files, expected):
    assert problems(files) == [expected]


def test_a_list_of_parts_is_replaced_as_a_whole_and_addressed_by_place(load):
    files = {
        "r.yaml": "extends: base.yaml\nevaluate: {metrics: [{type: precision_recall, neighbours: 5}, novelty]}\n",
        "base.yaml": BASE + "evaluate: {metrics: [fid, {type: inception_score, split: 7}]}\n",
    }
    metrics = load(files).resolved()["evaluate"]["metrics"]
    assert metrics == [{"type": "precision_recall", "neighbours": 5, "real": 10_000}, {"type": "novelty"}]
    assert load(files, ["evaluate.metrics.0.neighbours=2"]).evaluate.metrics[0].options.neighbours == 2


@part("metric", "aaa")
class Counts(Metric):
    """How many there are."""

    def measure(self, real, generated):
        return {"count": float(len(generated))}


def test_a_recipe_without_metrics_has_those_of_zoo_whatever_is_installed(registry):
    crowded = Registry()
    crowded.register(SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: [Counts])), Plugin("zoo-extra", "0.0.1"))
    resolved = [load_recipe("dit_s", registry=each).resolved() for each in (registry, crowded)]
    assert resolved[0] == resolved[1]
    found = {each["type"] for each in resolved[0]["evaluate"]["metrics"]}
    assert found == {entry.name for entry in registry.entries("metric")} - {"cmmd", "kid"}  # which take long
    named = load_recipe("dit_s", ["evaluate.metrics=[aaa, fid]"], crowded)
    assert named.plugins() == {"zoo": zoo_version(), "zoo-extra": "0.0.1"}


def test_a_file_whose_name_is_no_text_gives_a_name_that_is(load):
    assert load({os.fsdecode(b"a\xff.yaml"): BASE}).name == r"a\udcff"


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="pipes have no names here")
def test_a_pipe_that_is_given_is_read(registry):
    """As a shell's ``<(...)``."""
    reader, writer = os.pipe()
    os.write(writer, b"extends: sit_s\nname: piped")
    os.close(writer)
    try:
        assert read_tree(f"/dev/fd/{reader}").plain()["name"] == "piped"
    finally:
        os.close(reader)


def test_a_pipe_that_a_recipe_extends_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "recipe.yaml").write_text("extends: pipe.yaml")
    with pytest.raises(RecipeError, match=r"pipe\.yaml: is no plain file; give a YAML file$"):
        read_tree(tmp_path / "recipe.yaml")
