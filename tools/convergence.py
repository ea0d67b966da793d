"""Train DiT, MPDiT, PPFlow, the hybrid and the papers' ladders of components on digits, and judge what they draw.

    python tools/convergence.py                  # train and judge what is not there yet, write the results
    python tools/convergence.py --only recipes   # without the ladders
    python tools/convergence.py --check          # exit 1 where a recipe misses its bounds, or a control meets them

Each of the four recipes trains for its own 1000 steps, and once more for as many steps as cost what the hybrid's 1000
do; the ladders train for 250. Everything is done with three seeds, each trial on one thread, two or more side by side.
Runs stay in ``--runs``; a second call goes on where the first was stopped. Results: ``convergence.json`` beside this
file, and ``docs/convergence.md`` and ``docs/convergence.svg``, which are drawn from it (``--draw`` does only that).
It takes about an hour and a half on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from convergence_report import problems_of, write_report
from judged import judge_sets
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from zoo import Registry, build, load_recipe
from zoo.assembly import create_part, create_parts
from zoo.audit import audit_backbone, count_params, training_macs
from zoo.distributed.distributed import Distributed
from zoo.evaluate.judging import RealImages, controls
from zoo.recipe import Recipe
from zoo.runs.judged import GENERATED, HELD_OUT
from zoo.train.job import plan_of
from zoo.train.trial import train_and_judge

HERE = Path(__file__).parent
RESULTS = HERE / "convergence.json"
DOCS = HERE.parent / "docs"

FOUR = {"digits_dit": "DiT", "digits_mpdit": "MPDiT", "digits_ppflow": "PPFlow", "digits_hybrid": "hybrid"}
CHEAPEST = "digits_hybrid"
STEPS, LADDER_STEPS = 1000, 250
POINTS = (200, 400, 600, 800, STEPS)
"""Steps after which the four recipes are judged."""


@dataclass(frozen=True)
class Trial:
    """A training whose samples are judged.

    Attributes:
        table: that it is a row of.
        row: what the table calls it.
        recipe: the name of one that ``zoo recipes`` lists.
        overrides: as for ``--set``.
        steps: updates.
        at: steps after which it is judged.
        beside: multiply-adds of a sample's forward pass outside of the backbone, as in a loss.
    """

    table: str
    row: str
    recipe: str
    overrides: tuple[str, ...]
    steps: int
    at: tuple[int, ...]
    beside: int = 0

    def load(self, seed: int) -> Recipe:
        """The recipe, with a checkpoint at every step at which it is judged."""
        often = self.at[0]
        return load_recipe(
            self.recipe,
            [
                *self.overrides,
                f"train.steps={self.steps}",
                f"train.seed={seed}",
                f"train.checkpoint_every={often}",
                f"train.keep_last={len(self.at)}",
                "evaluate.labels=balanced",  # which differs least from seed to seed
            ],
        )

    def folder(self, seed: int) -> str:
        """A name for the run, the same for equal trainings of several tables."""
        changes = hashlib.sha256("\n".join(self.overrides).encode()).hexdigest()[:8] if self.overrides else "as_it_is"
        return f"{self.recipe}-{changes}-{self.steps}-seed{seed}"


def recipe_trials() -> Iterator[Trial]:
    """The four recipes at equal steps, and at equal multiply-adds."""
    for recipe, row in FOUR.items():
        yield Trial("equal steps", row, recipe, (), STEPS, POINTS)
    budget = STEPS * macs_of_step(CHEAPEST)
    for recipe, row in FOUR.items():
        steps = round(budget / macs_of_step(recipe))
        at = POINTS if steps == STEPS else (steps,)  # the cheapest is the same run as at equal steps
        yield Trial("equal multiply-adds", row, recipe, (), steps, at)


def ladder_trials() -> Iterator[Trial]:
    """The rows of MPDiT's tables 3, 5, 6 and 7, with the sizes of digits."""

    def trial(table: str, row: str, recipe: str, *overrides: str) -> Trial:
        return Trial(table, row, recipe, overrides, LADDER_STEPS, (LADDER_STEPS,))

    components = "table 3: components, one after the other"
    shared, fno = "backbone.modulation=shared_adaln", "backbone.time_embedder=fno"
    tokens = "backbone.class_conditioner={type: class_tokens, tokens: 4, std: 1.0}"
    yield trial(components, "DiT", "digits_dit")
    yield trial(components, "+ shared adaLN", "digits_dit", shared)
    yield trial(components, "+ 4 class tokens", "digits_dit", shared, tokens)
    yield trial(components, "+ FNO time embedding", "digits_dit", shared, tokens, fno)
    yield trial(components, "+ two patch sizes (MPDiT)", "digits_mpdit")

    time = "table 5: time embedding of MPDiT"
    for layers in (1, 2, 3):
        plural = "s" * (layers > 1)
        change = f"backbone.time_embedder={{type: sinusoidal, layers: {layers}}}"
        yield trial(time, f"sinusoidal, {layers} Linear{plural}", "digits_mpdit", change)
    for blocks in (2, 3, 4):
        change = () if blocks == 3 else (f"backbone.time_embedder.blocks={blocks}",)
        yield trial(time, f"FNO, {blocks} blocks", "digits_mpdit", *change)

    for m in (1, 2, 4, 8, 16):
        change = () if m == 4 else (f"backbone.class_conditioner.tokens={m}",)
        yield trial("table 6: class tokens of MPDiT", f"m = {m}", "digits_mpdit", *change)

    for name in ("linear", "conv_transpose", "linear_linear", "linear_mlp", "linear_conv"):
        change = () if name == "linear_linear" else (f"backbone.upsampler={name}",)
        yield trial("table 7: upsampler of MPDiT", name, "digits_mpdit", *change)


