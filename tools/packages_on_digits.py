"""Train MPDiT with and without REPA and TREAD, and PPFlow beside pyramids, on digits, for equal multiply-adds.

    pip install --no-deps ./plugins/zoo-repa ./plugins/zoo-pyramid
    python tools/packages_on_digits.py           # train and judge what is not there yet, write the results
    python tools/packages_on_digits.py --draw    # only the table, from the results

The first row of each table trains for 1000 steps, and the others for as many as cost the same; two seeds each, each
trial on one thread. REPA's teacher is the digits network that `features: digits` measures with, of which the last
map, 32 x 4 x 4, is given; accuracy is another's, a support vector classifier's. Runs stay in ``--runs``; a second call
goes on where the first was stopped. Results: ``packages_on_digits.json`` beside this file, and the tables of
``docs/packages_on_digits.md``. It takes about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from convergence import DOCS, HERE, Trial, macs_of_step, run_trials
from convergence_report import rows_of

from zoo.evaluate.digits_cache import cached_network
from zoo.evaluate.digits_network import SIZE, TRAINING

RESULTS = HERE / "packages_on_digits.json"
PAGE = DOCS / "packages_on_digits.md"
START, END = "<!-- packages on digits -->\n", "<!-- /packages on digits -->"
STEPS = 1000

FEATURES, GRID, HIDDEN = 32, 4 * 4, 256
"""Width and places of the teacher's map, and the width of REPA's MLP."""

PROJECTOR = GRID * (96 * HIDDEN + HIDDEN * HIDDEN + HIDDEN * FEATURES)
"""Multiply-adds of that MLP for a sample; 96 is the recipe's width."""


def repa_overrides(features: Path) -> tuple[str, ...]:
    """MPDiT's third block, which has a token for each of the teacher's places, aligned with it."""
    stored = f"features: {features / 'train'}, held_out: {features / 'held_out'}"
    loss = f"{{type: repa, weight: 0.5, depth: 3, features: {FEATURES}, hidden: {HIDDEN}}}"
    return (
        f"data.dataset={{type: with_features, of: digits, {stored}}}",
        f"objective.losses=[squared_error, {loss}]",
    )


def trials(features: Path) -> Iterator[Trial]:
    """What is compared: in each table, for what 1000 steps of its first row cost."""
    coarse = ("backbone.router={type: tread, first: 1, stop: 4, share: 0.5}",)
    fine = ("backbone.router={type: tread, first: 4, stop: 5, share: 0.5}",)
    around, sizes = "MPDiT, with a loss and routes around it", "PPFlow beside a pyramid of two sizes"
    yield from _equal(around, ("MPDiT", "digits_mpdit", (), 0), [
        ("MPDiT + REPA", "digits_mpdit", repa_overrides(features), PROJECTOR),
        ("MPDiT + TREAD, blocks 1 to 3 of the coarse level", "digits_mpdit", coarse, 0),
        ("MPDiT + TREAD, the first block of the fine level", "digits_mpdit", fine, 0),
    ])  # fmt: skip
    yield from _equal(sizes, ("PPFlow", "digits_ppflow", (), 0), [
        ("pyramid, correlated renoising", "pyramid_digits", (), 0),
        ("pyramid, no renoising", "pyramid_digits_no_renoising", (), 0),
    ])  # fmt: skip


def _equal(table: str, first: tuple[str, str, tuple[str, ...], int], others: list[Any]) -> Iterator[Trial]:
    budget = STEPS * macs_of_step(*first[1:])
    for row, recipe, overrides, beside in (first, *others):
        steps = round(budget / macs_of_step(recipe, overrides, beside))
        yield Trial(table, row, recipe, overrides, steps, (steps,), beside)


def extract_features(folder: Path) -> None:
    """Store what the teacher has of the digits of both splits, unless it is there."""
    from zoo_repa.extract import main as extract

    folder.mkdir(parents=True, exist_ok=True)
    teacher = folder / "teacher.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript as a whole
        torch.jit.trace(cached_network(TRAINING).maps, torch.zeros(1, 1, *SIZE)).save(str(teacher))
    shown = ["--side", str(SIZE[0]), "--channels", "1", "--mean", "0.5", "--std", "0.5"]
    for split in ("train", "held_out"):
        out = folder / split
        if not (out / "features.json").exists():
            given = ["--recipe", "digits_mpdit", "--split", split, "--encoder", str(teacher), "--out", str(out)]
            if code := extract([*given, *shown, "--resume"]):
                sys.exit(code)


def tables(found: list[dict[str, Any]]) -> str:
    """A table for each group, as Markdown."""
    names = dict.fromkeys(each["table"] for each in found)
    return "\n".join(f"### {name}\n\n{rows_of([each for each in found if each['table'] == name])}" for name in names)


def write_page(found: list[dict[str, Any]]) -> None:
    """Put the tables between the marks of the page."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    PAGE.write_text(f"{before}{START}{tables(found)}{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> int:
    """Extract, train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2, help="how many (default: 2)")
    parser.add_argument("--runs", type=Path, default=Path("runs/packages_on_digits"), help="folder of the runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials side by side (default: cores)")
    parser.add_argument("--draw", action="store_true", help="only draw the tables from packages_on_digits.json")
    options = parser.parse_args()
    if options.draw and not RESULTS.exists():
        parser.error(f"--draw: there is no {RESULTS}; leave it out to train")
    if not options.draw:
        extract_features(options.runs / "features")
        found = run_trials(list(trials(options.runs / "features")), range(options.seeds), options.runs, options.jobs)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_page(json.loads(RESULTS.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
