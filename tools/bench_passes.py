"""What passes of backbones take: to train, to draw samples, in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from bench_rounds import Result, Run, Target, interleaved
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from zoo import Registry, build, load_recipe
from zoo.assembly import create_part
from zoo.audit import audit
from zoo.backbone import Backbone
from zoo.flow import (
    EulerSolver,
    Guidance,
    Objective,
    SquaredErrorLoss,
    StageBatch,
    UniformNoise,
    evaluations,
    plan_stages,
    sample,
)
from zoo.recipe import Recipe

RECIPES = Path(__file__).parents[1] / "recipes"
REGISTRY = Registry()


def recipe_of(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe that is shipped, by its name."""
    return load_recipe(RECIPES / f"{name}.yaml", overrides, REGISTRY)


def random_backbone(recipe: Recipe) -> Backbone:
    """A backbone without a zero gate or head, the same at every call."""
    torch.manual_seed(0)
    backbone = build(recipe, registry=REGISTRY)
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, std=0.02)
    return backbone


def stratified_levels(backbone: Backbone, batch: int) -> tuple[Tensor, tuple[int, ...]]:
    """Noise levels [batch] of which every stage has its share, and how many of a group each stage has."""
    plan = plan_stages(backbone.stages, backbone.ties, UniformNoise())
    t, _ = plan.noise_levels(torch.arange(batch), batch, torch.full((batch,), 0.5, dtype=torch.float64))
    return t, plan.counts


def stage_macs(recipe: Recipe) -> tuple[int, ...]:
    """Exact multiply-adds of a pass through every stage."""
    return tuple(stage.macs for stage in audit(recipe).stages)


# -- training -------------------------------------------------------------------------------------------------------


def training_pass(backbone: Backbone, batch: int) -> Run:
    """Forward and backward pass of one batch whose stages are known, as in training."""
    t, _ = stratified_levels(backbone, batch)
    data, noise = torch.randn(2, batch, *backbone.latent)
    labels = backbone.class_conditioner.example_labels(batch)
    objective, stage_of = Objective(backbone, [("squared_error", 1.0, SquaredErrorLoss())]), backbone.stage_of(t)
    batches = [
        StageBatch(stage, data[own], noise[own], t[own], labels[own])
        for stage in range(len(backbone.stages))
        if (own := (stage_of == stage).nonzero().flatten()).numel()
    ]

    def run() -> None:
        backbone.zero_grad(set_to_none=True)
        objective(batches)["squared_error"].mean().backward()

    return run


def training_macs(recipe: Recipe) -> float:
    """Mean multiply-adds of a sample's forward pass in a batch of which every stage has its share.

    A backward pass has twice as many, so that a training pass has the same ratios.
    """
    _, counts = stratified_levels(build(recipe, registry=REGISTRY, device="meta"), 0)
    return sum(count * macs for count, macs in zip(counts, stage_macs(recipe), strict=True)) / sum(counts)


def bench_training(
    name: str,
    baseline: str,
    targets: Mapping[str, float],
    rounds: int,
    *,
    batch: int = 8,
    overrides: Mapping[str, Sequence[str]] | None = None,
) -> list[Result]:
    """Training passes of recipes beside that of a baseline, in float32 and with as many images.

    Args:
        name: of the benchmark.
        baseline: the recipe that takes longest.
        targets: how many times as fast each other recipe has to be.
        rounds: that count.
        batch: images of a pass.
        overrides: of a recipe, as for ``--set``.
    """
    recipes = {each: recipe_of(each, (overrides or {}).get(each, ())) for each in (baseline, *targets)}
    runs = {each: training_pass(random_backbone(recipe), batch) for each, recipe in recipes.items()}
    seconds = interleaved(name, runs, rounds)
    macs = {each: training_macs(recipe) for each, recipe in recipes.items()}
    return [
        Result(
            Target(name, f"{each}, training pass of {batch}", baseline, at_least=times),
            seconds[each],
            seconds[baseline],
            "s",
            macs[baseline] / macs[each],
        )
        for each, times in targets.items()
    ]


# -- sampling -------------------------------------------------------------------------------------------------------


