"""``zoo plan`` beside passes that are measured."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from bench_passes import random_backbone, recipe_of, stratified_levels, training_pass
from bench_rounds import Result, Target, interleaved

from zoo.assembly import build
from zoo.plan import measure
from zoo.plan.model import time_of
from zoo.plan.passes import training_step

WITHIN = 1.25


def bench_plan(
    name: str,
    baseline: str,
    others: Sequence[str],
    rounds: int,
    *,
    batch: int = 8,
    overrides: Sequence[str] = (),
) -> list[Result]:
    """How far the model is off: it times this device by itself, and says how recipes' training passes compare.

    Args:
        name: of the benchmark.
        baseline: the recipe that others are compared with.
        others: those.
        rounds: that count.
        batch: images of a pass, in float32.
        overrides: of every recipe, as for ``--set``.
    """
    recipes = {each: recipe_of(each, [*overrides, "train.precision=float32"]) for each in (baseline, *others)}
    backbones = {each: random_backbone(recipe) for each, recipe in recipes.items()}
    device, modelled = measure(torch.device("cpu")), {}
    for each, recipe in recipes.items():
        _, counts = stratified_levels(backbones[each], batch)
        shares = [count * batch // sum(counts) for count in counts]
        modelled[each] = time_of(training_step(build(recipe, device="meta"), recipe, shares)[0], device).total
    seconds = interleaved(name, {each: training_pass(model, batch) for each, model in backbones.items()}, rounds)
    results = []
    for each in others:
        ratio = modelled[each] / modelled[baseline]
        measured = [own / base for own, base in zip(seconds[each], seconds[baseline], strict=True)]
        off = tuple(max(ratio / each, each / ratio) for each in measured)
        subject = f"{each} over {baseline}, {ratio:.3f} by zoo plan"
        results.append(Result(Target(name, subject, "measured", at_most=WITHIN), off, (1.0,) * len(off), "x"))
    return results
