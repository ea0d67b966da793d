"""Plans of trainings."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.plan.test_model import GPU
from tests.train.small import small
from zoo.assembly import build, load_recipe
from zoo.audit import activation_memory, audit, held_memory
from zoo.errors import ZooError
from zoo.plan import Plan, Work, load_device, plan, work_of
from zoo.plan.model import time_of
from zoo.recipe import Recipe
from zoo.registry import Registry

MEASURED = Path(__file__).parents[2] / "tools" / "gpu_h200.jsonl"
SCALED = "[{noise_above: 0.5, patch: 2, scale: 2}, {noise_above: 0.0, patch: 2}]"
HOST = GPU.model_copy(update={"host_us": 0.0, "kernel_us": 0.0})


@cache
def work(gpus: int = 1, *overrides: str) -> Work:
    return work_of(recipe(*overrides), gpus)


def planned(gpus: int = 1, *overrides: str, images: float | None = None) -> Plan:
    return plan(work(gpus, *overrides), HOST, images=images)


def recipe(*overrides: str) -> Recipe:
    return small("train.batch=8", *overrides)


def test_a_step_is_its_passes_and_its_update() -> None:
    found = planned()
    assert found.step == pytest.approx(found.passes.device + found.update.device)
    assert found.images_s == pytest.approx(8 / found.step)
    assert (found.piece, found.exchange) == (8, 0.0)
    report = audit(recipe())
    assert found.flops == pytest.approx(6 * 8 * report.macs)
    assert found.mfu == pytest.approx(found.flops / found.step / 200e12)


def test_a_host_that_is_slow_shows() -> None:
    slow = plan(work(), HOST.model_copy(update={"host_us": 1e6}))
    assert slow.step == pytest.approx(slow.passes.operators + slow.update.operators)


def test_memory_is_the_audits() -> None:
    own, found = recipe(), planned().memory
    backbone = build(own, device="meta")
    held, sample = held_memory(backbone, own), activation_memory(backbone, own).mean_bytes
    assert (found.sample, found.activations, found.copies) == (sample, 8 * sample, 0)
    assert found.total == held.total + 8 * sample
    assert planned(1, "train.precision=bfloat16").memory.copies == held.gradients // 2


def test_the_largest_piece_fits_and_the_next_one_does_not() -> None:
    small_gpu = HOST.model_copy(update={"memory": 0.01})
    found = plan(work(), small_gpu)
    group = 2
    room = 0.92 * small_gpu.memory * 1e9
    assert found.fits > 0
    assert found.memory.held + found.fits * found.memory.sample <= room
    assert found.memory.held + (found.fits + group) * found.memory.sample > room
    assert plan(work(), HOST.model_copy(update={"memory": 1e-4})).fits == 0


def test_accumulating_makes_pieces_small_and_updates_no_more() -> None:
    found, whole = planned(1, "train.accumulate=4"), planned()
    assert found.piece == 2
    assert found.memory.activations == whole.memory.activations / 4
    assert found.update == whole.update
    assert found.passes.operators == pytest.approx(4 * whole.passes.operators, rel=0.02)


def test_several_share_a_batch_and_exchange_gradients() -> None:
    slow = HOST.model_copy(update={"link": 1e-6})
    found = plan(work(2), slow)
    assert found.piece == 4
    assert found.exchange == pytest.approx(planned().memory.gradients / (1e-6 * 1e9), rel=1e-3)
    assert planned(2).exchange == 0.0  # which the backward pass hides
    over_machines = plan(work(2), HOST.model_copy(update={"on_a_machine": 1, "network": 1e-6}))
    assert over_machines.exchange == pytest.approx(found.exchange, rel=1e-3)


def test_gradients_in_bfloat16_are_half_the_traffic_and_weights_all_of_it() -> None:
    slow = HOST.model_copy(update={"link": 1e-6})
    whole, half = plan(work(2), slow).exchange, "train.reduce=bfloat16"
    assert plan(work(2, half), slow).exchange == pytest.approx(whole / 2, rel=1e-3)
    found = plan(work(2, half, "train.parallel=fsdp"), slow).exchange
    assert found == pytest.approx(whole / 2 + whole / 4, rel=1e-3)
    groups = plan(work(4, half, "train.parallel=fsdp", "train.shard_within=2"), slow).exchange
    assert groups == pytest.approx(whole / 2 + whole / 4 + whole / 4, rel=1e-3)


def test_float32_products_of_training_are_in_tf32_where_the_recipe_says_so() -> None:
    device = HOST.model_copy(update={"product_us": 0.0, "bandwidth": 1e6})
    whole, faster = (plan(work(1, *overrides), device) for overrides in ((), ("train.matmul=tf32",)))
    assert faster.passes.products == pytest.approx(whole.passes.products / 4, rel=1e-3)
    assert faster.passes.others == whole.passes.others
    assert faster.sampling == whole.sampling


def test_fsdp_shares_what_is_held() -> None:
    found, whole = planned(2, "train.parallel=fsdp"), planned(2)
    assert found.memory.optimizer == whole.memory.optimizer // 2
    assert found.memory.activations == whole.memory.activations
    assert found.update.update == pytest.approx(whole.update.update / 2)
    assert (found.update.operators, found.update.host) == (whole.update.operators, whole.update.host)
    halves = planned(2, "train.parallel=fsdp", "train.accumulate=2", "train.precision=bfloat16").memory
    whole_weights = whole.memory.weights
    assert found.memory.copies == whole_weights  # which are gathered, and kept for the backward pass
    assert planned(1, "train.parallel=fsdp").memory.copies == 0
    assert (halves.gradients, halves.copies) == (
        whole.memory.gradients,
        whole.memory.gradients // 2 + whole_weights,
    )


def test_fsdp_exchanges_what_ddp_does_however_many_pieces_there_are() -> None:
    slow = HOST.model_copy(update={"link": 1e-6})
    expected = plan(work(2), slow).exchange
    for pieces in (1, 2):
        found = plan(work(2, "train.parallel=fsdp", f"train.accumulate={pieces}"), slow)
        assert found.exchange == pytest.approx(expected, rel=1e-3)
    assert planned(2, "train.parallel=fsdp").exchange == 0.0


def test_groups_that_share_weights_out_exchange_in_the_machine_and_add_up_between() -> None:
    device = HOST.model_copy(update={"link": 1e-6, "network": 1e-7, "on_a_machine": 2})
    gradients = planned().memory.gradients
    options = "train.parallel=fsdp", "train.shard_within=2"
    found = plan(work(4, *options), device)
    within, between = 2 * gradients / 2 / 1e3, 2 * gradients / 2 / 2 / 1e2
    assert found.exchange == pytest.approx(within + between, rel=1e-3)
    assert found.memory.optimizer == planned(2, "train.parallel=fsdp").memory.optimizer
    assert plan(work(2, *options), device).exchange == pytest.approx(within, rel=1e-3)


def test_blocks_that_are_computed_anew_take_longer_and_hold_less() -> None:
    found, whole = planned(1, "train.checkpoint_activations=true"), planned()
    assert found.passes.attention > 1.2 * whole.passes.attention
    assert found.passes.products > whole.passes.products
    assert found.memory.sample < whole.memory.sample


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(ZooError, match=r"train.batch 8 is no multiple of 6"):
        work(3)


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("train.checkpoint_activations=0.5", "0.5 is a share, which torch.compile keeps"),
        (f"backbone.patch_schedule={{type: by_timestep, stages: {SCALED}}}", "goes between no sizes"),
    ],
)
def test_what_cannot_be_trained_is_not_planned(override: str, why: str) -> None:
    with pytest.raises(ZooError, match=why):
        work(1, override)


def test_a_training_is_as_long_as_asked() -> None:
    assert planned().steps == recipe().train.steps
    found = planned(images=8000.0)
    assert found.steps == 1000
    assert found.seconds == pytest.approx(1000 * found.step + found.checkpoints * found.checkpoint)


def test_sampling_takes_the_passes_of_the_audit() -> None:
    found = planned().sampling
    assert found is not None
    drawing = work().drawing
    assert drawing is not None
    flops = sum(count * sum(each.flops for each in passes) for passes, count in drawing)
    assert flops == 2 * audit(recipe()).image.macs * found.batch  # type: ignore[operator]
    assert found.seconds == pytest.approx(sum(count * time_of(passes, HOST).total for passes, count in drawing))


def test_compiling_takes_less() -> None:
    compiled = replace(work(), recipe=recipe("train.compile=true"))
    assert plan(compiled, HOST).passes.others < planned().passes.others


def test_plain_values_are_json() -> None:
    values = json.loads(json.dumps(planned().to_dict()))
    assert values["step"] == planned().step
    assert values["memory"]["total"] == planned().memory.total


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words"), [("sit_xl", ("eager", "compiled")), ("hybrid_xl", ("eager",))])
def test_the_model_stays_near_what_was_measured(name: str, words: tuple[str, ...]) -> None:
    """On an H200, of which its figures are; what a step takes without reading and logging."""
    lines = {line["part"]: line for line in map(json.loads, MEASURED.read_text().splitlines())}
    own, eager = ("train.batch=128", "train.precision=bfloat16"), None
    for word in words:
        line = lines[f"step:{name}:{word}"]
        whole = load_recipe(name, (*own, f"train.compile={str(word == 'compiled').lower()}"), Registry())
        eager = work_of(whole) if eager is None else replace(eager, recipe=whole)
        found = plan(eager, load_device("h200"))
        assert 1000 * found.step == pytest.approx(line["ms"], rel=0.12)
        assert 1000 * found.passes.products == pytest.approx(line["kernel_ms"]["products"], rel=0.1)
        assert 1000 * found.passes.attention == pytest.approx(line["kernel_ms"]["attention"], rel=0.2)
        assert 1000 * found.passes.others == pytest.approx(line["kernel_ms"]["others"], rel=0.1)
        if word == "eager":  # compiled passes keep less
            assert found.memory.total / 1e9 == pytest.approx(line["peak_gb"], rel=0.1)