@cache
def macs_of_step(recipe: str, overrides: tuple[str, ...] = (), beside: int = 0) -> int:
    """Multiply-adds of an update, forward and backward."""
    loaded = load_recipe(recipe, overrides)
    backbone = build(loaded, device="meta")
    report = audit_backbone(backbone, loaded)
    return loaded.train.batch * (training_macs(report, plan_of(loaded, backbone)) + 3 * beside)


def run_trial(trial: Trial, seed: int, runs: Path) -> dict[str, Any]:
    """Train and judge, unless it has been done; on one thread, in a process of its own."""
    torch.set_num_threads(1)
    world = Distributed(0, 1, torch.device("cpu"))
    recipe = trial.load(seed)
    found = train_and_judge(recipe, runs / trial.folder(seed), Registry.installed(), world, at=trial.at)
    return {
        **asdict(trial),
        "seed": seed,
        "params": count_params(build(recipe, device="meta")).total,
        "macs_of_step": macs_of_step(trial.recipe, trial.overrides, trial.beside),
        "figures": {str(step): found[step]["figures"][GENERATED] for step in trial.at},
        "floor": found[trial.steps]["figures"][HELD_OUT],
        "sample": found[trial.steps]["sample"],
        "images": found[trial.steps]["counts"][GENERATED],
        "libraries": found[trial.steps]["libraries"],
    }


def run_trials(trials: Sequence[Trial], seeds: Sequence[int], runs: Path, jobs: int) -> list[dict[str, Any]]:
    """All trials with all seeds, in their order; equal trainings are done once."""
    wanted = {(trial.folder(seed)): (trial, seed) for trial in trials for seed in seeds}
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=Console(stderr=True),
    )  # fmt: skip
    done: dict[str, dict[str, Any]] = {}
    # A process each: a second training in one would find another state of the first one's allocator and threads.
    with bar, ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        task = bar.add_task("trials", total=len(wanted))
        futures = {pool.submit(run_trial, trial, seed, runs): name for name, (trial, seed) in wanted.items()}
        try:
            for future in as_completed(futures):
                done[futures[future]] = future.result()
                bar.advance(task)
                bar.console.print(f"{futures[future]} is done")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [{**done[trial.folder(seed)], **_names(trial)} for trial in trials for seed in seeds]


def judge_controls() -> dict[str, dict[str, float]]:
    """Figures of sets that a sound judgement refuses."""
    recipe = load_recipe(CHEAPEST)
    train = RealImages(create_part(recipe, "dataset"), "train", seed=0)
    features, metrics = create_part(recipe, "features"), create_parts(recipe, "metric")
    sets = {name: make() for name, make in controls(train.in_memory(), seed=0).items()}
    return judge_sets(features, metrics, train, sets)


def _names(trial: Trial) -> Mapping[str, str]:
    return {"table": trial.table, "row": trial.row}


def main() -> int:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("recipes", "ladder"), help="one half of it")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--runs", type=Path, default=Path("runs/convergence"), help="folder of the runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials side by side (default: cores)")
    parser.add_argument("--draw", action="store_true", help="only draw table and plot from convergence.json")
    parser.add_argument("--check", action="store_true", help="exit 1 where a recipe misses its bounds")
    options = parser.parse_args()
    if options.draw and not RESULTS.exists():
        parser.error(f"--draw: there is no {RESULTS}; leave it out to train")
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"trials": []}
    if not options.draw:
        trials = [
            *(recipe_trials() if options.only != "ladder" else ()),
            *(ladder_trials() if options.only != "recipes" else ()),
        ]
        found = run_trials(trials, range(options.seeds), options.runs, options.jobs)
        tables = {each["table"] for each in found}
        others = [each for each in known["trials"] if each["table"] not in tables]
        known = {"controls": judge_controls(), "trials": [*found, *others]}
        RESULTS.write_text(json.dumps(known, indent=1) + "\n")
    write_report(known, DOCS)
    problems = list(problems_of(known))
    for problem in problems:
        print(f"missed: {problem}", file=sys.stderr)
    return 1 if options.check and problems else 0


if __name__ == "__main__":
    sys.exit(main())
