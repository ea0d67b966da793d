"""Measure zoo on a GPU, part by part, a JSON line each; what a file already has is not measured again.

    python tools/gpu.py --out figures.jsonl                  # all parts: half an hour on an H200
    python tools/gpu.py --out figures.jsonl --only attention --only train:sit_xl:compiled
    python tools/gpu.py --table figures.jsonl                # what a file has, as Markdown, on any machine
    python tools/gpu.py --list                               # the names of the parts

``train`` is zoo's own trainer, on random latents as ``zoo latents`` stores them: reading, logging,
clipping, AdamW and averages are in it. ``step`` is forward and backward pass, AdamW and average alone, with what they
read on the GPU already; ``plain`` is that of a stack of blocks written the usual way on timm's layers (which must be
installed), as wide and as deep as SiT-XL/2. ``draw`` is 20 of Euler's updates, guided throughout. All are in bfloat16,
with random weights: gates and heads of zero would make products of zeros, which GPUs do faster.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from bench_passes import REGISTRY, recipe_of, stratified_levels, training_macs
from bench_stored import LAYOUT, write_latents
from gpu_kernels import waits
from gpu_machine import DEPTH, HEADS, SMALL, WIDTH, Figures, Machine, Size, attention, ceilings
from gpu_plain import PlainStack
from torch import Tensor, nn

from zoo import build
from zoo.assembly import create_part
from zoo.compiling import compile_blocks
from zoo.distributed.distributed import join_processes
from zoo.flow import EulerSolver, Objective, SquaredErrorLoss, StageBatch, sample
from zoo.flow.objective import objective_of
from zoo.labels import move
from zoo.recipe import Recipe
from zoo.runs.optimizer import EMA
from zoo.train.job import open_job
from zoo.train.trainer import Trainer

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bfloat16 FLOP/s by the vendor's data sheets, of which model FLOPs are a share (MFU)."""
RECIPES = ("hybrid_xl", "sit_xl", "mpdit_xl", "ppflow_xl_2")


# -- a training step ------------------------------------------------------------------------------------------------


