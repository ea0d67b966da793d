"""A misspelt key is told without what follows from it alone, and beside what is wrong by itself."""

import pytest

from tests.recipe.drafts import BASE
from zoo.assembly import load_recipe
from zoo.errors import RecipeError
from zoo.recipe.load import part_given

MISSPELT = [
    ("dpth: 2, patch_schedule: {levels: [{patch: 2, blocks: 2}]}", "dpth", "depth"),
    ("block: [{type: dit, blocks: 1}, {type: dit, bloks: 1}]", "block.1.bloks", "blocks"),
    ("dpth: 1, block: [{type: dit, blocks: 1}]", "dpth", "depth"),
    ("dim: 64, hads: 5, heads: 3", "hads", "heads"),
    ("dim: 64, heads: 3, dimm: 96", "dimm", "dim"),
    ("latent: {hight: 8, width: 16}", "latent.hight", "height"),
    ("num_classes: 0, class_conditoner: none", "class_conditoner", "class_conditioner"),
    ("router: {typ: tread, first: 1, stop: 3}", "router.typ", "type"),
    ("router: {type: tread, frst: 1, stop: 2}", "router.frst", "first"),
    ("class_conditioner: {type: class_tokens, tokens: 4, tpye: embedding}", "class_conditioner.tpye", "type"),
    ("patch_schedule: {levels: [{patch: 2, bloks: 3}]}", "patch_schedule.levels.0.bloks", "blocks"),
    ("block: {attention: {qk_norm: {tpe: rms, eps: 1e-6}}}", "block.attention.qk_norm.tpe", "type"),
]
OVER = "extends: base.yaml\nbackbone: {%s}\n"
BY_DEPTH = BASE.replace("{type: uniform, patch: 2}", "{type: by_depth, levels: [{patch: 4, blocks: 2}]}")


@pytest.fixture
def told(tmp_path, monkeypatch, registry):
    """The problems of a recipe upon another one, whose parts have been tried too."""
    monkeypatch.chdir(tmp_path)

    def told(text, overrides=()):
        (tmp_path / "base.yaml").write_text(BY_DEPTH)
        (tmp_path / "r.yaml").write_text(text)
        with pytest.raises(RecipeError) as caught:
            load_recipe("r.yaml", overrides, registry)
        return list(caught.value.problems)

    return told


@pytest.mark.parametrize(("text", "key", "meant"), MISSPELT)
def test_what_follows_from_a_misspelt_key_is_not_told(told, text, key, meant):
    assert told(OVER % text) == [f"r.yaml:2: backbone.{key}: unknown option; did you mean {meant!r}?"]


@pytest.mark.parametrize(
    ("text", "line", "key", "meant"),
    [
        ("bckbone: {dim: 3}\nbackbone: {heads: 7}", 2, "bckbone", "backbone"),
        ("extend: mpdit_b\nbackbone: {dim: 64, class_conditioner: {tokens: 2}}", 2, "extend", "extends"),
        ("base: mpdit_b\nbackbone: {dim: 64, class_conditioner: {tokens: 2}}", 2, "base", "extends"),
        ("backbone: {}\ntrain: {checkpont_every: 7, keep_every: 14}", 3, "train.checkpont_every", "checkpoint_every"),
        (
            "backbone: {}\nobjective: {loses: [cosine], losses: [{type: cosine, weight: 1}]}",
            3,
            "objective.loses",
            "losses",
        ),
        ("backbone: {}\nevaluate: {metrics: [{typ: precision_recall, k: 3}]}", 3, "evaluate.metrics.0.typ", "type"),
    ],
)
def test_what_follows_in_another_section_is_not_told(told, text, line, key, meant):
    first = "name: mine" if text.startswith("extend:") else "extends: base.yaml"
    assert told(f"{first}\n{text}\n") == [f"r.yaml:{line}: {key}: unknown option; did you mean {meant!r}?"]


def test_a_number_of_heads_is_not_the_head(told):
    assert told(OVER % "dim: 30, head: 3") == [
        "r.yaml:2: backbone.head: should be a part's name or a mapping with `type`, got 3; did you mean 'heads'?",
        "r.yaml:2: backbone.position: sincos: dim 30 is not divisible by 4: take a multiple of it, for a sine and a"
        " cosine of every axis",
    ]


def test_what_an_override_misspells_is_told_without_what_follows(told):
    overrides = {"backbone.dpth": 3, "backbone.patch_schedule.levels": [{"patch": 4, "blocks": 3}]}
    assert told("extends: base.yaml\n", overrides) == [
        "overrides['backbone.dpth']: backbone.dpth: unknown option; did you mean 'depth'?"
    ]


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("time_embeder: fno, heads: 3", ["block.attention"]),
        ("dpth: 3, latent: {width: x}", ["latent.width"]),
        ("hads: 3, dim: 30", ["position"]),
        ("hads: 3, block: {mlp: {ratio: 0}}", ["block.mlp.ratio"]),
        ("hads: 3, head: {typ: linear}", ["head.typ"]),
    ],
)
def test_what_is_wrong_by_itself_is_told_beside_a_misspelt_key(told, text, others):
    keys = {problem.split(": ")[1] for problem in told(OVER % text)}
    assert keys == {f"backbone.{key}" for key in (text.split(":")[0], *others)}


def test_of_a_part_from_python_too(registry):
    with pytest.raises(ValueError, match=r"^router\.frst: unknown option; did you mean 'first'\?$"):
        part_given("router", {"type": "tread", "frst": 1, "stop": 2}, registry)


def test_a_number_in_the_place_of_a_part_within_a_part_is_told(registry):
    with pytest.raises(ValueError, match=r"attention: should be a part's name or a mapping with `type`, got 3"):
        part_given("block", {"type": "dit", "attention": 3}, registry)
