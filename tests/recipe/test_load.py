"""From a file to a checked draft: extends, names, sections, parts and their options."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

import zoo
from zoo.assembly import load_recipe
from zoo.errors import RecipeError
from zoo.evaluate import Metric
from zoo.parts import Norm
from zoo.parts.blocks import DiTBlock
from zoo.parts.norms import LayerNorm
from zoo.plugins import Plugin, zoo_version
from zoo.recipe import draft_recipe, read_tree
from zoo.registry import Registry, part

BASE = """\
backbone:
  latent: {channels: 4, height: 8, width: 8}
  num_classes: 10
  dim: 32
  depth: 2
  heads: 2
  patch_schedule: {type: uniform, patch: 2}
"""


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def load(registry):
    """Draft a recipe from files by name, the first of which is read."""

    def load(files, overrides=()):
        for name, text in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text)
        return draft_recipe(read_tree(next(iter(files)), overrides), registry).recipe()

    return load


@pytest.fixture
def problems(load):
    def problems(files, overrides=()):
        with pytest.raises(RecipeError) as caught:
            load({"r.yaml": files} if isinstance(files, str) else files, overrides)
        return list(caught.value.problems)

    return problems


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


def test_the_parts_inside_a_part_are_filled_in(load):
    blocks = [
        load({"r.yaml": f"{BASE}  block: {block}\n"}).backbone.block_specs[0].resolved()
        for block in (
            "{attention: {qk_norm: rms}, norm: {eps: 0.1}}",
            "{attention: {type: softmax, qk_norm: {type: rms}}, cross: null, mlp: {type: null}, norm: {eps: 0.1}}",
        )
    ]
    assert blocks[0] == blocks[1]
    rms = {"type": "rms", "affine": False, "eps": 1e-6}
    assert blocks[0]["attention"] == {"type": "softmax", "bias": True, "qk_norm": rms}
    assert blocks[0]["cross"] is None
    assert blocks[0]["mlp"]["type"] == "gelu"
    assert blocks[0]["norm"] == {"type": "layer", "affine": False, "eps": 0.1}


def test_blocks_may_come_in_runs(load):
    recipe = load(
        {"r.yaml": BASE.replace("depth: 2", "depth: 5") + "  block: [{blocks: 2}, {mlp: swiglu, blocks: 3}]\n"}
    )
    assert [run.blocks for run in recipe.backbone.block] == [2, 3]
    mlps = ["gelu", "gelu", "swiglu", "swiglu", "swiglu"]
    assert [spec.parts["mlp"].type for spec in recipe.backbone.block_specs] == mlps
    assert recipe.backbone.of("block") == recipe.backbone.block_specs
    resolved = recipe.resolved()["backbone"]["block"]
    assert [(each["type"], each["blocks"], each["mlp"]["type"]) for each in resolved] == [
        ("dit", 2, "gelu"), ("dit", 3, "swiglu")
    ]  # fmt: skip


@pytest.mark.parametrize("block", ["dit", "[{type: dit, blocks: 2}]", "[{blocks: 2}]"])
def test_one_run_is_a_part(load, block):
    recipe = load({"r.yaml": f"{BASE}  block: {block}\n"})
    assert recipe == load({"r.yaml": BASE})
    assert recipe.resolved()["backbone"]["block"]["type"] == "dit"


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("[]", ["block: should be a part or a list of runs, got []"]),
        ("3", ["block: should be a part's name or a mapping with `type`, got 3"]),
        ("[dit]", ["block.0.blocks: missing; it is required"]),
        ("[{blocks: 2}, null]", ["block.1.blocks: missing; it is required"]),
        ("[{blocks: 2}, 3]", ["block.1: should be a part's name or a mapping with `type`, got 3"]),
        ("[{blocks: 0}, {blocks: 2}]", ["block.0.blocks: should be at least 1, got 0"]),
        ("[{blocks: 1.0}, {blocks: 1}]", ["block.0.blocks: should be a whole number, got 1.0"]),
        (
            "[{blocks: 1}, {blocks: 2}]",
            ["block: block counts must add up to depth: 1 + 2 = 3, but backbone.depth is 2"],
        ),
        (
            "[{blocks: 3}]",
            ["block: block counts must add up to depth: 3, but backbone.depth is 2"],
        ),
        (
            "[{blocks: 1}, {type: dti, blocks: 1}]",
            ["block.1.type: there is no block 'dti'; did you mean 'dit'? (installed: dit)"],
        ),
        (
            "[{blocks: 1}, {blocks: 1, bloks: 1}]",
            ["block.1.bloks: unknown option; did you mean 'blocks'?"],
        ),
        (
            "[{blocks: 1, norm: {eps: 0}}, {blocks: 1, attention: {qk_norm: 1}}]",
            [
                "block.0.norm.eps: should be above 0.0, got 0",
                "block.1.attention.qk_norm: should be a part's name or a mapping with `type`, got 1",
            ],
        ),
        (
            "{type: dit, blocks: 2}",
            ["block.blocks: is for a list: write [{type: dit, blocks: 2}, ...], or leave it out"],
        ),
        (
            "{blocks: [2], shft: no}",
            [
                "block.blocks: is for a list: write [{type: dit, blocks: [2]}, ...], or leave it out",
                "block.shft: unknown option; did you mean 'shift'?",
            ],
        ),
    ],
)
def test_runs_that_do_not_fit(problems, block, expected):
    assert problems(f"{BASE}  block: {block}\n") == [f"r.yaml:8: backbone.{line}" for line in expected]


def test_runs_are_told_by_the_line_that_they_stand_on(problems):
    text = f"{BASE}  block:\n    - blocks: 1\n    - blocks: 1\n      mlp: {{ratio: 0}}\n"
    assert problems(text) == ["r.yaml:11: backbone.block.1.mlp.ratio: should be above 0.0, got 0"]


def test_every_problem_inside_a_part_is_told(problems):
    assert problems(BASE + "  block:\n    attention: {bias: 3}\n    norm: {eps: no, x: 1}\n    y: 2\n") == [
        "r.yaml:11: backbone.block.y: unknown option; there are: shift, type, attention, cross, mlp, norm",
        "r.yaml:9: backbone.block.attention.bias: should be true or false, got 3",
        'r.yaml:10: backbone.block.norm.eps: should be a number, got "no"',
        "r.yaml:10: backbone.block.norm.x: unknown option; there are: affine, eps, type",
    ]


@part("norm", "inner")
class Inner(LayerNorm):
    pass


@part("block", "holder")
class Holder(DiTBlock):
    def __init__(self, dim: int, heads: int, *, norm: zoo.Part[Norm] = Inner) -> None:
        super().__init__(dim, heads, norm=norm)


@part("block", "wants_one")
class WantsOne(DiTBlock):
    def __init__(self, dim: int, heads: int, *, norm: zoo.Part[Norm]) -> None:
        super().__init__(dim, heads, norm=norm)


@pytest.mark.parametrize(
    ("block", "parts", "expected"),
    [
        (
            "holder",
            [Holder],
            f"backbone.block.norm: its default: {__name__}.Inner is not registered; name it in an entry point of its"
            " plug-in",
        ),
        ("wants_one", [WantsOne], "backbone.block.norm: missing; it is required, one of: layer, rms"),
        ("{type: wants_one, norm: {}}", [WantsOne], "backbone.block.norm: missing; it is required, one of: layer, rms"),
    ],
)
def test_a_part_inside_a_part_that_is_not_there(block, parts, expected):
    Path("r.yaml").write_text(f"{BASE}  block: {block}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe("r.yaml", (), Registry(), parts=parts)
    assert caught.value.problems == (f"r.yaml:8: {expected}",)
    assert load_recipe("r.yaml", ["backbone.block.norm=rms"], Registry(), parts=[*parts, Inner]).backbone.block


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
        ({"r.yaml": "extends: ."}, "r.yaml:1: extends: .: a folder, not a recipe"),
        (
            {"r.yaml": "extends: ''"},
            "r.yaml:1: extends: the name of a recipe is empty; `zoo recipes` lists those that have a name",
        ),
        ({"r.yaml": "extends: 3"}, "r.yaml:1: extends: should be the path or name of one recipe, got 3"),
        ({"r.yaml": "extends: [a, b]"}, 'r.yaml:1: extends: should be the path or name of one recipe, got ["a", "b"]'),
        ({"r.yaml": "extends:"}, "r.yaml:1: extends: should be the path or name of one recipe, got null"),
        ({"r.yaml": "extends: a.yaml", "a.yaml": "- 1"}, "a.yaml:1: a recipe is a mapping with `backbone:`, not [1]"),
        (
            {"r.yaml": "extends: a.yaml", "a.yaml": "a: [\n"},
            "a.yaml:2: not valid YAML: while parsing a flow node expected the node content, but found '<stream end>'",
        ),
    ],
)
def test_refuses_what_cannot_be_extended(problems, files, expected):
    assert problems(files) == [expected]


@pytest.mark.parametrize("text", ["", "# a comment\n", "\n\n"])
def test_refuses_an_empty_file(problems, text):
    assert problems(text) == ["r.yaml: empty; a recipe needs at least `backbone:` or `extends:`"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~", "r.yaml:1: empty; a recipe needs at least `backbone:` or `extends:`"),
        ("hello", 'r.yaml:1: a recipe is a mapping with `backbone:`, not "hello"'),
        ("[a]", 'r.yaml:1: a recipe is a mapping with `backbone:`, not ["a"]'),
        ("{}", "r.yaml:1: backbone: missing; it is required"),
        ("name: a\nbackbone:\n", "r.yaml:2: backbone: missing; it is required"),
        ("name: a\nbackbone: dit\n", 'r.yaml:2: backbone: should be a mapping, got "dit"'),
    ],
)
def test_refuses_what_has_no_backbone(problems, text, expected):
    assert problems(text) == [expected]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bacbone: {}", "bacbone: unknown option; did you mean 'backbone'?"),
        (
            "xx: {}",
            "xx: unknown option; "
            "there are: name, packages, extends, backbone, objective, data, train, sample, evaluate",
        ),
        (
            "evaluate: {metrics: fid}",
            'evaluate.metrics: should be a list of parts, got "fid"',
        ),
        (
            "evaluate: {metrics: [fid, {type: precision_recall, neighbours: 0}]}",
            "evaluate.metrics.1.neighbours: should be at least 1, got 0",
        ),
        (
            "evaluate: {metrics: [fid, {type: fed}]}",
            "evaluate.metrics.1.type: there is no metric 'fed'; did you mean 'fid'? (installed: accuracy, diversity,"
            " fid, inception_score, novelty, precision_recall, sfid)",
        ),
        ("train: {step: 3}", "train.step: unknown option; did you mean 'steps'?"),
        ("train: {steps: 0}", "train.steps: should be at least 1, got 0"),
        ("train: {betas: [0.9, 0.99]}", "train.betas: unknown option of train itself; write train.optimizer.betas"),
        ("train: {optimizer: {betas: [0.9]}}", "train.optimizer.betas.1: missing; it is required"),
        ("train: []", "train: should be a mapping, got []"),
        ("data: {dataset: digit}", "data.dataset.type: there is no dataset 'digit'; did you mean 'digits'?"),
        ("data: {normalize: scale}", "data.normalize.factor: missing; it is required"),
        ("sample: {guidance: -1}", "sample.guidance.scale: should be at least 0"),
        ("objective: {label_dropout: 2}", "objective.label_dropout: should be at most 1"),
        ("objective: {noise_sampler: {type: logit_normal, std: 0}}", "objective.noise_sampler.std: should be "),
        ("name: 3", "name: should be text, got 3"),
        ("name: ''", 'name: should have 1 or more characters, got ""'),
        (f"name: {'x' * 300}", "name: should have 200 characters at most, got "),
        ("  dimm: 3", "backbone.dimm: unknown option; did you mean 'dim'?"),
        ("  time_embeder: fno", "backbone.time_embeder: unknown option; did you mean 'time_embedder'?"),
        (
            "  qq: 3",
            "backbone.qq: unknown option; there are: latent, num_classes, dim, depth, heads, condition, prediction",
        ),
        (
            "  skip: linaer",
            "backbone.skip.type: there is no skip 'linaer'; did you mean 'linear'?",
        ),
        (
            "  time_embedder: sinsoidal",
            "backbone.time_embedder.type: there is no time_embedder 'sinsoidal'; did you mean"
            " 'sinusoidal'? (installed: fno, fourier, sinusoidal)",
        ),
        ("  time_embedder: 3", "backbone.time_embedder: should be a part's name or a mapping with `type`, got 3"),
        (
            "  time_embedder: [fno]",
            'backbone.time_embedder: should be a part\'s name or a mapping with `type`, got ["fno"]',
        ),
        ("  time_embedder: {type: 3}", "backbone.time_embedder.type: should be a part's name, got 3"),
        (
            "  time_embedder: {type: fno, block: 3}",
            "backbone.time_embedder.block: unknown option; did you mean 'blocks'?",
        ),
        ("  time_embedder: {tpye: fno}", "backbone.time_embedder.tpye: unknown option; did you mean 'type'?"),
        ("  upsampler: {type: linear, x: 1}", "backbone.upsampler.x: unknown option; there are: type"),
        ("  head: {learn_sigma: yes}", 'backbone.head.learn_sigma: should be true or false, got "yes"'),
        ("  class_conditioner: {std: .nan}", "backbone.class_conditioner.std: should be a finite number, got NaN"),
        (
            "  class_conditioner: {std: 1e400}",
            "backbone.class_conditioner.std: should be a finite number, got Infinity",
        ),
        ("  class_conditioner: {std: inf}", 'backbone.class_conditioner.std: should be a number, got "inf"'),
        ("  class_conditioner: {std: -0.1}", "backbone.class_conditioner.std: should be at least 0.0, got -0.1"),
        ("  block: {mlp: {ratio: 0}}", "backbone.block.mlp.ratio: should be above 0.0, got 0"),
        (
            "  block: {attention: softmaxx}",
            "backbone.block.attention.type: there is no attention 'softmaxx'; did you mean 'softmax'?",
        ),
        ("  block: {attention: [softmax]}", "backbone.block.attention: should be a part's name or a mapping with"),
        ("  block: {attention: {bais: true}}", "backbone.block.attention.bais: unknown option; did you mean 'bias'?"),
        (
            "  block: {attention: {qknorm: rms}}",
            "backbone.block.attention.qknorm: unknown option; did you mean 'qk_norm'?",
        ),
        ("  block: {atention: softmax}", "backbone.block.atention: unknown option; did you mean 'attention'?"),
        (
            "  block: {attention: {qk_norm: {eps: 0.1}}}",
            "backbone.block.attention.qk_norm.type: missing; it is required, one of: layer, rms",
        ),
        ("  block: {norm: {eps: 0}}", "backbone.block.norm.eps: should be above 0.0, got 0"),
        ("  time_embedder: {layers: 4}", "backbone.time_embedder.layers: should be 1, 2 or 3, got 4"),
        ("  time_embedder: {layers: true}", "backbone.time_embedder.layers: should be a whole number, got true"),
        ("  time_embedder: {layers: 2.0}", "backbone.time_embedder.layers: should be a whole number, got 2.0"),
        ('"a\\nb\\e[31m": 1', r"a\nb\x1b[31m: unknown option; there are: name, packages, extends, backbone"),
    ],
)
def test_tells_file_line_key_and_what_is_wrong(problems, line, expected):
    (problem,) = problems(BASE + line + "\n")
    assert problem.startswith(f"r.yaml:8: {expected}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("true", "should be a whole number, got true"),
        ('"8"', 'should be a whole number, got "8"'),
        ("8.0", "should be a whole number, got 8.0"),
        ("[8]", "should be a whole number, got [8]"),
        ("{a: 8}", 'should be a whole number, got {"a": 8}'),
        (".inf", "should be a whole number, got Infinity"),
        ("1e400", "should be a whole number, got Infinity"),
        ("0", "should be at least 1, got 0"),
        ("-32", "should be at least 1, got -32"),
        ("65537", "should be at most 65536, got 65537"),
        ("null", "missing; it is required"),
    ],
)
def test_numbers_are_not_coerced(problems, value, expected):
    assert problems(BASE.replace("dim: 32", f"dim: {value}")) == [f"r.yaml:4: backbone.dim: {expected}"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "width: 8",
            "widht: 8",
            [
                "r.yaml:2: backbone.latent.width: missing; it is required",
                "r.yaml:2: backbone.latent.widht: unknown option; did you mean 'width'?",
            ],
        ),
        ("{channels: 4, height: 8, width: 8}", "8", ["r.yaml:2: backbone.latent: should be a mapping, got 8"]),
        ("  heads: 2\n", "", ["r.yaml:1: backbone.heads: missing; it is required"]),
        (
            "  patch_schedule: {type: uniform, patch: 2}\n",
            "",
            [
                "r.yaml:1: backbone.patch_schedule: missing; it is"
                " required, one of: by_depth, by_depth_and_timestep, by_timestep, uniform"
            ],
        ),
        (
            "type: uniform, ",
            "",
            [
                "r.yaml:7: backbone.patch_schedule.type: missing; it is required, one of: by_depth,"
                " by_depth_and_timestep, by_timestep, uniform"
            ],
        ),
        ("{type: uniform, patch: 2}", "uniform", ["r.yaml:7: backbone.patch_schedule.patch: missing; it is required"]),
        (
            "{type: uniform, patch: 2}",
            "{type: by_depth, levels: []}",
            ["r.yaml:7: backbone.patch_schedule.levels: should have 1 or more items, got []"],
        ),
        (
            "{type: uniform, patch: 2}",
            "{type: by_depth, levels: 3}",
            ["r.yaml:7: backbone.patch_schedule.levels: should be a list, got 3"],
        ),
        (
            "{type: uniform, patch: 2}",
            "{type: by_depth, levels: [{patch: 2, bloks: 1}, 3]}",
            [
                "r.yaml:7: backbone.patch_schedule.levels.0.blocks: missing; it is required",
                "r.yaml:7: backbone.patch_schedule.levels.0.bloks: unknown option; did you mean 'blocks'?",
                "r.yaml:7: backbone.patch_schedule.levels.1: should be a mapping, got 3",
            ],
        ),
        (
            "{type: uniform, patch: 2}",
            "{type: by_timestep, stages: [{noise_above: 1.0, patch: 2}, {noise_above: low, patch: 2, levels: []}]}",
            [
                "r.yaml:7: backbone.patch_schedule.stages.0.noise_above: should be below 1.0, got 1.0",
                'r.yaml:7: backbone.patch_schedule.stages.1.noise_above: should be a number, got "low"',
                "r.yaml:7: backbone.patch_schedule.stages.1.levels: unknown option; there are: noise_above, patch,"
                " scale",
            ],
        ),
    ],
)
def test_tells_what_is_missing_or_of_the_wrong_form(problems, old, new, expected):
    assert problems(BASE.replace(old, new)) == expected


@pytest.mark.parametrize("value", ["two", "2x2", "true", "[]", "[2, 2, 2, 2]", "{h: 2}", "2.0"])
def test_a_patch_is_one_number_or_one_for_each_axis(problems, value):
    (problem,) = problems(BASE.replace("patch: 2", f"patch: {value}"))
    start = "should be one whole number, or a list of one for each axis of the latent, got "
    assert problem.startswith(f"r.yaml:7: backbone.patch_schedule.patch: {start}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", "patch: should be above 0, got 0"),
        ("[2, true]", "patch.1: should be a whole number, got true"),
        ("[-1, 2]", "patch.0: should be above 0, got -1"),
    ],
)
def test_a_patch_is_positive(problems, value, expected):
    assert problems(BASE.replace("patch: 2", f"patch: {value}")) == [f"r.yaml:7: backbone.patch_schedule.{expected}"]


def test_all_problems_are_told_at_once(problems):
    text = BASE.replace("dim: 32", "dim: true").replace("width: 8", "width: 0").replace("patch: 2", "patch: x")
    got = problems(text + "  time_embedder: {type: fno, modus: 3}\n  head: lin\nxx: 1\ntrain: {step: 1}\nname: 3\n")
    assert [line.split(": ")[:2] for line in sorted(got)] == [
        ["r.yaml:10", "xx"],
        ["r.yaml:11", "train.step"],
        ["r.yaml:12", "name"],
        ["r.yaml:2", "backbone.latent.width"],
        ["r.yaml:4", "backbone.dim"],
        ["r.yaml:7", "backbone.patch_schedule.patch"],
        ["r.yaml:8", "backbone.time_embedder.modus"],
        ["r.yaml:9", "backbone.head.type"],
    ]


def test_all_bad_overrides_are_told_at_once(problems):
    assert problems({"r.yaml": BASE}, ["a", "extends=b", "backbone.dim.x=3"]) == [
        "--set a: write it as key.path=value, such as backbone.depth=24",
        "--set extends=b: extends is fixed in the file; write a recipe of three lines instead",
        "--set backbone.dim.x=3: backbone.dim is 32, with nothing below it",
    ]


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("backbone.dim=x", '--set backbone.dim=x: backbone.dim: should be a whole number, got "x"'),
        ("backbone.dim=", "--set backbone.dim=: backbone.dim: missing; it is required"),
        ("backbone.dimm=3", "--set backbone.dimm=3: backbone.dimm: unknown option; did you mean 'dim'?"),
        ("backbone=", "--set backbone=: backbone: missing; it is required"),
        (
            "backbone.time_embedder=fnoo",
            "--set backbone.time_embedder=fnoo: backbone.time_embedder.type: there is no"
            " time_embedder 'fnoo'; did you mean 'fno'? (installed: fno, fourier, sinusoidal)",
        ),
        (
            "backbone.patch_schedule=by_depth",
            "--set backbone.patch_schedule=by_depth: backbone.patch_schedule.levels: missing; it is required",
        ),
        (
            "backbone.latent={width: true}",
            "--set backbone.latent={width: true}: backbone.latent.width: should be a whole number, got true",
        ),
    ],
)
def test_a_bad_override_is_blamed_on_the_shell(problems, assignment, expected):
    assert problems({"r.yaml": BASE}, [assignment]) == [expected]


def test_an_override_is_not_blamed_for_its_neighbours(problems):
    text = BASE.replace("  heads: 2\n", "")
    assert problems({"r.yaml": text}, ["backbone.dim=64", "backbone.latent={width: 16}"]) == [
        "r.yaml:1: backbone.heads: missing; it is required"
    ]


def test_what_is_inherited_is_blamed_on_the_file_that_says_it(problems):
    assert problems(
        {"top.yaml": "extends: base.yaml\nbackbone: {depth: x}\n", "base.yaml": BASE.replace("32", "true")}
    ) == [
        "base.yaml:4: backbone.dim: should be a whole number, got true",
        'top.yaml:2: backbone.depth: should be a whole number, got "x"',
    ]


def test_a_list_of_parts_is_replaced_as_a_whole_and_addressed_by_place(load):
    files = {
        "r.yaml": "extends: base.yaml\nevaluate: {metrics: [{type: precision_recall, neighbours: 5}, novelty]}\n",
        "base.yaml": BASE + "evaluate: {metrics: [fid, {type: inception_score, split: 7}]}\n",
    }
    metrics = load(files).resolved()["evaluate"]["metrics"]
    assert metrics == [{"type": "precision_recall", "neighbours": 5}, {"type": "novelty"}]
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
    assert [each["type"] for each in resolved[0]["evaluate"]["metrics"]] == [
        entry.name for entry in registry.entries("metric")
    ]
    named = load_recipe("dit_s", ["evaluate.metrics=[aaa, fid]"], crowded)
    assert named.plugins() == {"zoo": zoo_version(), "zoo-extra": "0.0.1"}


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
    with pytest.raises(RecipeError, match=r"pipe\.yaml: is no plain file$"):
        read_tree(tmp_path / "recipe.yaml")
