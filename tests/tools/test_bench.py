"""The benchmarks on tiny assemblies: that they run and compare the right things; how fast anything is, is not asked."""

from __future__ import annotations

from collections.abc import Iterator

import bench_passes
import bench_plan
import bench_rounds
import bench_stored
import numpy as np
import pytest
import torch
from torch import nn

import bench
from tests.plan.test_model import GPU
from zoo.data.latent_index import Layout
from zoo.errors import RecipeError
from zoo.flow.guidance import ClassifierFreeGuidance

TINY = ("backbone.dim=16", "backbone.heads=2", "backbone.depth=2", "backbone.num_classes=3")
LEVELS = "backbone.patch_schedule.levels=[{patch: 4, blocks: 1}, {patch: 2, blocks: 1}]"
FAST = bench_rounds.Target("training", "fast", "slow", at_least=1.5)
SMALL = bench_rounds.Target("memory", "small", "large", at_most=0.66)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def assert_measured(results, rounds):
    """Costs are positive numbers, one a round."""
    for result in results:
        assert len(result.subject) == len(result.baseline) == rounds
        assert min(*result.subject, *result.baseline) > 0
    return results


# -- arithmetic -----------------------------------------------------------------------------------------------------


def test_a_ratio_is_that_of_one_round():
    # The median of the ratios is 2; the ratio of the medians would be 1.
    result = bench_rounds.Result(FAST, subject=(1.0, 3.0, 9.0), baseline=(3.0, 6.0, 3.0), unit="s")
    assert result.ratios == (3.0, 2.0, pytest.approx(1 / 3))
    assert result.ratio == 2.0
    assert result.spread == (pytest.approx((1 / 3 + 2) / 2), 2.5)
    assert result.problem is None


def test_shares_are_the_other_way_round():
    result = bench_rounds.Result(SMALL, subject=(50.0,), baseline=(100.0,), unit="MB")
    assert (result.ratio, result.spread, result.problem) == (0.5, (0.5, 0.5), None)


def test_what_is_exactly_on_the_bound_is_met():
    assert bench_rounds.Result(FAST, (2.0,), (3.0,), "s").problem is None
    assert bench_rounds.Result(SMALL, (66.0,), (100.0,), "MB").problem is None


def test_problems_say_what_was_found_and_what_was_asked():
    slow = bench_rounds.Result(FAST, (2.0,), (2.5,), "s")
    assert slow.problem == "training: fast beside slow: 1.250 x, not ≥ 1.5 x"
    large = bench_rounds.Result(SMALL, (70.0,), (100.0,), "MB")
    assert large.problem == "memory: small beside large: 0.700 x, not ≤ 0.66 x"


def test_rounds_take_turns_and_the_first_is_not_counted():
    calls = []
    seconds = bench_rounds.interleaved("name", {each: lambda each=each: calls.append(each) for each in "abc"}, 2)
    assert "".join(calls) == "abc" * 3
    assert {each: len(found) for each, found in seconds.items()} == {"a": 2, "b": 2, "c": 2}


def test_one_thread_is_timed_by_cpu_and_several_by_the_clock(monkeypatch):
    monkeypatch.setattr(bench_rounds.time, "process_time", iter(range(100)).__next__)
    monkeypatch.setattr(bench_rounds.time, "perf_counter", iter(range(0, 1000, 10)).__next__)
    for threads, seconds in ((1, 1), (2, 10)):
        torch.set_num_threads(threads)
        assert bench_rounds.interleaved("name", {"a": lambda: None}, 1) == {"a": (seconds,)}


# -- benchmarks -----------------------------------------------------------------------------------------------------


def test_training():
    names = ("dit_s", "ppflow_s_2", "ppflow_s_3")
    results = bench_passes.bench_training(
        "training_s", "dit_s", {"ppflow_s_2": 0.0, "ppflow_s_3": 0.0}, 2, batch=4, overrides=dict.fromkeys(names, TINY)
    )
    two, three = assert_measured(results, 2)
    assert two.baseline == three.baseline  # of the same rounds
    assert 1 < two.allowed < three.allowed


def test_training_of_several_levels():
    overrides = {"dit_b": TINY, "mpdit_b": [*TINY, LEVELS]}
    (result,) = assert_measured(
        bench_passes.bench_training("b", "dit_b", {"mpdit_b": 0.0}, 1, batch=2, overrides=overrides), 1
    )
    assert "mpdit_b" in result.target.subject


