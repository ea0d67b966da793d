"""Measure what patch schedules, stored latents and the multi-tensor average save, beside what multiply-adds allow.

    python tools/bench.py                    # print the table
    python tools/bench.py --check            # the same, and exit 1 if a target is missed
    python tools/bench.py --only training_s  # one benchmark

Every round runs each candidate once, in turn, so that all of them meet the same neighbours on a shared machine; a ratio
is that of one round, and the table has the median and the quartiles of all rounds. The first round warms up and is not
counted. On one thread, CPU seconds of this process are measured, which neighbours disturb far less than elapsed ones.
All parameters are random, since backbones start with gates and heads of zero. It takes about ten minutes.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from zoo import Registry, build, load_recipe
from zoo.assembly import create_part
from zoo.audit import audit
from zoo.backbone import Backbone
from zoo.data.latent_index import INDEX, LatentIndex, Layout, ShardRecord, StatisticsRecord, VAERecord
from zoo.data.latent_shards import Shard, encode_ids, write_shard
from zoo.data.latents import Latents
from zoo.errors import DataError
from zoo.files import write_whole
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
from zoo.runs.optimizer import EMA

LAYOUT = Layout(4, 32, 32, "float16", "none")
RECIPES = Path(__file__).parents[1] / "recipes"
REGISTRY = Registry()
SHORT = 5
"""Times as many rounds of what takes a moment."""

Run = Callable[[], object]


@dataclass(frozen=True)
class Target:
    """How much less something has to cost than something else.

    Attributes:
        benchmark: the name that ``--only`` takes.
        subject: what has to cost less.
        baseline: than what.
        at_least: how many times the subject's cost the baseline's has to be.
        at_most: or else, what share of the baseline's cost the subject's may be.
    """

    benchmark: str
    subject: str
    baseline: str
    at_least: float | None = None
    at_most: float | None = None

    def ratio(self, subject: float, baseline: float) -> float:
        """Baseline over subject where it has to be at least something, subject over baseline where at most."""
        return subject / baseline if self.at_least is None else baseline / subject

    def is_met(self, ratio: float) -> bool:
        """Whether a ratio is on the right side of the bound."""
        return (self.at_least is None or ratio >= self.at_least) and (self.at_most is None or ratio <= self.at_most)

    def __str__(self) -> str:
        return f"≤ {self.at_most:g} x" if self.at_least is None else f"≥ {self.at_least:g} x"


@dataclass(frozen=True)
class Result:
    """What came out of a benchmark.

    Attributes:
        target: what was to come out.
        subject: costs, one a round.
        baseline: costs in the same rounds.
        unit: of the costs.
        allowed: the ratio of multiply-adds (of tokens, for memory), exact; None where it says nothing.
    """

    target: Target
    subject: tuple[float, ...]
    baseline: tuple[float, ...]
    unit: str
    allowed: float | None = None

    @property
    def ratios(self) -> tuple[float, ...]:
        """The ratio of every round."""
        return tuple(self.target.ratio(*costs) for costs in zip(self.subject, self.baseline, strict=True))

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """The first and the third quartile of the rounds' ratios."""
        if len(self.ratios) == 1:
            return self.ratio, self.ratio
        low, _, high = quantiles(self.ratios, n=4, method="inclusive")
        return low, high

    @property
    def problem(self) -> str | None:
        """One line that says how the target was missed; None if it was not."""
        if self.target.is_met(self.ratio):
            return None
        target = self.target
        return f"{target.benchmark}: {target.subject} beside {target.baseline}: {self.ratio:.3f} x, not {target}"


# -- measuring ------------------------------------------------------------------------------------------------------


