"""A plot of assemblies by what they cost and what they come to, with those that no other beats on both."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ZooError, did_you_mean, printable
from zoo.registry import Registry
from zoo.report.comparison import Entry, Spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COSTS = {
    "params": ("parameters (M)", 1e-6),
    "macs": ("multiply-adds of a pass (G)", 1e-9),
    "image_macs": ("multiply-adds of an image (G)", 1e-9),
    "activation_bytes": ("activation memory of a sample in training (MB)", 1e-6),
}
"""Axes that need no run: label, and the unit's size."""

SUFFIXES = (".png", ".svg", ".html")


@dataclass(frozen=True)
class Axis:
    """What a plot shows along an axis.

    Attributes:
        name: a cost, or a figure of runs.
        more_is_better: else less is.
    """

    name: str
    more_is_better: bool = False

    @property
    def label(self) -> str:
        """What stands beside the axis."""
        text = COSTS[self.name][0] if self.name in COSTS else self.name
        return f"{text}, {'more' if self.more_is_better else 'less'} is better"

    def value(self, entry: Entry) -> Spread | None:
        """Where an entry is on the axis; None if that is not known."""
        if self.name not in COSTS:
            return entry.figures().get(self.name)
        cost: int | None = getattr(entry.cost, self.name)
        return None if cost is None else Spread(cost * COSTS[self.name][1], None)

    def rank(self, value: float) -> float:
        """The smaller, the better."""
        return -value if self.more_is_better else value


def axes_of(entries: Sequence[Entry], x: str | None, y: str | None, registry: Registry) -> tuple[Axis, Axis]:
    """The axes that are asked for, or the multiply-adds of an image and the first figure of the runs.

    Args:
        entries: what will be plotted.
        x: a cost or a figure; None to have one chosen.
        y: likewise.
        registry: the metrics that told the figures say of which more is better.

    Raises:
        ZooError: there is no such axis, or nothing has it.
    """
    metrics = {name for entry in entries for outcome in entry.outcomes for name in outcome.metrics}
    better = {figure for name in metrics for figure in registry.get("metric", name).cls.more_is_better}
    figures = list(dict.fromkeys(name for entry in entries for name in entry.figures()))
    better |= {name for name in figures if name.endswith("images/s")}
    preferred = [name for name in ("fid_relative", *figures) if name in figures]
    all_counted = all(entry.cost.image_macs is not None for entry in entries)
    names = (x or ("image_macs" if all_counted else "macs"), y or (preferred[0] if preferred else "params"))
    for option, name in zip(("--x", "--y"), names, strict=True):
        known = [*COSTS, *figures]
        if name not in known:
            without = "" if figures else "; figures of quality need --runs"
            raise ZooError(
                f"{option} {name}: nothing has such a figure{did_you_mean(name, known)} (there are: {', '.join(known)}"
                f"{without})"
            )
    return Axis(names[0], names[0] in better), Axis(names[1], names[1] in better)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points of which no other is at most as large in both and smaller in one, by their first value."""
    best = float("inf")
    found = []
    for index in sorted(range(len(points)), key=lambda each: points[each]):
        if points[index][1] < best:
            best = points[index][1]
            found.append(index)
    return found


def plot(entries: Sequence[Entry], x: Axis, y: Axis) -> Figure:
    """Entries as points, those on the front joined; bars are standard deviations over runs.

    Raises:
        ZooError: no entry is known on both axes.
    """
    from matplotlib.figure import Figure  # half a second, that only a plot should cost

    placed = [(entry, own, other) for entry in entries if (own := x.value(entry)) and (other := y.value(entry))]
    if not placed:
        raise ZooError(f"--plot: no recipe has both {x.name} and {y.name}; choose other axes by --x and --y")
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x.label, ylabel=y.label)
    axes.grid(alpha=0.3)
    axes.margins(0.12)
    best = pareto_front([(x.rank(own.mean), y.rank(other.mean)) for _, own, other in placed])
    line = [placed[index] for index in best]
    axes.plot([own.mean for _, own, _ in line], [other.mean for _, _, other in line],
        color="tab:blue", alpha=0.5, drawstyle="steps-post",
    )  # fmt: skip
    for index, (entry, own, other) in enumerate(placed):
        color = "tab:blue" if index in best else "tab:gray"
        axes.errorbar(
            own.mean, other.mean, xerr=own.deviation, yerr=other.deviation, fmt="o", color=color, capsize=3
        )  # fmt: skip
        axes.annotate(
            printable(entry.name), (own.mean, other.mean), xytext=(6, 6), textcoords="offset points", fontsize=9,
            parse_math=False,
        )  # fmt: skip
    return figure


def to_svg(figure: Figure) -> str:
    """A figure as an SVG document; the same figure gives the same text."""
    import matplotlib as mpl

    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "zoo", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def check_suffix(path: Path, suffixes: Collection[str] = SUFFIXES) -> None:
    """Refuse a file name of another kind.

    Raises:
        ZooError: it ends in none of the suffixes.
    """
    if path.suffix.lower() not in suffixes:
        raise ZooError(f"{path}: cannot be drawn; take a name that ends in {', '.join(suffixes)}")
