"""What ``zoo plan`` prints."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from zoo.plan.model import Time
from zoo.plan.plan import DRAWN, WRITTEN, Plan

DAY = 86_400


def print_plan(console: Console, plan: Plan) -> None:
    """A plan in lines of one fact each."""
    device, memory = plan.device, plan.memory
    accumulated = plan.batch // (plan.piece * plan.gpus)
    pieces = f"{accumulated} x {plan.piece}" if accumulated > 1 else str(plan.piece)
    lines = [
        ("a step", f"{_ms(plan.step)}: {plan.batch} samples, {pieces} a GPU"),
        ("  passes", _parts(plan.passes)),
        ("  update", _ms(plan.update.device)),
        *([("  host", _waiting(plan.passes + plan.update))] if _waits(plan.passes + plan.update) else []),
        *([("  exchange", f"{_ms(plan.exchange)} that nothing hides")] if plan.gpus > 1 else []),
        ("images/s", f"{plan.images_s:,.0f}" + ("" if plan.mfu is None else f", MFU {plan.mfu:.1%}")),
        (
            "memory",
            f"{_gb(memory.total)} of {device.memory:.0f} GB on each: weights {_gb(memory.weights)}, gradients"
            f" {_gb(memory.gradients)}, optimizer {_gb(memory.optimizer)}, averages {_gb(memory.averages)}, copies"
            f" {_gb(memory.copies)}, activations {_gb(memory.activations)}",
        ),
        (
            "fits",
            f"{plan.fits} samples a pass"
            if plan.fits
            else "not one group of samples; see train.parallel and train.checkpoint_activations",
        ),
        (
            "training",
            f"{plan.steps:,} updates, {plan.batch * plan.steps:,} samples: {_long(plan.seconds)},"
            f" {plan.seconds * plan.gpus / 3600:,.1f} GPU hours",
        ),
        (
            "checkpoints",
            f"{plan.checkpoints:,} of {_gb(plan.checkpoint_bytes)}: {plan.checkpoint:.1f} s each at {WRITTEN} GB/s,"
            f" {plan.checkpoints * plan.checkpoint / plan.seconds:.1%} of the time",
        ),
    ]
    if plan.sampling is None:
        lines.append(
            ("sampling", "unknown: the solver chooses how many passes it takes, or guidance has other weights")
        )
    else:
        drawing = plan.sampling
        hours = DRAWN / drawing.images_s / 3600
        lines.append(
            (
                "sampling",
                f"{drawing.images_s:.3g} images/s a GPU ({drawing.way}, {drawing.batch} at once): {DRAWN:,} take"
                f" {hours:.3g} GPU hours",
            )
        )
    console.print(f"[bold]{escape(plan.recipe)}[/] on {plan.gpus} x {escape(device.name)}: a model, not a measurement")
    for name, words in lines:
        console.print(f"{name:<12} {escape(words)}", soft_wrap=True)
    console.print(f"{'figures':<12} {escape(device.source)}", soft_wrap=True)


def _parts(time: Time) -> str:
    return (
        f"{_ms(time.device)}: products {_ms(time.products)}, attention {_ms(time.attention)}, others {_ms(time.others)}"
    )


def _waits(time: Time) -> bool:
    return not time.beside or time.host > time.device


def _waiting(time: Time) -> str:
    """How long the host takes, where that shows."""
    why = ", longer than all of the device's work" if time.beside else ""
    return f"{_ms(time.host)} for {time.operators:,} operators{why}"


def _ms(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _long(seconds: float) -> str:
    if seconds > DAY:
        return f"{seconds / DAY:.1f} days"
    if seconds > 3600:
        return f"{seconds / 3600:.2f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds > 60 else f"{seconds:.2g} s"
