"""Curves against steps, as SVG documents: what goes down, or up, while a run trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from zoo.report.pareto import to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGE, SMALL, STRIP = (5.4, 4.6), (3.2, 1.9), (3.6, 1.25)
"""Sizes in inches of 72 units each; words are as large in all of them."""

MOST_POINTS = 800
WORDS = 9.5


def loss_curve(steps: Sequence[int], losses: Sequence[float]) -> str:
    """The loss, pale, and its mean over ``window_of`` lines."""
    axes = _axes(LARGE)
    _draw(axes, steps, losses, alpha=0.35, linewidth=0.8)
    window = window_of(losses)
    means = np.convolve(losses, np.full(window, 1 / window), mode="valid")
    _draw(axes, steps[window - 1 :], means, linewidth=1.8)
    return _finished(axes, 5)


def strip(steps: Sequence[int], values: Sequence[float], *, logarithmic: bool = False) -> str:
    """A low curve, to be seen beside others; it starts at zero unless it is ``logarithmic``."""
    axes = _axes(STRIP)
    _draw(axes, steps, values, linewidth=1.1)
    if logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    return _finished(axes, 3)


def quality_curve(by_step: Mapping[int, float], floor: float | None) -> str:
    """A figure of generated images, step by step; dashes show what real images come to."""
    axes = _axes(SMALL)
    axes.margins(y=0.15)
    axes.plot(list(by_step), list(by_step.values()), color="tab:blue", linewidth=1.4, marker="o", markersize=3.5)
    if floor is not None:
        axes.axhline(floor, color="tab:gray", linewidth=1.1, linestyle=(0, (4, 3)))
    return _finished(axes, 4)


def held_out_curve(steps: Sequence[int], averaged: Sequence[float], last: Sequence[float]) -> str:
    """The loss of held-out samples, by averaged weights and, grey, by the last ones."""
    axes = _axes(SMALL)
    axes.margins(y=0.15)
    for values, color in ((last, "tab:gray"), (averaged, "tab:blue")):
        axes.plot(*thinned(steps, values), color=color, linewidth=1.4, marker="o", markersize=3.5)
    return _finished(axes, 4)


def window_of(values: Sequence[float]) -> int:
    """Lines of the metrics that a mean runs over."""
    return max(1, len(values) // 20)


def thinned(
    steps: Sequence[int], values: Sequence[float] | np.ndarray
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """At most ``MOST_POINTS`` of a curve's points: the least and the greatest of neighbours, so no peak is lost."""
    x, y = np.asarray(steps, float), np.asarray(values, float)
    if len(y) <= MOST_POINTS:
        return x, y
    ends = [
        sorted({part[y[part].argmin()], part[y[part].argmax()]})
        for part in np.array_split(np.arange(len(y)), MOST_POINTS // 2)
    ]
    kept = np.concatenate(ends)
    return x[kept], y[kept]


def _draw(axes: Axes, steps: Sequence[int], values: Sequence[float] | np.ndarray, **look: float) -> None:
    x, y = thinned(steps, values)
    axes.plot(x, y, color="tab:blue", marker="o" if len(y) == 1 else "", markersize=3, **look)  # type: ignore[arg-type]


def _axes(size: tuple[float, float]) -> Axes:
    from matplotlib.figure import Figure  # half a second, that only a page should cost

    axes = Figure(figsize=size, layout="constrained").subplots()
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_linewidth(0.6)
    axes.tick_params(labelsize=WORDS, width=0.6)
    return axes


def _finished(axes: Axes, ticks: int) -> str:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    if axes.get_yscale() == "log":
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,), numticks=ticks + 2))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=ticks, steps=[1, 2, 2.5, 5, 10]))
    figure = axes.get_figure(root=True)
    assert figure is not None
    return to_svg(figure)