@pytest.mark.parametrize(
    ("name", "baseline", "allowed"),
    [
        ("ppflow_s_2", "dit_s", 1.62),
        ("ppflow_s_3", "dit_s", 2.06),
        ("mpdit_b", "dit_b", 1.42),
        ("hybrid_b", "dit_b", 2.18),
    ],
)
def test_multiply_adds_of_training(name, baseline, allowed):
    macs = {each: bench_passes.training_macs(bench_passes.recipe_of(each)) for each in (name, baseline)}
    assert macs[baseline] / macs[name] == pytest.approx(allowed, abs=0.005)


def test_a_training_pass_is_of_all_stages_and_reaches_every_parameter():
    backbone = bench_passes.random_backbone(bench_passes.recipe_of("ppflow_s_3", TINY))
    t, counts = bench_passes.stratified_levels(backbone, 8)
    assert counts == (2, 1, 1)
    assert torch.bincount(backbone.stage_of(t)).tolist() == [4, 2, 2]
    bench_passes.training_pass(backbone, 8)()
    assert all(each.grad is not None and each.grad.any() for each in backbone.parameters())


def test_backbones_have_no_zero_gates_and_are_the_same_every_time():
    recipe = bench_passes.recipe_of("dit_s", TINY)
    first, second = (list(bench_passes.random_backbone(recipe).parameters()) for _ in range(2))
    assert all(each.all() for each in first)
    assert all(map(torch.equal, first, second))


def test_sampling():
    (result,) = assert_measured(bench_passes.bench_sampling("sampling", 1, batch=2, steps=2, overrides=TINY), 1)
    assert result.allowed > 1


def test_multiply_adds_of_sampling():
    dit, ppflow = (bench_passes.recipe_of(name, TINY) for name in ("dit_s", "ppflow_s_2"))
    coarse, fine = bench_passes.stage_macs(ppflow)
    # Of two steps one is at t = 1, and one on the threshold, which `ties: noisier` gives to the noisier stage.
    of_two = [ClassifierFreeGuidance(2, (4, 32, 32), scale=scales) for scales in ((1.0, 3.0), (3.0, 3.0))]
    assert bench_passes.sampling_macs(ppflow, of_two[0], 2) == 2 * coarse
    assert bench_passes.sampling_macs(ppflow, of_two[1], 4) == 2 * (3 * coarse + fine)
    assert bench_passes.sampling_macs(dit, ClassifierFreeGuidance(1, (4, 32, 32), scale=3.0), 4) == 8 * fine


def test_memory():
    saved, peak = assert_measured(bench_passes.bench_memory("memory", batch=2, overrides=TINY), 1)
    assert saved.allowed == peak.allowed == (64 + 256) / 2 / 256
    for side in ("subject", "baseline"):
        assert getattr(peak, side)[0] > getattr(saved, side)[0]


def test_saved_bytes_count_what_backward_needs_once():
    linear = nn.Linear(4, 4, bias=False)
    x = torch.zeros(2, 4)
    # Linear saves its input (and its weight), sin its input; both views of the product are one storage.
    assert bench_passes.saved_bytes(linear, lambda: linear(x).sin()) == 2 * x.numel() * 4
    product = torch.zeros(2, 4, requires_grad=True) * 1
    assert bench_passes.saved_bytes(linear, lambda: product[0].sin() + product[1].sin()) == product.numel() * 4


def test_peak_bytes_are_those_held_at_a_time():
    def run():
        first = torch.empty(1000)
        del first
        second = torch.empty(2000)
        return second, torch.empty(500)

    assert bench_passes.peak_bytes(run) == 2500 * 4


def test_latents():
    layout = Layout(2, 4, 6, "float16", "none")
    (result,) = assert_measured(
        bench_stored.bench_latents("latents", 1, samples=10, batch=4, layout=layout, shard=3), 1
    )
    assert result.unit == "µs a sample"


def test_shards_and_files_hold_the_same():
    with bench_stored.stored_twice(7, Layout(2, 4, 6, "float16", "none"), shard=3) as (dataset, files):
        source, order = dataset.open(), np.array([6, 0, 3, 3, 5])
        found = source.read(order, ()).latents
        assert torch.equal(found, bench_stored.read_files(files, order, channels=2))
        assert (found.shape, found.dtype) == ((5, 2, 4, 6), torch.float32)
        assert np.load(files[0]).shape == (4, 4, 6)
        assert np.load(files[0]).dtype == np.float16
    assert not files[0].exists()


def test_ema():
    assert_measured(bench_stored.bench_ema("ema", 2, recipe="dit_s", overrides=TINY), 2)


