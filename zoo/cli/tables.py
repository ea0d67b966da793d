"""The tables that ``zoo build`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zoo.audit import Audit
from zoo.audit.report import ImageAudit, LevelAudit, StageAudit, count_params, level_layout, parts_of
from zoo.backbone import Backbone
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.schedule import noise_ranges, patch_name


def print_assembly(console: Console, recipe: Recipe, backbone: Backbone, registry: Registry) -> None:
    """What the assembly is, without its cost."""
    _print_header(console, recipe)
    way = _table("The way of the tokens", "noise level", "level", "patch", "grid", "tokens", "blocks")
    for index, (low, high) in enumerate(noise_ranges(backbone.stages)):
        for place, level in enumerate(backbone.stages[index].levels):
            layout = level_layout(backbone, level)
            noise = _noise(low, high) if place == 0 else ""
            way.add_row(noise, str(place), *_tokens(layout.patch, layout.grid, layout.class_tokens), str(level.blocks))
    console.print(way)
    parts = _table("Parts", "kind", "part", "from", ">parameters")
    for part in parts_of(backbone, recipe, registry):
        parts.add_row(part.kind, part.type, part.plugin, _count(part.params))
    console.print(parts)
    params = count_params(backbone)
    console.print(f"parameters {_params(params.total, params.trainable, params.fixed)}; --flops counts multiply-adds")


def print_audit(console: Console, recipe: Recipe, audit: Audit, against: Audit | None = None) -> None:
    """What the assembly is and what it costs, beside another if one is given."""
    _print_header(console, recipe)
    way = _table(
        "The way of the tokens", "noise level", "level", "patch", "grid", "tokens", "blocks", ">MACs", ">share"
    )
    for stage in audit.stages:
        _add_stage(way, stage, audit)
    console.print(way)
    parts = _table("Parts, means over uniform noise levels", "kind", "part", "from", ">parameters", ">MACs", ">share")
    for part in audit.parts:
        share = f"{part.macs / audit.macs:.1%}" if part.macs else ""
        parts.add_row(
            part.kind, part.type, part.plugin, _count(part.params), _giga(part.macs) if part.macs else "-", share
        )
    console.print(parts)
    params = audit.params
    console.print(f"parameters        {_params(params.total, params.trainable, params.fixed)}")
    console.print(f"multiply-adds     [bold]{_giga(audit.macs)}[/] = {audit.macs:,}{_of_stages(audit)}")
    console.print(f"FLOPs             {_giga(audit.flops)} = 2 x multiply-adds; norms apart: {_giga(audit.norm_ops)}")
    if audit.paper_convention.macs is not None:
        console.print(f"paper convention  {_giga(audit.paper_convention.macs)} (MPDiT's counting of attention)")
    console.print(f"one image         {_image(audit.image)}")
    if against is not None:
        ratio, saved = audit.macs / against.macs, 1 - audit.macs / against.macs
        less = f"{abs(saved):.1%} {'less' if saved >= 0 else 'more'}"
        console.print(
            f"against           [bold]{ratio:.1%}[/] of {escape(against.recipe)} ({_giga(against.macs)}), {less};"
            f" parameters {params.total / against.params.total:.1%} of {against.params.total / 1e6:.1f} M"
        )


def _add_stage(table: Table, stage: StageAudit, audit: Audit) -> None:
    mean = float(audit.macs)
    for place, level in enumerate(stage.levels):
        noise = _noise(*stage.noise) if place == 0 else ""
        share = f"{stage.share * level.macs / mean:.1%}"
        table.add_row(noise, str(place), *_tokens_of(level), str(level.blocks), _giga(level.macs), share)
    rest = stage.macs - sum(level.macs for level in stage.levels)
    table.add_row("", "", "", "", "rest", "", _giga(rest), f"{stage.share * rest / mean:.1%}")
    table.add_row(
        "", "", "", "", "[bold]stage[/]", "", f"[bold]{_giga(stage.macs)}[/]",
        f"[bold]{stage.share * stage.macs / mean:.1%}[/]", end_section=True,
    )  # fmt: skip


def _print_header(console: Console, recipe: Recipe) -> None:
    backbone = recipe.backbone
    latent = f"latent {backbone.latent.channels} x {backbone.latent.height} x {backbone.latent.width}"
    classes = f"{backbone.num_classes} classes" if backbone.num_classes else "unconditional"
    size = f"width {backbone.dim}, {backbone.depth} blocks, {backbone.heads} heads"
    predicts = "" if backbone.prediction == "velocity" else f"; predicts {backbone.prediction}"
    console.print(f"[bold]{escape(recipe.name)}[/]: {latent}, {classes}, {size}{predicts}")


def print_figures(
    console: Console, recipe: Recipe, figures: Mapping[str, Mapping[str, float]], record: Mapping[str, Any]
) -> None:
    """Figures of generated images, of held-out real ones, and of controls, side by side."""
    sets = list(figures)
    names = list(dict.fromkeys(name for each in figures.values() for name in each))
    title = f"{escape(recipe.name)}: features {recipe.evaluate.features.type}, beside {record['counts']['train']} real"
    table = _table(title, "figure", *(f">{name}" for name in sets))
    for name in names:
        values = (figures[each].get(name) for each in sets)
        table.add_row(name, *("-" if value is None else f"{value:.4g}" for value in values))
    table.add_row("images", *(str(record["counts"][name]) for name in sets))
    console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left", no_wrap=True)
    return table


def _tokens_of(level: LevelAudit) -> tuple[str, str, str]:
    return _tokens(level.patch, level.grid, level.class_tokens)


def _tokens(patch: tuple[int, int], grid: tuple[int, int], m: int) -> tuple[str, str, str]:
    image = grid[0] * grid[1]
    return patch_name(patch), patch_name(grid), f"{m} + {image} = {m + image}" if m else str(image)


def _noise(low: float, high: float) -> str:
    return f"{low:g} to {high:g}"


def _image(image: ImageAudit) -> str:
    """Cost of an image, such as ``4.0 T: euler, 250 updates, guidance 1.4, 500 passes``."""
    scales = " and ".join(f"{scale:g}" for scale in dict.fromkeys(image.guidance))
    how = f"{image.solver}, guidance {scales}"
    if image.macs is None or image.passes is None:
        return f"as many passes as it takes: {how}"
    cost = f"{image.macs / 1e12:.3f} T" if image.macs >= 10**11 else _giga(image.macs)
    return f"[bold]{cost}[/] = {sum(image.passes)} passes: {image.steps} updates by {how}"


def _params(total: int, trainable: int, fixed: int) -> str:
    return f"[bold]{total / 1e6:.2f} M[/] = {trainable:,} trainable + {fixed:,} fixed"


def _count(count: int) -> str:
    return f"{count:,}" if count else "-"


def _giga(count: int) -> str:
    return f"{count / 1e9:.3f} G" if count >= 10**8 else f"{count / 1e6:.3f} M"


def _of_stages(audit: Audit) -> str:
    return ", mean over uniform noise levels" if len(audit.stages) > 1 else ""
