"""What a page says of a run's assembly and of its training; what is not there yet is None or empty."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

from markupsafe import Markup

from zoo.assembly import build
from zoo.audit import Audit, audit_backbone, count_params, training_macs
from zoo.errors import AuditError
from zoo.json_files import read_json
from zoo.recipe import Recipe
from zoo.report.diagram import diagram
from zoo.report.page.curves import held_out_curve, loss_curve, strip, window_of
from zoo.report.page.inline import Plot, inline
from zoo.report.page.quality import Quality
from zoo.report.tables import (
    Facts,
    Table,
    audit_facts,
    giga,
    pairs_words,
    params_words,
    parts_table,
    way_table,
    with_unit,
)
from zoo.runs.metrics_file import LARGEST_NUMBER, read_metrics
from zoo.runs.run_folder import RunFolder
from zoo.shell import command
from zoo.train.job import plan_of

METRICS = ("loss", "grad_norm", "learning_rate", "images_per_second")
"""What a line of the metrics has to tell to be a point of the curves."""


@dataclass(frozen=True)
class Assembly:
    """What was trained.

    Attributes:
        params: parameters in all.
        facts: what it costs, in a line each.
        audit: None if the assembly cannot be counted.
        sample_macs: multiply-adds of a sample in training; None likewise.
        problem: why it cannot be counted.
        drawing: the way of the tokens; None likewise.
        tables: the way of the tokens and the parts.
    """

    params: int
    facts: Facts
    audit: Audit | None = None
    sample_macs: int | None = None
    problem: str = ""
    drawing: Markup | None = None
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Training:
    """How training went.

    Attributes:
        steps: done, as far as the metrics tell.
        samples: seen in these steps.
        seconds: that they took.
        speed: samples per second, the median over the lines of the metrics; None without a line.
        plots: loss first.
        held_out: the loss of held-out samples, as the callback ``validate`` finds it; None without any.
    """

    steps: int
    samples: int
    seconds: float
    speed: float | None
    plots: tuple[Plot, ...]
    held_out: Plot | None


def assembly_of(recipe: Recipe) -> Assembly:
    """Count an assembly, and draw it."""
    backbone = build(recipe, device="meta")
    params = count_params(backbone)
    try:
        audit = audit_backbone(backbone, recipe)
    except AuditError as error:
        return Assembly(params.total, [("parameters", params_words(params))], problem=str(error))
    return Assembly(
        params.total,
        audit_facts(audit),
        audit,
        training_macs(audit, plan_of(recipe, backbone)),
        drawing=inline(diagram(audit, recipe), "diagram"),
        tables=(way_table(audit, recipe.backbone.dim), parts_table(audit)),
    )


def training_of(run: RunFolder, recipe: Recipe) -> Training:
    """Read the metrics of a run, and draw them."""
    told = read_metrics(run.metrics)
    lines = [line for line in told if all(isinstance(line.get(name), int | float) for name in METRICS)]
    batch = recipe.train.batch
    before, seconds = 0, 0.0
    for line in lines:
        seconds += (line["step"] - before) * batch / max(line["images_per_second"], 0.005)  # rounded to hundredths
        before = line["step"]
    speed = median(line["images_per_second"] for line in lines) if lines else None
    plots = tuple(_training_plots(lines)) if lines else ()
    return Training(before, before * batch, seconds, speed, plots, _held_out_plot(told))


def starts_of(run: RunFolder) -> list[Facts]:
    """What was recorded at every start of a run, the newest first."""
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError):  # damaged, or none of ours
        return [_start_facts(each) for each in reversed(read_json(run.versions))]
    return []


def size_words(recipe: Recipe) -> str:
    """What the backbone takes, and how large it is."""
    backbone = recipe.backbone
    latent = " × ".join(map(str, (backbone.latent.channels, *backbone.latent.size)))  # noqa: RUF001
    size = f"width {backbone.dim}, {backbone.depth} blocks, {backbone.heads} heads"
    return f"Latent {latent}, {backbone.label_words}; {size}"


def headlines(
    recipe: Recipe, assembly: Assembly, training: Training, quality: Quality | None
) -> list[tuple[str, str, str]]:
    """What to know first: what it is about, the figure, and what to think of it."""
    wanted = recipe.train.steps
    steps = f"{training.steps:,} steps" if training.steps == wanted else f"{training.steps:,} of {wanted:,} steps"
    found = [("Trained", steps, f"{training.samples:,} images, {recipe.train.batch} a step")]
    found.append(("Parameters", f"{assembly.params / 1e6:.2f} M", ""))
    if assembly.audit is not None and assembly.sample_macs is not None:
        mean = "mean over noise levels" if len(assembly.audit.stages) > 1 else "at batch 1"
        found.append(("Multiply-adds of a pass", giga(assembly.audit.macs), mean))
        cost = with_unit(assembly.sample_macs * training.samples)
        found.append(("Multiply-adds of training", cost, "" if training.speed is None else _duration(training.seconds)))
    if quality is not None:
        name, value, floor = quality.headline
        beside = "no floor" if floor is None else f"held-out real images: {floor:.4g}"
        found.append((name, f"{value:.4g}", beside))
    return found


def training_facts(assembly: Assembly, training: Training) -> Facts:
    """What training cost."""
    facts = []
    if assembly.sample_macs is not None:
        total = with_unit(assembly.sample_macs * training.samples)
        words = f"{total} = {training.samples:,} images of {giga(assembly.sample_macs)}, forward and backward"
        facts.append(("multiply-adds", words))
    if training.speed is not None:
        facts.append(("time", f"{_duration(training.seconds)}; {training.speed:.4g} images/s in the median"))
    return facts


def _training_plots(lines: list[dict[str, Any]]) -> list[Plot]:
    steps = [line["step"] for line in lines]
    losses = [line["loss"] for line in lines]
    window = window_of(losses)
    mean = f"pale: lines of the metrics; strong: means of {window}" if window > 1 else ""
    drawing = inline(loss_curve(steps, losses), "loss", "Loss against steps")
    plots = [Plot("Loss", drawing, mean)]
    for name, title, logarithmic in (
        ("grad_norm", "Norm of the gradient", True),
        ("learning_rate", "Learning rate", False),
        ("images_per_second", "Images per second", False),
    ):
        values = [line[name] for line in lines]
        svg = strip(steps, values, logarithmic=logarithmic and min(values) > 0)
        plots.append(Plot(title, inline(svg, name, f"{title} against steps")))
    return plots


def _held_out_plot(lines: list[dict[str, Any]]) -> Plot | None:
    found = []
    for line in lines:
        with suppress(LookupError, TypeError):  # none of a callback's that is called so, or of anyone's
            pair = [line["validate"][which]["loss"] for which in ("ema", "raw")]
            if all(isinstance(each, int | float) and abs(each) < LARGEST_NUMBER for each in pair):
                found.append((line["step"], *pair))
    if not found:
        return None
    drawing = inline(held_out_curve(*zip(*found, strict=True)), "held_out", "Loss of held-out samples against steps")
    return Plot("Loss of held-out samples", drawing, "blue: averaged weights; grey: the last ones")


def _start_facts(start: Mapping[str, Any]) -> Facts:
    known = {**start, "versions": start["versions"]["packages"]}
    return [(name, command(*value) if name == "command" else _words(value)) for name, value in known.items()]


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return pairs_words(value) if isinstance(value, dict) else str(value)


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