def test_both_averages_are_the_same():
    parameters = {name: torch.randn(3, 4) for name in "ab"}
    ema = bench_stored.EMA(parameters)
    copies = {name: each.clone() for name, each in ema.averages.items()}
    moved = {name: each + 1 for name, each in parameters.items()}
    ema.update(moved, 0.9)
    bench_stored.loop_update(copies, moved, 0.9)
    torch.testing.assert_close(copies, ema.averages)


def test_plans(monkeypatch):
    """Of a device for which nothing counts but multiply-adds, which say how recipes compare."""
    free = {"host_us": 0.0, "product_us": 0.0, "bandwidth": 1e9, "attention": 1.0, "tile": 1}
    monkeypatch.setattr(bench_plan, "measure", lambda device: GPU.model_copy(update=free))
    own = (*TINY[:2], "backbone.depth=12")
    (result,) = bench_plan.bench_plan("plan", "dit_b", ["mpdit_b"], 1, batch=2, overrides=own)
    macs = [bench_passes.training_macs(bench_passes.recipe_of(each, own)) for each in ("mpdit_b", "dit_b")]
    said = float(result.target.subject.removeprefix("mpdit_b over dit_b, ").split()[0])
    assert said == pytest.approx(macs[0] / macs[1], rel=0.1)
    assert result.target.at_most == bench_plan.WITHIN


def test_recipes_are_those_that_ship():
    assert bench_passes.recipe_of("dit_s").name == "dit_s"
    with pytest.raises(RecipeError):
        bench_passes.recipe_of("dit_tiny")


# -- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def canned(monkeypatch):
    """Benchmarks that are over at once: one meets its target, and one does not."""
    rounds = []

    def met(count):
        rounds.append(count)
        return [bench_rounds.Result(FAST, (1.0, 1.0, 1.0), (1.9, 2.0, 2.2), "s", allowed=2.5)]

    def missed(count):
        rounds.append(count)
        return [bench_rounds.Result(SMALL, (70.0,), (100.0,), "MB", allowed=0.625)]

    monkeypatch.setattr(bench, "BENCHMARKS", {"met": met, "missed": missed})
    return rounds


def test_the_table(canned, capsys):
    assert bench.main([]) == 0
    output = capsys.readouterr()
    conditions, empty, *table = output.out.splitlines()
    assert f"PyTorch {torch.__version__}" in conditions
    assert "1 thread, CPU seconds; medians of 9 interleaved rounds" in conditions
    assert empty == ""
    header, rule, met, missed = ([cell.strip() for cell in line.strip("|").split("|")] for line in table)
    assert len(header) == len(rule) == len(met) == len(missed)
    assert met == ["fast", "1 s", "slow", "2 s", "≥ 1.5 x", "2.500 x", "2.000 x", "1.950 to 2.100", "80.0%"]
    assert missed == [
        *("small", "70 MB", "large", "100 MB"),
        *("≤ 0.66 x", "0.625 x", "**0.700 x**", "exact", "112.0%"),
    ]
    assert output.err == "missed:\n  memory: small beside large: 0.700 x, not ≤ 0.66 x\n"


def test_nothing_is_allowed_where_multiply_adds_say_nothing():
    (*_, line) = bench.markdown([bench_rounds.Result(FAST, (1.0,), (2.0,), "s")])
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert (cells[5], cells[8]) == ("-", "-")


def test_check_fails_for_a_missed_target(canned, capsys):
    assert bench.main(["--check"]) == 1
    assert bench.main(["--check", "--only", "missed"]) == 1
    capsys.readouterr()
    assert bench.main(["--check", "--only", "met"]) == 0
    assert capsys.readouterr().err == ""


def test_rounds_and_threads(canned, capsys):
    assert bench.main(["--only", "met", "--rounds", "7", "--threads", "2"]) == 0
    assert canned == [7]
    assert "2 threads, elapsed seconds; medians of 7" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--only", "none"], ["--rounds", "0"], ["--threads", "-1"], ["--rounds", "x"]])
def test_wrong_usage(canned, wrong, capsys):
    with pytest.raises(SystemExit) as exit_:
        bench.main(wrong)
    assert exit_.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_every_benchmark_takes_rounds_and_knows_its_name(monkeypatch):
    asked = []
    for name in ("training", "sampling", "memory", "latents", "ema", "plan"):
        monkeypatch.setattr(bench, f"bench_{name}", lambda *arguments, **_: asked.append(arguments))
    for run in bench.BENCHMARKS.values():
        run(7)
    assert [name for name, *_ in asked] == list(bench.BENCHMARKS)
    rounds = {name: rest[-1] for name, *rest in asked if rest}
    assert rounds == {"training_s": 7, "training_b": 7, "sampling": 7, "latents": 35, "ema": 35, "plan": 7, "plan_b": 7}
