"""What ``convergence.py`` found, as Markdown tables and as a plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from matplotlib.figure import Figure

from zoo.report.pareto import to_svg

BOUNDS: Mapping[str, tuple[float, float]] = {
    "accuracy": (0.90, 1.0),
    "fid_relative": (0.0, 0.06),
    "diversity": (0.7, 1.3),
    "novelty": (0.5, float("inf")),
}
"""What a recipe has to keep to after its own steps, with every seed; a control has to miss one of them."""

COLORS = {"DiT": "tab:gray", "MPDiT": "tab:blue", "PPFlow": "tab:orange", "hybrid": "tab:red"}
START, END = "<!-- convergence -->\n", "<!-- /convergence -->"

Result = Mapping[str, Any]


def missed(figures: Mapping[str, float]) -> list[str]:
    """The figures that are out of bounds."""
    return [name for name, (low, high) in BOUNDS.items() if not low <= figures[name] <= high]


def problems_of(results: Mapping[str, Any]) -> Iterator[str]:
    """A line for every recipe that misses a bound after its own steps, and for every control that misses none."""
    for each in results["trials"]:
        if each["table"] == "equal steps":
            figures = last(each)
            for name in missed(figures):
                low, high = BOUNDS[name]
                yield f"{each['row']}, seed {each['seed']}: {name} {figures[name]:.4f} is not in [{low}, {high}]"
    for name, figures in results["controls"].items():
        if not missed(figures):
            yield f"control {name!r} keeps to all bounds"


def last(result: Result) -> Mapping[str, float]:
    """The figures after the last step."""
    found: Mapping[str, float] = result["figures"][str(result["steps"])]
    return found


def write_report(results: Mapping[str, Any], docs: Path) -> None:
    """Draw the plot, and put the tables between the marks of the page."""
    page = docs / "convergence.md"
    before, rest = page.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    page.write_text(f"{before}{START}{tables(results)}{END}{after}", encoding="utf-8")
    (docs / "convergence.svg").write_text(to_svg(curves(results["trials"])), encoding="utf-8")


def tables(results: Mapping[str, Any]) -> str:
    """Every table as Markdown."""
    trials: Sequence[Result] = results["trials"]
    text = "### Every seed after 1000 steps, and the controls\n\n" + _seeds(trials, results["controls"])
    for name in dict.fromkeys(each["table"] for each in trials):
        text += f"\n### {name[0].upper()}{name[1:]}\n\n" + rows_of([each for each in trials if each["table"] == name])
    return text


def _seeds(trials: Sequence[Result], controls: Mapping[str, Mapping[str, float]]) -> str:
    names = list(BOUNDS)
    lines = [
        f"| what | seed | {' | '.join(names)} | within bounds |",
        "| --- | ---: |" + " ---: |" * len(names) + " --- |",
    ]
    rows = [(each["row"], str(each["seed"]), last(each)) for each in trials if each["table"] == "equal steps"]
    rows += [(f"control: {name}", "", figures) for name, figures in controls.items()]
    for row, seed, figures in rows:
        cells = " | ".join(f"{figures[name]:.3f}" for name in names)
        lines.append(f"| {row} | {seed} | {cells} | {', '.join(f'not {name}' for name in missed(figures)) or 'yes'} |")
    floor = trials[0]["floor"]
    lines.append(f"| held-out real images | | {' | '.join(f'{floor[name]:.3f}' for name in names)} | |")
    return "\n".join(lines) + "\n"


def rows_of(trials: Sequence[Result]) -> str:
    """A table of what each row's trainings cost and gave, over its seeds."""
    names = list(BOUNDS)
    lines = [
        f"| row | parameters (M) | steps | training multiply-adds (T) | {' | '.join(names)} |",
        "| --- |" + " ---: |" * (3 + len(names)),
    ]
    for row in dict.fromkeys(each["row"] for each in trials):
        own = [each for each in trials if each["row"] == row]
        first = own[0]
        cells = [_spread([last(each)[name] for each in own]) for name in names]
        work = first["steps"] * first["macs_of_step"] / 1e12
        lines.append(f"| {row} | {first['params'] / 1e6:.2f} | {first['steps']} | {work:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{fmean(values):.3f}{deviation}"


def curves(trials: Sequence[Result]) -> Figure:
    """Quality against training multiply-adds at equal steps: means, bands from the worst to the best seed."""
    figure = Figure(figsize=(9, 4), dpi=120, layout="constrained")
    for axes, (name, label) in zip(
        figure.subplots(1, 2),
        (("fid_relative", "Frechet distance over real variance (log)"), ("accuracy", "accuracy")),
        strict=True,
    ):
        for row, color in COLORS.items():
            own = [each for each in trials if each["table"] == "equal steps" and each["row"] == row]
            if not own:  # only the ladders have been climbed
                continue
            steps = [int(step) for step in own[0]["figures"]]
            work = [step * own[0]["macs_of_step"] / 1e12 for step in steps]
            found = [[each["figures"][str(step)][name] for each in own] for step in steps]
            axes.fill_between(
                work, [min(each) for each in found], [max(each) for each in found], color=color, alpha=0.2
            )
            axes.plot(work, [fmean(each) for each in found], "o-", color=color, label=row, markersize=3)
        axes.axhline(trials[0]["floor"][name], color="black", linestyle=":", linewidth=1, label="held-out real images")
        axes.set(xlabel="training multiply-adds (T)", ylabel=label)
        axes.grid(alpha=0.3)
        if name == "fid_relative":
            axes.set_yscale("log")
    axes.legend()
    return figure
