"""How recipes build on each other: ``extends`` merges trees, ``--set`` overrides single values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import RecipeError
from zoo.recipe.merge import merge, read_override, without_nulls
from zoo.recipe.source import Node, Origin, node_of, parse_yaml
from zoo.recipe.tree import read_tree

BASE = """
name: base
backbone:
  latent: {height: 32, width: 16}
  dim: 768
  time_embedder: {type: fno, blocks: 2}
  patch_schedule: {type: by_depth, levels: [{patch: 4, blocks: 6}, {patch: [2, 1], blocks: 6}]}
"""
NOTHING = Node({}, Origin("nothing"))

# Keys that parts have too, so that random trees meet the rules of parts.
KEYS = st.sampled_from(["backbone", "time_embedder", "head", "block", "attention", "type", "a", "b"])
SCALARS = st.sampled_from([None, 1, "fno", "sinusoidal", True, 0.5])
MAPPINGS = st.recursive(
    st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=2), max_size=3),
    lambda below: st.dictionaries(KEYS, below | SCALARS, max_size=3),
    max_leaves=8,
)


def tree(text: str) -> Node:
    return parse_yaml(text, "r.yaml")


def plain(node: Node) -> dict:
    return without_nulls(node).plain()


def override(node: Node, assignment: str) -> Node:
    return read_override(assignment).on(node)


def backbone_with(assignment: str) -> dict:
    return plain(override(tree(BASE), assignment))["backbone"]


@pytest.mark.parametrize(
    ("over", "changed"),
    [
        ("latent: {height: 64}", {"latent": {"height": 64, "width": 16}}),
        ("dim: 384", {"dim": 384}),
        ("patch_schedule: {levels: [{patch: 2}]}", {"patch_schedule": {"type": "by_depth", "levels": [{"patch": 2}]}}),
        ("patch_schedule: {type: uniform, patch: 2}", {"patch_schedule": {"type": "uniform", "patch": 2}}),
        ("time_embedder: {blocks: 3}", {"time_embedder": {"type": "fno", "blocks": 3}}),
        ("time_embedder: {type: fno, modes: 3}", {"time_embedder": {"type": "fno", "blocks": 2, "modes": 3}}),
        ("time_embedder: fno", {"time_embedder": {"type": "fno", "blocks": 2}}),
        ("time_embedder: sinusoidal", {"time_embedder": {"type": "sinusoidal"}}),
        ("time_embedder: {type: sinusoidal, layers: 3}", {"time_embedder": {"type": "sinusoidal", "layers": 3}}),
        ("time_embedder: {type: null, layers: 3}", {"time_embedder": {"layers": 3}}),
        ("time_embedder: {blocks: null}", {"time_embedder": {"type": "fno"}}),
        ("time_embedder: null", {"time_embedder": None}),
        ("head: linear", {"head": {"type": "linear"}}),
        ("head: {learn_sigma: true}", {"head": {"learn_sigma": True}}),
    ],
)
def test_mappings_merge_lists_and_scalars_replace_null_is_the_default(over, changed):
    merged = plain(merge(tree(BASE), tree(f"backbone: {{{over}}}")))
    expected = {**tree(BASE).plain()["backbone"], **changed}
    assert merged == {"name": "base", "backbone": {key: value for key, value in expected.items() if value is not None}}


def test_a_default_part_whose_type_changes_is_replaced_whole():
    base = tree("backbone: {time_embedder: {layers: 3}}")  # sinusoidal, though it is not named
    merged = merge(base, tree("backbone: {time_embedder: fno}"))
    assert plain(merged) == {"backbone": {"time_embedder": {"type": "fno"}}}
    merged = merge(base, tree("backbone: {time_embedder: sinusoidal}"))
    assert plain(merged) == {"backbone": {"time_embedder": {"type": "sinusoidal", "layers": 3}}}


NESTED = {"type": "dit", "attention": {"type": "softmax", "qk_norm": "rms"}, "cross": {"bias": True}}


@pytest.mark.parametrize(
    ("over", "changed"),
    [
        ("attention: {bias: false}", {"attention": {"type": "softmax", "qk_norm": "rms", "bias": False}}),
        ("attention: softmax", {"attention": {"type": "softmax", "qk_norm": "rms"}}),
        ("attention: cross", {"attention": {"type": "cross"}}),
        ("attention: {type: cross, bias: false}", {"attention": {"type": "cross", "bias": False}}),
        ("attention: {type: null}", {"attention": {}}),
        ("attention: {qk_norm: {affine: true}}", {"attention.qk_norm": {"type": "rms", "affine": True}}),
        ("attention: {qk_norm: {type: rms, eps: 1}}", {"attention.qk_norm": {"type": "rms", "eps": 1}}),
        ("attention: {qk_norm: layer}", {"attention.qk_norm": "layer"}),
        ("cross: {init: zero}", {"cross": {"bias": True, "init": "zero"}}),
        ("cross: softmax", {"cross": {"type": "softmax"}}),  # what it was cannot be told here
        ("cross: {type: softmax}", {"cross": {"type": "softmax"}}),
        ("norm: rms", {"norm": "rms"}),
    ],
)
def test_parts_inside_a_part_merge_as_parts(over, changed):
    base = node_of({"backbone": {"block": NESTED}}, Origin("base"))
    merged = plain(merge(base, tree(f"backbone: {{block: {{{over}}}}}")))["backbone"]["block"]
    expected = {**NESTED, "attention": dict(NESTED["attention"])}
    for key, value in changed.items():
        *above, last = key.split(".")
        (expected[above[0]] if above else expected)[last] = value
    assert merged == expected


@pytest.mark.parametrize(
    ("assignment", "attention"),
    [
        (
            "backbone.block.attention.qk_norm.affine=true",
            {"type": "softmax", "qk_norm": {"type": "rms", "affine": True}},
        ),
        ("backbone.block.attention.qk_norm=layer", {"type": "softmax", "qk_norm": "layer"}),
        ("backbone.block.attention.qk_norm=null", {"type": "softmax"}),
        ("backbone.block.attention=softmax", {"type": "softmax", "qk_norm": "rms"}),
        ("backbone.block.attention.type=cross", {"type": "cross"}),
        ("backbone.block=other", None),
    ],
)
def test_an_override_reaches_parts_inside_a_part(assignment, attention):
    base = node_of({"backbone": {"block": NESTED}}, Origin("base"))
    assert plain(override(base, assignment))["backbone"]["block"].get("attention") == attention


GUIDED = {"type": "classifier_free", "scale": 2.0, "channels": 3}


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        (GUIDED, 1.5, {**GUIDED, "scale": 1.5}),
        (GUIDED, [1.5, 3.5], {**GUIDED, "scale": [1.5, 3.5]}),
        ({"type": "other", "weight": 1}, 3, {"type": "other", "weight": 1, "scale": 3}),
        (2, {"channels": 3}, {"scale": 2, "channels": 3}),
        ([1, 2], 3, {"scale": 3}),
        ([1, 2], {"type": "other"}, {"type": "other"}),
        (GUIDED, "other", {"type": "other"}),
        (GUIDED, None, None),
        (GUIDED, True, True),
    ],
)
def test_a_number_in_place_of_guidance_is_its_scale(base, over, expected):
    below = node_of({"sample": {"guidance": base}}, Origin("base"))
    merged = merge(merge(NOTHING, below), node_of({"sample": {"guidance": over}}, Origin("over")))
    assert plain(merged)["sample"].get("guidance") == expected
    if not isinstance(over, dict | None):
        assert plain(override(below, f"sample.guidance={over}")) == plain(merged)


RUNS = [{"type": "dit", "blocks": 6, "mlp": "gelu"}, {"blocks": 6, "mlp": "gelu"}]


@pytest.mark.parametrize(
    ("assignment", "block"),
    [
        ("backbone.block.0=other", [{"type": "other", "blocks": 6}, RUNS[1]]),
        ("backbone.block.0={type: other, x: 1}", [{"type": "other", "blocks": 6, "x": 1}, RUNS[1]]),
        ("backbone.block.0.type=other", [{"type": "other", "blocks": 6}, RUNS[1]]),
        ("backbone.block.1.type=dit", [RUNS[0], {"type": "dit", "blocks": 6, "mlp": "gelu"}]),  # as it was by default
        ("backbone.block.0.blocks=3", [{"type": "dit", "blocks": 3, "mlp": "gelu"}, RUNS[1]]),
        ("backbone.block.1.mlp.ratio=3", [RUNS[0], {"blocks": 6, "mlp": {"type": "gelu", "ratio": 3}}]),
        ("backbone.block=[{blocks: 12}]", [{"blocks": 12}]),
        ("backbone.block=other", {"type": "other"}),
    ],
)
def test_the_number_of_blocks_belongs_to_the_run_and_not_to_its_part(assignment, block):
    base = node_of({"backbone": {"block": RUNS}}, Origin("base"))
    assert plain(override(base, assignment))["backbone"]["block"] == block


def test_runs_have_nothing_below_them_but_their_places():
    base = node_of({"backbone": {"block": RUNS}}, Origin("base"))
    with pytest.raises(RecipeError, match=r"backbone.block has no item 'mlp'; it has 0, 1"):
        override(base, "backbone.block.mlp=swiglu")


def test_a_text_that_meets_a_mapping_elsewhere_replaces_it():
    assert plain(override(tree("backbone: {latent: {height: 3}}"), "backbone.latent=a"))["backbone"]["latent"] == "a"


@given(MAPPINGS)
def test_nothing_on_top_changes_nothing(value):
    base = merge(NOTHING, node_of(value, Origin("base")))
    assert merge(base, NOTHING).plain() == base.plain()


@given(MAPPINGS, MAPPINGS)
def test_overriding_twice_with_the_same_is_overriding_once(value, over_value):
    base, over = node_of(value, Origin("base")), node_of(over_value, Origin("over"))
    once = merge(base, over)
    assert merge(once, over).plain() == once.plain()


@given(MAPPINGS, st.sampled_from(["backbone.a", "a", "backbone.time_embedder", "backbone.head.type"]), SCALARS, SCALARS)
def test_of_two_overrides_the_last_one_holds(value, key_path, first, last):
    scalars = {None: "null", True: "true"}
    set_first, set_last = (f"{key_path}={scalars.get(scalar, scalar)}" for scalar in (first, last))
    try:
        once = override(node_of(value, Origin("base")), set_last)
        twice = override(override(node_of(value, Origin("base")), set_first), set_last)
    except RecipeError:
        return  # there is a scalar on the way
    *above, key = key_path.split(".")
    at = [node.plain() for node in (once, twice)]
    for step in above:
        at = [each[step] for each in at]
    assert at[0][key] == last or at[0][key]["type"] == last
    assert at[1][key] == last or at[1][key]["type"] == last


@pytest.mark.parametrize(
    ("assignment", "changed"),
    [
        ("backbone.dim=384", {"dim": 384}),
        (" backbone.dim =384", {"dim": 384}),
        ("backbone.dim=1e-4", {"dim": 1e-4}),
        ("backbone.dim=no", {"dim": "no"}),
        ('backbone.dim="384"', {"dim": "384"}),
        ("backbone.dim=", {"dim": None}),
        ("backbone.dim=null", {"dim": None}),
        ("backbone.dim=# nothing", {"dim": None}),
        ("backbone.dim=a=b", {"dim": "a=b"}),
        ("backbone.latent.height=64", {"latent": {"height": 64, "width": 16}}),
        ("backbone.latent={height: 64}", {"latent": {"height": 64, "width": 16}}),
        ("backbone.time_embedder=sinusoidal", {"time_embedder": {"type": "sinusoidal"}}),
        ("backbone.time_embedder.type=sinusoidal", {"time_embedder": {"type": "sinusoidal"}}),
        ("backbone.time_embedder=fno", {"time_embedder": {"type": "fno", "blocks": 2}}),
        ("backbone.time_embedder.modes=3", {"time_embedder": {"type": "fno", "blocks": 2, "modes": 3}}),
        ("backbone.time_embedder=", {"time_embedder": None}),
        ("backbone.head.learn_sigma=true", {"head": {"learn_sigma": True}}),
        ("backbone.head=linear", {"head": {"type": "linear"}}),
        ("backbone.a.b.c=[1, x]", {"a": {"b": {"c": [1, "x"]}}}),
    ],
)
def test_set_overrides(assignment, changed):
    expected = {**tree(BASE).plain()["backbone"], **changed}
    assert backbone_with(assignment) == {key: value for key, value in expected.items() if value is not None}


@pytest.mark.parametrize(
    ("assignment", "levels"),
    [
        ("levels.0.patch=8", [{"patch": 8, "blocks": 6}, {"patch": [2, 1], "blocks": 6}]),
        ("levels.1.patch.1=2", [{"patch": 4, "blocks": 6}, {"patch": [2, 2], "blocks": 6}]),
        ("levels.1={blocks: 7}", [{"patch": 4, "blocks": 6}, {"patch": [2, 1], "blocks": 7}]),
        ("levels=[{patch: 1, blocks: 12}]", [{"patch": 1, "blocks": 12}]),
    ],
)
def test_set_reaches_list_items(assignment, levels):
    assert backbone_with(f"backbone.patch_schedule.{assignment}")["patch_schedule"]["levels"] == levels


@pytest.mark.parametrize("shell", ["backbone.latent.height=64", "backbone.latent={height: 64}", "backbone.dim=3"])
def test_set_leaves_the_origin_of_what_is_around_the_value(shell):
    after = override(tree(BASE), shell)
    for path in [(), ("backbone",), ("backbone", "latent"), ("backbone", "latent", "width")]:
        assert after.origin_of(path) == tree(BASE).origin_of(path)
    changed = ("backbone", "dim") if "dim" in shell else ("backbone", "latent", "height")
    assert str(after.origin_of(changed)) == f"--set {shell}"


@pytest.mark.parametrize(
    ("shell", "key"), [("backbone.time_embedder.type=sinusoidal", "time_embedder"), ("backbone.dim=", "dim")]
)
def test_a_part_that_set_replaces_and_a_null_are_from_the_shell(shell, key):
    assert str(override(tree(BASE), shell).origin_of(("backbone", key))) == f"--set {shell}"


@pytest.mark.parametrize("assignment", ["", "=", "backbone.dim", "=3", ".=3", "backbone..dim=3", "backbone.=3"])
def test_refuses_what_is_no_assignment(assignment):
    with pytest.raises(RecipeError) as caught:
        override(tree(BASE), assignment)
    assert str(caught.value) == f"--set {assignment}: write it as key.path=value, such as backbone.depth=24"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("extends=dit_b", "extends is fixed in the file; write a recipe of three lines instead"),
        ("extends.a=dit_b", "extends is fixed in the file"),
        ("backbone.dim.x=3", "backbone.dim is 768, with nothing below it; set it itself"),
        ("backbone.dim.x.y=3", "backbone.dim is 768, with nothing below it; set it itself"),
        ("name.x=3", 'name is "base", with nothing below it; set it itself'),
        ("backbone.patch_schedule.levels.2.patch=3", "backbone.patch_schedule.levels has no item '2'; it has 0, 1"),
        ("backbone.patch_schedule.levels.-1=3", "backbone.patch_schedule.levels has no item '-1'; it has 0, 1"),
        ("backbone.patch_schedule.levels.x=3", "backbone.patch_schedule.levels has no item 'x'; it has 0, 1"),
        (f"backbone.patch_schedule.levels.{'9' * 5000}=3", "backbone.patch_schedule.levels has no item '999"),
        ("backbone.dim=[", "not valid YAML: '[' or '{' is not closed"),
        ("backbone.dim={a: 1, a: 2}", "a: written twice; remove one"),
        ("backbone.dim=*x", "aliases (*name) are not read in recipes"),
        ("backbone.dim=!!int 3", "tags are not read in recipes; remove !!int"),
        ("backbone.dim=" + "[" * 10_000, "nested deeper than 32 levels"),
    ],
)
def test_refuses_what_cannot_be_set(assignment, message):
    with pytest.raises(RecipeError) as caught:
        override(tree(BASE), assignment)
    assert str(caught.value).startswith(f"--set {assignment}: {message}")


def test_an_empty_list_has_no_items():
    with pytest.raises(RecipeError, match=r"a has no item '0'; it has none"):
        override(tree("a: []"), "a.0=3")


TYPE_LAST = ["backbone.time_embedder.blocks=3", "backbone.time_embedder=sinusoidal"]


def test_an_override_that_a_later_one_would_lose_is_refused():
    with pytest.raises(RecipeError) as caught:
        read_tree(tree(BASE).plain(), TYPE_LAST)
    assert str(caught.value) == (
        "--set backbone.time_embedder.blocks=3: would be lost, since --set backbone.time_embedder=sinusoidal comes"
        " after it and replaces backbone.time_embedder whole; write it after that"
    )
    values = {"backbone.time_embedder.blocks": 3, "backbone.time_embedder.type": "sinusoidal"}
    with pytest.raises(RecipeError, match=r"^overrides\['backbone.*blocks'\]: would be lost, since overrides"):
        read_tree(tree(BASE).plain(), values)


def test_an_override_is_lost_in_a_section_that_the_recipe_has_not():
    overrides = ["sample.solver.diffusion=sigma", "sample.solver=heun"]
    with pytest.raises(RecipeError, match=r"diffusion=sigma: would be lost, since --set sample.solver=heun"):
        read_tree(tree(BASE).plain(), overrides)


@pytest.mark.parametrize("key", ["type", "data.type"])  # of no part
def test_what_replaces_another_is_told_by_its_key(key):
    with pytest.raises(RecipeError, match=rf" since --set {key}=x comes after it and replaces {key} whole"):
        read_tree(tree(BASE).plain(), [f"{key}.a=1", f"{key}=x"])


@pytest.mark.parametrize(
    ("overrides", "merged"),
    [
        (TYPE_LAST[::-1], {"type": "sinusoidal", "blocks": 3}),
        ([TYPE_LAST[0], "backbone.time_embedder=fno"], {"type": "fno", "blocks": 3}),
        ([TYPE_LAST[0], "backbone.time_embedder.blocks=4"], {"type": "fno", "blocks": 4}),
        (["backbone.time_embedder={type: fno, blocks: 3}", TYPE_LAST[1]], {"type": "sinusoidal"}),
        (["backbone.time_embedder.type=other", TYPE_LAST[1]], {"type": "sinusoidal"}),
    ],
)
def test_an_override_that_stays_or_is_said_again_is_none(overrides, merged):
    assert read_tree(tree(BASE).plain(), overrides).plain()["backbone"]["time_embedder"] == merged
