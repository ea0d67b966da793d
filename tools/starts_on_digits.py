"""Train on digits from weights of another shape, and beside that from scratch: held-out losses after 200 steps.

    python tools/starts_on_digits.py                  # train what is not there yet, print the table
    python tools/starts_on_digits.py --write          # and put it into docs/weights.md

The donors are `digits_hybrid` and `digits_ppflow` as their recipes are, 1000 steps each. Trainings are calls of `zoo
train`, each on one thread, and stay in ``--runs``; a second call goes on where the first was stopped. It takes ten
minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
from rich.progress import track

from zoo import load_recipe
from zoo.assembly import create_part

PAGE = Path(__file__).parent.parent / "docs" / "weights.md"
START, END = "<!-- starts on digits -->\n", "<!-- /starts on digits -->"
STEPS = 200
FEWER = 5
"""Classes of the digits that are kept in one of the cases."""

THREE_STAGES = (
    "{type: by_timestep, stages: [{noise_above: 0.66, patch: 8}, {noise_above: 0.33, patch: 4}, {noise_above: 0, patch:"
    " 2}]}"
)


@dataclass(frozen=True)
class Case:
    """What differs between a donor and what starts from its weights.

    Attributes:
        name: of its runs.
        row: what the table calls it.
        donor: a recipe.
        changes: to it, as for ``--set``.
    """

    name: str
    row: str
    donor: str
    changes: tuple[str, ...]


def cases(runs: Path) -> Sequence[Case]:
    """Other classes, another size, other channels, another stage."""
    fewer = (
        f"data.dataset={{type: npy, folder: {few_digits(runs / 'digits_0_to_4')}}}",
        f"backbone.num_classes={FEWER}",
    )
    larger = ("backbone.latent={channels: 1, height: 24, width: 24}",)
    colours = ("backbone.latent={channels: 3, height: 16, width: 16}",)
    return (
        Case("classes", "hybrid: digits 0 to 4 alone, 5 classes", "digits_hybrid", fewer),
        Case("size", "hybrid: 24 x 24 pixels", "digits_hybrid", larger),
        Case("channels", "hybrid: 3 channels", "digits_hybrid", colours),
        Case(
            "stage", "PPFlow: 3 stages, patches 8, 4, 2", "digits_ppflow", (f"backbone.patch_schedule={THREE_STAGES}",)
        ),
    )


def few_digits(folder: Path) -> Path:
    """Those of the first classes, as arrays that the dataset `npy` reads, unless they are there."""
    dataset = create_part(load_recipe("digits_hybrid"), "dataset")
    for split in ("train", "held_out"):
        below = folder / split
        if (below / "labels.npy").exists():
            continue
        below.mkdir(parents=True, exist_ok=True)
        source = dataset.open(split)
        every = np.arange(len(source))
        rows = every[source.labels(every).numpy() < FEWER]
        found = source.read(rows, [np.random.default_rng(0) for _ in rows])
        np.save(below / "x.npy", found.latents.numpy())
        np.save(below / "labels.npy", found.labels.numpy())
    return folder.resolve()


def train(recipe: str, folder: Path, overrides: Sequence[str]) -> None:
    """Call `zoo train`, unless the run has ended; one that was stopped goes on.

    Raises:
        SystemExit: it fails, with what it said.
    """
    zoo = [sys.executable, "-m", "zoo", "train"]
    sets = [word for each in overrides for word in ("--set", each)]
    begin = ["--recipe", recipe, *sets, "--run-dir", str(folder)]
    call = [*zoo, *(["--resume", "--run-dir", str(folder)] if (folder / "run.json").exists() else begin)]
    ended = subprocess.run(
        call, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, encoding="utf-8", check=False
    )
    if ended.returncode:
        sys.exit(f"{' '.join(call)}\n{ended.stderr}")


def held_out_loss(folder: Path) -> float:
    """The last one that a run's metrics have, of averaged weights."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    told = [each["validate"] for each in map(json.loads, lines) if "validate" in each]
    return float(told[-1]["ema"]["loss"])


def rows_of(losses: Mapping[str, Mapping[str, Sequence[float]]]) -> Iterator[str]:
    """The table's lines: by case, the losses of both starts, a number for each seed."""
    yield "| from a trained | adapted | from scratch | mean, adapted to scratch |"
    yield "| --- | ---: | ---: | ---: |"
    for row, found in losses.items():
        adapted, fresh = (found[start] for start in ("adapted", "scratch"))
        cells = (" ".join(f"{each:.4f}" for each in starts) for starts in (adapted, fresh))
        yield f"| {row} | {' | '.join(cells)} | {mean(adapted) / mean(fresh):.2f} |"


def main() -> int:
    """Train and tell; the exit code is 1 where a run from a donor's weights is not ahead of scratch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--runs", type=Path, default=Path("runs/starts_on_digits"), help="folder of the runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs side by side (default: cores)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/weights.md")
    options = parser.parse_args()
    runs: Path = options.runs
    wanted = cases(runs)
    donors = {each.donor: runs / each.donor for each in wanted}
    every = ["data.workers=0", "train.callbacks=[{type: validate, every: 200}]"]
    todo = []
    for case in wanted:
        for seed in range(options.seeds):
            own = [*case.changes, *every, f"train.steps={STEPS}", f"train.seed={seed}"]
            start = f"train.init={{weights: {donors[case.donor]}, fit: adapt}}"
            todo.append((case.donor, runs / f"{case.name}-adapted-{seed}", [*own, start]))
            todo.append((case.donor, runs / f"{case.name}-scratch-{seed}", own))
    with ThreadPoolExecutor(options.jobs) as pool:
        for calls in ([(name, folder, every) for name, folder in donors.items()], todo):
            list(track(pool.map(lambda call: train(*call), calls), "training", total=len(calls)))
    losses = {
        case.row: {
            start: [held_out_loss(runs / f"{case.name}-{start}-{seed}") for seed in range(options.seeds)]
            for start in ("adapted", "scratch")
        }
        for case in wanted
    }
    table = "\n".join(rows_of(losses))
    print(table)
    if options.write:
        before, rest = PAGE.read_text(encoding="utf-8").split(START)
        PAGE.write_text(f"{before}{START}{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    behind = [row for row, found in losses.items() if min(found["scratch"]) <= max(found["adapted"])]
    return 1 if behind else 0


if __name__ == "__main__":
    sys.exit(main())
