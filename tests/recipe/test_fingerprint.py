"""What makes two recipes the same training: all but what the table of free values names."""

import copy
import json

import pytest

from zoo.assembly import load_recipe
from zoo.recipe import changes, differences, fingerprint, rules
from zoo.recipe.fingerprint import FREE
from zoo.recipe.options import TrainOptions
from zoo.recipe.schema import SECTIONS

BASE = "digits_hybrid"
OTHER = {
    "steps": 7, "log_every": 3, "checkpoint_every": 9, "keep_last": 5, "keep_every": 500, "snapshot_every": 4,
    "accumulate": 2, "checkpoint_activations": True, "compile": True, "compile_backend": "eager", "parallel": "fsdp",
    "shard_within": 2, "reduce": "bfloat16",
    "batch": 64, "stage_group": 8, "seed": 1, "learning_rate": 0.1, "warmup": 3,
    "freeze": ["blocks.*"], "learning_rate_of": {"heads.*": 2.0},
    "clip": 2.0, "ema": 0.5, "ema_ramp": False, "precision": "bfloat16", "residual": "bfloat16", "matmul": "tf32",
    "init": "w.safetensors", "on_non_finite": "skip", "max_skipped": 3, "timeout": 60.0,
}  # fmt: skip
"""Another value of every option of ``train``."""
MAY_CHANGE = {
    "timeout", "log_every", "checkpoint_every", "keep_last", "keep_every", "snapshot_every",
    "accumulate", "checkpoint_activations", "compile", "compile_backend", "parallel", "shard_within", "on_non_finite",
    "max_skipped",
}  # fmt: skip
"""Those that a run may go on with: how it computes and for how long, not what."""


def resolved(*overrides, registry):
    return load_recipe(BASE, overrides, registry).resolved()


def test_parts_inside_parts_and_runs_decide(registry):
    plain = resolved(registry=registry)
    depth = plain["backbone"]["depth"]
    nested = resolved("backbone.block.attention.qk_norm=rms", registry=registry)
    (line,) = differences(plain, nested)
    assert line.startswith('backbone.block.attention.qk_norm: null and {"type": "rms"')
    one, other = (
        resolved(f"backbone.block=[{{blocks: {first}}}, {{blocks: {depth - first}}}]", registry=registry)
        for first in (1, 2)
    )
    assert differences(one, other) == [
        "backbone.block.0.blocks: 1 and 2", f"backbone.block.1.blocks: {depth - 1} and {depth - 2}"
    ]  # fmt: skip
    assert len({fingerprint(each) for each in (plain, nested, one, other)}) == 4


def test_every_option_of_training_is_decided_on():
    assert set(OTHER) == set(TrainOptions.model_fields)
    assert {free.key.partition(".")[0] for free in FREE} <= {"name", *SECTIONS}
    assert {free.key for free in FREE if free.key.startswith("train.") and not free.rule} == {
        f"train.{name}" for name in (*MAY_CHANGE, "callbacks")
    }


@pytest.mark.parametrize("option", OTHER)
def test_an_option_of_training_counts_unless_it_is_free(option, registry):
    given = ["train.precision=bfloat16"] if option == "residual" else []
    before = resolved(*given, registry=registry)
    after = resolved(*given, f"train.{option}={json.dumps(OTHER[option])}", registry=registry)
    assert before["train"][option] != after["train"][option]
    free = option in MAY_CHANGE
    assert (fingerprint(before) == fingerprint(after)) == free
    told = [] if free else [f"train.{option}: {json.dumps(before['train'][option])} and {json.dumps(OTHER[option])}"]
    told = ["train.learning_rate_of.heads.*: nothing and 2.0"] if option == "learning_rate_of" else told  # by its keys
    assert differences(before, after) == told
    changed = [str(each) for each in changes(before, after)]
    value, was = (json.dumps(each) for each in (OTHER[option], before["train"][option]))
    asked = {free.key for free in FREE if free.rule}
    assert changed == ([f"train.{option}: {value} in place of {was}"] if free or f"train.{option}" in asked else [])


