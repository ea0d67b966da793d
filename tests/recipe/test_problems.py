"""What is told of a recipe that says something wrong: file, line, key, or the shell."""

import pytest

from tests.recipe.drafts import BASE


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
            "evaluate.metrics.1.type: there is no metric 'fed'; did you mean 'fid'? (installed: accuracy, cmmd,"
            " diversity, fid, inception_score, kid, novelty, precision_recall, sfid)",
        ),
        ("train: {step: 3}", "train.step: unknown option; did you mean 'steps'?"),
        ("train: {steps: 0}", "train.steps: should be at least 1, got 0"),
        ("train: {betas: [0.9, 0.99]}", "train.betas: unknown option of train itself; write train.optimizer.betas"),
        ("steps: 100", "steps: unknown option of a recipe itself; write train.steps or sample.steps"),
        ("upsampler: linear", "upsampler: unknown option of a recipe itself; write backbone.upsampler"),
        ("attention: softmax", "attention: unknown option of a recipe itself; write backbone.block.attention"),
        (
            "  attention: softmax",
            "backbone.attention: unknown option of backbone itself; write backbone.block.attention",
        ),
        (
            "  qk_norm: rms",
            "backbone.qk_norm: unknown option of backbone itself; write backbone.block.attention.qk_norm",
        ),
        ("train: {optimizer: {betas: [0.9]}}", "train.optimizer.betas.1: missing; it is required"),
        (
            "train: {checkpoint_every: 20, keep_every: 50}",
            "train.keep_every: should be a multiple of train.checkpoint_every, 20, got 50",
        ),
        ("train: []", "train: should be a mapping, got []"),
        ("data: {dataset: digit}", "data.dataset.type: there is no dataset 'digit'; did you mean 'digits'?"),
        ("data: {normalize: scale}", "data.normalize.factor: missing; it is required"),
        ("sample: {guidance: -1}", "sample.guidance.scale: should be at least 0"),
        ("objective: {label_dropout: 2}", "objective.label_dropout: should be at most 1"),
        ("objective: {noise_sampler: {type: logit_normal, std: 0}}", "objective.noise_sampler.std: should be "),
        ("name: 3", "name: should be text, got 3"),
        ("name: ''", 'name: should have 1 or more characters, got ""'),
        (f"name: {'x' * 300}", "name: should have 200 characters at most, got "),
        ("  width: 3", "backbone.width: unknown option; did you mean 'dim'?"),  # and not time_embedder's
        ("width: 3", "width: unknown option of a recipe itself; write backbone.dim"),
        ("  num_layers: 3", "backbone.num_layers: unknown option; did you mean 'depth'?"),
        ("train: {lr: 1.0}", "train.lr: unknown option; did you mean 'learning_rate'?"),
        ("data: {folder: x}", "data.folder: unknown option"),
        ("  dimm: 3", "backbone.dimm: unknown option; did you mean 'dim'?"),
        (
            "  time_embedder: sinsoidal",
            "backbone.time_embedder.type: there is no time_embedder 'sinsoidal'; did you mean"
            " 'sinusoidal'? (installed: fno, fourier, sinusoidal)",
        ),
        (
            "  time_embedder: [fno]",
            'backbone.time_embedder: should be a part\'s name or a mapping with `type`, got ["fno"]',
        ),
        ("  time_embedder: {type: 3}", "backbone.time_embedder.type: should be a part's name, got 3"),
        ("  time_embedder: {tpye: fno}", "backbone.time_embedder.tpye: unknown option; did you mean 'type'?"),
        ("  head: {learn_sigma: yes}", 'backbone.head.learn_sigma: should be true or false, got "yes"'),
        ("  class_conditioner: {std: .nan}", "backbone.class_conditioner.std: should be a finite number, got NaN"),
        ("  class_conditioner: {std: inf}", 'backbone.class_conditioner.std: should be a number, got "inf"'),
        ("  class_conditioner: {std: -0.1}", "backbone.class_conditioner.std: should be at least 0.0, got -0.1"),
        ("  block: {mlp: {ratio: 0}}", "backbone.block.mlp.ratio: should be above 0.0, got 0"),
        ("  block: {attention: [softmax]}", "backbone.block.attention: should be a part's name or a mapping with"),
        (
            "  block: {attention: {qknorm: rms}}",
            "backbone.block.attention.qknorm: unknown option; did you mean 'qk_norm'?",
        ),
        ("  block: {atention: softmax}", "backbone.block.atention: unknown option; did you mean 'attention'?"),
        (
            "  block: {attention: {qk_norm: {eps: 0.1}}}",
            "backbone.block.attention.qk_norm.type: missing; it is required, one of: layer, rms",
        ),
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
            ["r.yaml:2: backbone.latent.widht: unknown option; did you mean 'width'?"],
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
        "--set backbone.dim.x=3: backbone.dim is 32, with nothing below it; set it itself",
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