def sampling_run(backbone: Backbone, guidance: Guidance, batch: int, steps: int) -> Run:
    """Draw one batch of samples by Euler's method."""
    noise = torch.randn(batch, *backbone.latent)
    labels = backbone.class_conditioner.example_labels(batch)

    def draw(update: int) -> Tensor:
        raise AssertionError("Euler's method adds no noise")

    return lambda: sample(backbone, EulerSolver(), noise, labels, steps=steps, draw=draw, guidance=guidance)


def sampling_macs(recipe: Recipe, guidance: Guidance, steps: int) -> int:
    """Exact multiply-adds of one sample."""
    backbone = build(recipe, registry=REGISTRY, device="meta")
    passes = evaluations(EulerSolver().levels(steps), backbone.stages, backbone.ties, guidance)
    return sum(sum(both) * macs for both, macs in zip(passes, stage_macs(recipe), strict=True))


def bench_sampling(
    name: str, rounds: int, *, batch: int = 4, steps: int = 8, overrides: Sequence[str] = ()
) -> list[Result]:
    """PPFlow guided in its cleaner stage alone beside DiT guided everywhere."""
    # Of an even number of Euler's steps, one is on the threshold: in the cleaner stage, each stage has half of them.
    halves = "backbone.patch_schedule.ties=cleaner"
    own = {"ppflow_s_2": [halves, "sample.guidance=[1.0, 3.0]"], "dit_s": ["sample.guidance=3.0"]}
    recipes = {each: recipe_of(each, [*overrides, *more, "sample.guidance.channels="]) for each, more in own.items()}
    guidance = {each: create_part(recipe, "guidance") for each, recipe in recipes.items()}
    runs = {
        each: sampling_run(random_backbone(recipe).eval(), guidance[each], batch, steps)
        for each, recipe in recipes.items()
    }
    seconds = interleaved(name, runs, rounds)
    macs = {each: sampling_macs(recipe, guidance[each], steps) for each, recipe in recipes.items()}
    subject = f"ppflow_s_2, guidance [1, 3], {batch} samples, {steps} steps"
    return [
        Result(
            Target(name, subject, "dit_s, guidance 3", at_least=1.6),
            seconds["ppflow_s_2"],
            seconds["dit_s"],
            "s",
            macs["dit_s"] / macs["ppflow_s_2"],
        )
    ]


# -- memory ---------------------------------------------------------------------------------------------------------


def saved_bytes(module: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Memory of the distinct tensors that a forward pass saves for the backward pass, parameters and buffers apart."""
    own = {each.untyped_storage().data_ptr() for each in (*module.parameters(), *module.buffers())}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = forward()  # held while counting, or an address might be used twice
    del output
    return sum(size for address, size in saved.items() if address not in own)


def peak_bytes(run: Run) -> int:
    """The most memory that PyTorch's CPU allocator has handed out during a run, beyond what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        run()
    kineto = found.profiler.kineto_results.events()  # the public lists keep no order of time
    changes = sorted((event.start_ns(), event.nbytes()) for event in kineto if event.name() == "[memory]")
    return int(np.cumsum([change for _, change in changes]).max())


def bench_memory(name: str, *, batch: int = 8, overrides: Sequence[str] = ()) -> list[Result]:
    """Memory of PPFlow's training pass beside DiT's at the same batch: what is saved for backward, and the peak."""
    subject, baseline = "ppflow_s_2", "dit_s"
    saved, peak, tokens = {}, {}, {}
    for each in (subject, baseline):
        backbone = random_backbone(recipe_of(each, overrides))
        t, counts = stratified_levels(backbone, batch)
        latents, labels = torch.randn(batch, *backbone.latent), backbone.class_conditioner.example_labels(batch)
        saved[each] = saved_bytes(backbone, partial(backbone, latents, t, labels)) / 2**20
        run = training_pass(backbone, batch)
        run()  # the first pass also fills caches
        backbone.zero_grad(set_to_none=True)
        peak[each] = peak_bytes(run) / 2**20
        stages = audit(recipe_of(each, overrides)).stages
        tokens[each] = sum(n * stage.levels[0].tokens for n, stage in zip(counts, stages, strict=True)) / sum(counts)
    return [
        Result(
            Target(name, f"{subject}, {what}, batch {batch}", baseline, at_most=0.66),
            (found[subject],),
            (found[baseline],),
            "MB",
            tokens[subject] / tokens[baseline],
        )
        for what, found in (("saved for backward", saved), ("peak of a training pass", peak))
    ]