def test_what_changed_beside_what_may_not_is_told_by_itself(registry):
    before = resolved(registry=registry)
    after = resolved("sample={steps: 3, solver: heun}", "train.seed=5", "data.workers=2", registry=registry)
    assert [each.to_dict() for each in changes(before, after)] == [
        {"key": "data.workers", "before": 0, "after": 2},
        {"key": "sample.steps", "before": before["sample"]["steps"], "after": 3},
        {"key": "sample.solver.type", "before": "euler", "after": "heun"},
    ]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("backbone.dim=48", ["backbone.dim: 96 and 48"]),
        ("backbone.patch_schedule.stages.0.noise_above=0.25",
         ["backbone.patch_schedule.stages.0.noise_above: 0.5 and 0.25"]),
        ("backbone.class_conditioner.tokens=2", ["backbone.class_conditioner.tokens: 4 and 2"]),
        ("objective.label_dropout=0.5", ["objective.label_dropout: 0.1 and 0.5"]),
        ("objective.noise_sampler=logit_normal",
         ["objective.noise_sampler.type: \"uniform\" and \"logit_normal\"",
          "objective.noise_sampler.mean: nothing and 0.0", "objective.noise_sampler.std: nothing and 1.0"]),
        ("data.normalize={type: scale, factor: 2.0}",
         ["data.normalize.type: \"none\" and \"scale\"", "data.normalize.factor: nothing and 2.0",
          "data.normalize.shift: nothing and 0.0"]),
        ("train.optimizer={betas: [0.5, 0.999]}", ["train.optimizer.betas.0: 0.9 and 0.5"]),
        ("train.schedule=wsd",
         ["train.schedule.type: \"cosine\" and \"wsd\"",
          "train.schedule.decay: nothing and 0.2", "train.schedule.shape: nothing and \"sqrt\""]),
        ("data.workers=3", []),
        ("name=another", []),
        ("sample={steps: 3, solver: heun}", []),
    ],
)  # fmt: skip
def test_other_sections_count_but_for_how_samples_are_read_and_drawn(override, told, registry):
    before, after = resolved(registry=registry), resolved(override, registry=registry)
    assert before != after
    assert differences(before, after) == told
    assert (fingerprint(before) == fingerprint(after)) == (not told)


def test_lists_of_other_lengths_are_told_whole(registry):
    before = resolved(registry=registry)
    after = copy.deepcopy(before)
    after["backbone"]["patch_schedule"]["stages"].pop()
    (line,) = differences(before, after)
    assert line.startswith("backbone.patch_schedule.stages: [")
    assert len(line) < 200


def test_a_run_may_be_longer_where_its_rule_holds(registry):
    before, after = resolved(registry=registry), resolved("train.steps=2000", registry=registry)
    assert differences(before, after) == ["train.steps: 1000 and 2000"]
    (rule,) = rules(before, after)
    assert rule.startswith("train.steps may change where the updates done keep their learning rates (always under ")
    assert differences(before, after, ["train.steps"]) == rules(before, after, ["train.steps"]) == []


def test_files_may_move(registry):
    before, after = (
        resolved(f"data.dataset={{type: latents, folder: {folder}, vae: {folder}}}", registry=registry)
        for folder in ("here", "there")
    )
    assert differences(before, after) == []
    assert fingerprint(before) == fingerprint(after)


def test_one_average_is_the_same_in_a_list_and_several_are_others(registry):
    one, listed, several, other = (
        resolved(f"train.ema={each}", registry=registry) for each in ("0.9", "[0.9]", "[0.9, 0.5]", "[0.9, 0.6]")
    )
    assert one == listed
    assert differences(one, several) == ["train.ema: 0.9 and [0.9, 0.5]"]
    assert differences(several, other) == ["train.ema.1: 0.5 and 0.6"]
    assert len({fingerprint(each) for each in (one, listed, several, other)}) == 3


def test_the_order_of_keys_does_not_matter(registry):
    before = resolved(registry=registry)
    after = {key: dict(reversed(value.items())) if isinstance(value, dict) else value
             for key, value in reversed(before.items())}  # fmt: skip
    assert fingerprint(before) == fingerprint(after)
    assert differences(before, after) == []


def test_writing_a_recipe_out_does_not_change_it(registry):
    before = resolved(registry=registry)
    again = load_recipe(json.loads(json.dumps(before)), (), registry).resolved()
    assert fingerprint(before) == fingerprint(again)


def test_a_fingerprint_is_the_same_for_ever():
    """Recorded: checkpoints hold it, and could not be gone on with if it changed."""
    values = {"name": "x", "train": {"steps": 3, "batch": 8}, "data": {"workers": 1, "dataset": {"type": "d"}}}
    assert fingerprint(values) == "879f8bbf308a4ebf001cb6cc304dfe7607541a327357c335ccb200d422d01809"