def recipe_for(name: str, machine: Machine, *overrides: str) -> Recipe:
    """A recipe as it trains on one device, on latents of nothing but noise."""
    shards = machine.folder / "shards"
    if not shards.exists():
        write_latents(machine.folder, machine.size.samples, LAYOUT, machine.size.samples // 4)
    own = (f"train.batch={machine.size.batch}", "train.precision=bfloat16", f"data.dataset.folder={shards}")
    return recipe_of(name, [*own, *machine.size.overrides, *overrides])


def spread(module: nn.Module) -> None:
    """Draw all weights anew, none of them zero."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.02)


def speed(seconds: Sequence[float], batch: int) -> Figures:
    """Images a second by the median, and quartiles."""
    low, _, high = quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 3
    return {
        "ms": 1000 * median(seconds),
        "quartiles_ms": [1000 * low, 1000 * high],
        "images_s": batch / median(seconds),
    }


def train(name: str, compiled: bool, machine: Machine) -> Figures:
    """Zoo's trainer: images a second, memory, kernels, and where the host waits."""
    recipe = recipe_for(name, machine, f"train.compile={str(compiled).lower()}")
    with join_processes(machine.device.type) as world:
        objective = objective_of(recipe, build(recipe, registry=REGISTRY, device=machine.device))
        spread(objective)
        trainer = Trainer(open_job(recipe, objective, REGISTRY, 0, 1), objective, world)
        steps: Any = trainer.run(recipe.train.steps)
        start = time.perf_counter()
        next(steps)
        found: Figures = {"first_step_s": time.perf_counter() - start}
        with machine.watched(found):
            seconds = machine.seconds(lambda: next(steps))
        found |= speed(seconds, recipe.train.batch) | machine.profiled(lambda: next(steps), median(seconds))
        if machine.device.type == "cuda":
            found["waits"] = waits(lambda: next(steps))
        steps.close()
    return found


def step(name: str, compiled: bool, machine: Machine) -> Figures:
    """Forward and backward pass, AdamW and average of zoo's backbone, with what they need on the device already."""
    recipe = recipe_for(name, machine)
    backbone = build(recipe, registry=REGISTRY, device=machine.device)
    spread(backbone)
    if compiled:
        compile_blocks(backbone.blocks)
    batch = recipe.train.batch
    t, _ = stratified_levels(backbone, batch)
    data, noise = torch.randn(2, batch, *backbone.latent)
    rows, stage_of = (data, noise, t, backbone.conditioner.example_labels(batch)), backbone.stage_of(t)
    pieces = [
        StageBatch(stage, *(each[stage_of == stage].to(machine.device) for each in rows))
        for stage in range(len(backbone.stages))
    ]
    objective = Objective(backbone, [("squared_error", 1.0, SquaredErrorLoss())])
    return repeated(machine, objective, lambda: objective(pieces)["squared_error"].mean(), batch)


def plain(_: str, compiled: bool, machine: Machine) -> Figures:
    """The same of a stack of blocks as they are usually written."""
    batch, size = machine.size.batch, machine.size
    width, heads = (WIDTH, HEADS) if size.depth == DEPTH else (16, 2)
    model = PlainStack(width, heads, size.depth).to(machine.device)
    spread(model)
    if compiled:
        compile_blocks(model.blocks)
    z, target = torch.randn(2, batch, 4, 32, 32, device=machine.device)
    t, labels = torch.rand(batch, device=machine.device), torch.arange(batch, device=machine.device)
    return repeated(machine, model, lambda: (model(z, t, labels) - target).float().square().mean(), batch)


def repeated(machine: Machine, module: nn.Module, loss: Callable[[], Tensor], batch: int) -> Figures:
    """Steps of AdamW and of an average by a loss of a module."""
    parameters = dict(module.named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-4, weight_decay=0.0, fused=True)
    average = EMA(parameters)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(machine.device.type, torch.bfloat16):
            value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        average.update(parameters, 0.9999)

    start = time.perf_counter()
    run()
    machine.wait()
    found: Figures = {"first_step_s": time.perf_counter() - start}
    with machine.watched(found):
        seconds = machine.in_a_row(run)
    return found | speed([seconds], batch) | machine.profiled(run, seconds)


def draw(name: str, compiled: bool, machine: Machine) -> Figures:
    """Images of 20 of Euler's updates, and what 250 would come to."""
    recipe = recipe_of(name, [*machine.size.overrides, "sample.guidance=1.5"])
    backbone = build(recipe, registry=REGISTRY, device=machine.device).eval()
    spread(backbone)
    if compiled:
        compile_blocks(backbone.blocks)
    batch, updates = machine.size.batch, 20 if machine.size.warm else 2
    noise = torch.randn(batch, *backbone.latent, device=machine.device)
    labels = move(backbone.conditioner.example_labels(batch), machine.device)
    guidance = create_part(recipe, "guidance")

    def run() -> None:
        with torch.autocast(machine.device.type, torch.bfloat16):
            sample(backbone, EulerSolver(), noise, labels, steps=updates, draw=lambda _: noise, guidance=guidance)

    found = speed(machine.seconds(run, min(3, machine.size.steps)), batch)
    return found | {"updates": updates, "images_s_250": found["images_s"] * updates / 250}


# -- the parts ------------------------------------------------------------------------------------------------------

TIMED: dict[str, Callable[[str, bool, Machine], Figures]] = {"step": step, "train": train, "plain": plain, "draw": draw}


def parts() -> dict[str, Callable[[Machine], Figures]]:
    """All that is measured, by name."""
    found: dict[str, Callable[[Machine], Figures]] = {"ceilings": ceilings, "attention": attention}
    for kind, function in TIMED.items():
        for name in RECIPES if kind != "plain" else ("sit_xl",):
            for word, compiled in (("eager", False), ("compiled", True)):
                found[f"{kind}:{name}:{word}"] = partial(function, name, compiled)
    return found


def measure(out: Path, only: Sequence[str], machine: Machine) -> None:
    """Measure what the file has not, and add a line of each."""
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {line["part"] for line in lines if "error" not in line}
    for name, run in parts().items():
        if name in done or (only and not name.startswith(tuple(only))):
            continue
        start = time.perf_counter()
        try:
            found = run(machine)
        except Exception as error:  # the others are worth having
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {error}"[:300]}
        torch.compiler.reset()
        device = torch.cuda.get_device_name() if machine.device.type == "cuda" else machine.device.type
        line = {"part": name, "device": device, "torch": torch.__version__, **found}
        if "kernel_ms" in found:
            line["macs"] = training_macs(recipe_of(name.split(":")[1]))
        line["took_s"] = time.perf_counter() - start
        text = json.dumps(line)
        with out.open("a") as file:
            print(text, file=file)
        print(text, flush=True)


def table(lines: Sequence[Figures]) -> str:
    """What was measured of training, as Markdown; MFU counts six FLOPs for each multiply-add of an audit."""
    rows = [
        "| part | images/s | MFU | products, attention, others, optimizer (ms) | kernels | idle | peak memory (GB) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for line in lines:
        if "kernel_ms" not in line:
            continue
        peak = next((peak for known, peak in PEAKS.items() if known in line["device"]), None)
        flops = 6 * line["macs"] * line["images_s"]
        own = [line["kernel_ms"].get(each, 0.0) for each in ("products", "attention", "others", "optimizer")]
        rows.append(
            f"| {line['part']} | {line['images_s']:.0f} | {'' if peak is None else f'{flops / peak:.0%}'} |"
            f" {', '.join(f'{each:.0f}' for each in own)} | {line['kernels']:.0f} | {line['idle']:.0%} |"
            f" {line['peak_gb']:.1f} |"
        )
    return "\n".join(rows)


def main() -> int:
    """Measure, or print."""
    parser = argparse.ArgumentParser(description="Measure zoo on a GPU.")
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"), help="a line of each part (default: gpu.jsonl)")
    parser.add_argument("--only", action="append", default=[], help="parts whose names begin so; may be repeated")
    parser.add_argument("--table", type=Path, help="print what this file has, and measure nothing")
    parser.add_argument("--list", action="store_true", help="print the names of the parts")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to see that the script is sound")
    parser.add_argument("--small", action="store_true", help="sizes that tell nothing, in seconds")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(parts()))
    elif arguments.table:
        print(table([json.loads(line) for line in arguments.table.read_text().splitlines()]))
    elif arguments.device == "cuda" and not torch.cuda.is_available():
        print("gpu.py: there is no GPU that this PyTorch can use; --device cpu --small shows that the script is sound")
        return 2
    else:
        with tempfile.TemporaryDirectory() as folder:
            size = SMALL if arguments.small else Size()
            measure(arguments.out, arguments.only, Machine(torch.device(arguments.device), size, Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