def interleaved(name: str, runs: Mapping[str, Run], rounds: int) -> dict[str, tuple[float, ...]]:
    """Seconds of every run in every round: A, B, C, A, B, C, ...; a first round is not counted.

    CPU seconds of this process where PyTorch has one thread; else elapsed ones, since threads that wait use CPU too.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {each: [] for each in runs}
    console = Console(stderr=True)
    for _ in track(range(rounds + 1), name, console=console, disable=not console.is_terminal, transient=True):
        for each, run in runs.items():
            start = clock()
            run()
            seconds[each].append(clock() - start)
    return {each: tuple(found[1:]) for each, found in seconds.items()}


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


# -- data and weights -----------------------------------------------------------------------------------------------


def write_latents(folder: Path, samples: int, layout: Layout, shard: int) -> tuple[Path, list[Path]]:
    """The same random moments twice: as shards with an index, and as one .npy file a sample."""
    shape = (samples, 2 * layout.channels, layout.height, layout.width)
    moments = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(getattr(torch, layout.dtype))
    sharded, files = folder / "shards", [folder / "files" / f"{index:06}.npy" for index in range(samples)]
    for each in (sharded, folder / "files"):
        each.mkdir()
    records = []
    for first in range(0, samples, shard):
        own = moments[first : first + shard].clone()
        path, labels = sharded / f"shard_{len(records):05}.safetensors", torch.zeros(len(own), dtype=torch.int64)
        ids = encode_ids([file.stem for file in files[first : first + shard]])
        write_shard(path, Shard(own, None, labels, ids), {})
        records.append(ShardRecord(file=path.name, count=len(own), sha256="0" * 64))
    ones = (1.0,) * layout.channels
    index = LatentIndex(
        **layout._asdict(),
        image_size=(8 * layout.height, 8 * layout.width),
        vae=VAERecord(source="random", sha256="0" * 64),
        statistics=StatisticsRecord(of="means", mean=ones, std=ones),
        classes=("0",),
        shards=tuple(records),
    )
    write_whole(sharded / INDEX, index.model_dump_json(), DataError)
    for path, values in zip(files, moments.numpy(), strict=True):
        np.save(path, values)
    return sharded, files


def read_files(files: Sequence[Path], indices: np.ndarray, channels: int) -> Tensor:
    """A batch of means [B, C, H, W] in float32, one file a sample."""
    return torch.from_numpy(np.stack([np.load(files[index])[:channels] for index in indices])).float()  # noqa: TID251 - own


@contextmanager
def stored_twice(samples: int, layout: Layout, shard: int) -> Iterator[tuple[Latents, list[Path]]]:
    """A dataset of shards, and the same samples as files, in a folder that goes away."""
    with tempfile.TemporaryDirectory() as folder:
        sharded, files = write_latents(Path(folder), samples, layout, shard)
        size = (layout.height, layout.width)
        yield Latents(layout.channels, size, 1, folder=str(sharded), sample_posterior=False, flip=False), files


def bench_latents(
    name: str,
    rounds: int,
    *,
    samples: int = 4096,
    batch: int = 256,
    layout: Layout = LAYOUT,
    shard: int = 1024,
) -> list[Result]:
    """One shuffled pass over stored latents, in shards beside one .npy file a sample.

    Both end in batches of float32 means. The files have just been written and are in the page cache: a slow disk, which
    prefers few large files, is left out.
    """
    order = np.random.default_rng(0).permutation(samples)
    batches = [order[first : first + batch] for first in range(0, samples, batch)]
    with stored_twice(samples, layout, shard) as (dataset, files):
        source = dataset.open()
        runs = {
            "shards": lambda: [source.read(indices, ()).latents for indices in batches],
            "files": lambda: [read_files(files, indices, layout.channels) for indices in batches],
        }
        assert all(map(torch.equal, *(run() for run in runs.values()))), "both sides read the same"
        seconds = interleaved(name, runs, rounds)
    each = {side: tuple(1e6 * cost / samples for cost in costs) for side, costs in seconds.items()}
    subject = f"latents in shards, batches of {batch}, shuffled"
    target = Target(name, subject, "a .npy file a sample", at_least=10.0)
    return [Result(target, each["shards"], each["files"], "µs a sample")]


def loop_update(averages: Mapping[str, Tensor], parameters: Mapping[str, Tensor], decay: float) -> None:
    """The moving average as most training scripts have it."""
    for name, average in averages.items():
        average.mul_(decay).add_(parameters[name], alpha=1 - decay)


def bench_ema(name: str, rounds: int, *, recipe: str = "dit_b", overrides: Sequence[str] = ()) -> list[Result]:
    """Update of averaged weights, in a few kernels beside a loop over parameters."""
    shapes = build(recipe_of(recipe, overrides), registry=REGISTRY, device="meta").named_parameters()
    parameters = {key: torch.randn(each.shape) for key, each in shapes}
    ema, copies = EMA(parameters), {key: each.clone() for key, each in parameters.items()}
    runs = {
        "ours": lambda: ema.update(parameters, 0.9999),
        "loop": lambda: loop_update(copies, parameters, 0.9999),
    }
    milliseconds = {
        each: tuple(1e3 * cost for cost in costs) for each, costs in interleaved(name, runs, rounds).items()
    }
    target = Target(name, f"EMA of {recipe}'s parameters", "a loop of mul_ and add_", at_least=1.3)
    return [Result(target, milliseconds["ours"], milliseconds["loop"], "ms")]


# -- the table ------------------------------------------------------------------------------------------------------

BENCHMARKS: dict[str, Callable[[int], list[Result]]] = {
    "training_s": lambda rounds: bench_training(
        "training_s", "dit_s", {"ppflow_s_2": 1.45, "ppflow_s_3": 1.80}, rounds
    ),
    "training_b": lambda rounds: bench_training("training_b", "dit_b", {"mpdit_b": 1.35, "hybrid_b": 1.95}, rounds),
    "sampling": lambda rounds: bench_sampling("sampling", rounds),
    "memory": lambda rounds: bench_memory("memory"),
    "latents": lambda rounds: bench_latents("latents", rounds * SHORT),
    "ema": lambda rounds: bench_ema("ema", rounds * SHORT),
}
"""Every benchmark by its name; each takes the number of rounds."""


def markdown(results: Sequence[Result]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield "| what | takes | beside | takes | target | multiply-adds allow | measured | quartiles | of what is allowed |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for result in results:
        target, (low, high) = result.target, result.spread
        cells = [
            target.subject,
            _cost(result.subject, result.unit),
            target.baseline,
            _cost(result.baseline, result.unit),
            str(target),
            "-" if result.allowed is None else f"{result.allowed:.3f} x",
            f"{result.ratio:.3f} x" if result.problem is None else f"**{result.ratio:.3f} x**",
            "exact" if len(result.ratios) == 1 else f"{low:.3f} to {high:.3f}",
            "-" if result.allowed is None else f"{result.ratio / result.allowed:.1%}",
        ]
        yield "| " + " | ".join(cells) + " |"


def conditions(rounds: int) -> str:
    """Under which conditions the table was measured."""
    threads = torch.get_num_threads()
    clock = "1 thread, CPU seconds" if threads == 1 else f"{threads} threads, elapsed seconds"
    return (
        f"PyTorch {torch.__version__} on {platform.machine()}, {clock}; medians of {rounds} interleaved rounds"
        f" (latents and ema: {rounds * SHORT}), and quartiles of the rounds' ratios. Memory is counted, not timed:"
        " tokens say there what is allowed, not multiply-adds."
    )


def _cost(costs: Sequence[float], unit: str) -> str:
    return f"{median(costs):.3g} {unit}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit code is 1 if ``--check`` finds a target missed."""
    parser = argparse.ArgumentParser(description="What zoo saves, measured beside what multiply-adds allow.")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="run this benchmark; may be repeated")
    parser.add_argument("--rounds", type=_positive, default=9, help="counted rounds (default: 9)")
    parser.add_argument("--threads", type=_positive, default=1, help="threads of PyTorch (default: 1)")
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or PyTorch's profiler reports its progress on stderr
    torch.set_num_threads(chosen.threads)
    results = [result for name in chosen.only or BENCHMARKS for result in BENCHMARKS[name](chosen.rounds)]
    print(conditions(chosen.rounds), "", *markdown(results), sep="\n")
    missed = [result.problem for result in results if result.problem is not None]
    if missed:
        print("missed:", *missed, sep="\n  ", file=sys.stderr)
    return 1 if chosen.check and missed else 0


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
