"""What a page says of how good a run's samples are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.report.page.curves import quality_curve
from zoo.report.page.inline import Plot, inline
from zoo.report.tables import Facts, Table, figures_table, pairs_words, real_words
from zoo.runs.judged import GENERATED, HELD_OUT, way_of
from zoo.runs.run_folder import RunFolder, step_of


@dataclass(frozen=True)
class Quality:
    """What the newest evaluation found, and how it changed.

    Attributes:
        step: of the checkpoint.
        headline: name and value of the figure to look at first, and what real images come to; None without a floor.
        table: all figures.
        facts: how the images were made.
        record: the same in full, as it was written.
        plots: figures against steps, if other checkpoints were judged in the same way.
        others: evaluations that were made in another way.
    """

    step: int
    headline: tuple[str, float, float | None]
    table: Table
    facts: Facts
    record: Mapping[str, Any]
    plots: tuple[Plot, ...]
    others: int


def quality_of(run: RunFolder) -> Quality | None:
    """The newest evaluation of a run's averaged weights; None without any."""
    found = run.read_evaluations()
    if not found:
        return None
    newest = found[-1]
    alike = {step_of(each): each["figures"][GENERATED] for each in found if way_of(each) == way_of(newest)}
    own, floor = newest["figures"][GENERATED], newest["figures"].get(HELD_OUT, {})
    first = "fid_relative" if "fid_relative" in own else next(iter(own))
    return Quality(
        step_of(newest),
        (first, own[first], floor.get(first)),
        figures_table(newest["figures"], newest),
        _evaluation_facts(newest),
        {name: value for name, value in newest.items() if name != "figures"},
        tuple(_quality_plots(alike, floor)) if len(alike) > 1 else (),
        len(found) - len(alike),
    )


def _quality_plots(by_step: Mapping[int, Mapping[str, float]], floor: Mapping[str, float]) -> list[Plot]:
    names = dict.fromkeys(name for figures in by_step.values() for name in figures)
    plots = []
    for place, name in enumerate(names):
        values = {step: figures[name] for step, figures in by_step.items() if name in figures}
        drawing = inline(quality_curve(values, floor.get(name)), f"quality{place}", f"{name} against steps")
        plots.append(Plot(name, drawing))
    return plots


def _evaluation_facts(found: Mapping[str, Any]) -> Facts:
    sample = found["sample"]
    return [
        ("solver", f"{_part_words(sample['solver'])}, {sample['steps']} updates"),
        ("guidance", _part_words(sample["guidance"])),
        ("seed", str(found["seed"])),
        ("images", f"{found['counts'][GENERATED]} drawn, beside {real_words(found)}"),
        ("features", _part_words(found["evaluate"]["features"])),
        ("weights", f"averaged, {found['checkpoint']}"),
        ("SHA-256 of the weights", found["weights_sha256"]),
        ("versions", pairs_words({"zoo": found["zoo"], **found["libraries"]})),
        *(("doubt", each) for each in found["doubts"]),
    ]


def _part_words(spec: Mapping[str, Any]) -> str:
    options = pairs_words({name: value for name, value in spec.items() if name != "type"})
    return f"{spec['type']} ({options})" if options else spec["type"]
