"""Tables as plain cells: what a command prints and a page shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from zoo.audit import Audit
from zoo.audit.parts import Params, PartAudit, parts_of
from zoo.audit.report import ImageAudit, LevelAudit, StageAudit, levels_of
from zoo.backbone import Backbone
from zoo.recipe import Recipe
from zoo.runs.judged import REAL
from zoo.schedule import noise_ranges, patch_name

if TYPE_CHECKING:  # what trains takes a while to import, and `zoo build` needs none of it
    from zoo.report.comparison import Cost, Entry, Spread

Facts = list[tuple[str, str]]
"""Names, and what there is to say of them."""


@dataclass(frozen=True)
class Table:
    """Cells under headings.

    Attributes:
        title: what they are.
        columns: headings; those that begin with ``>`` stand over numbers, which are aligned at their right.
        rows: as many cells each as there are columns; a cell may have several lines.
        sums: indices of the rows that add up those above.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    sums: frozenset[int] = frozenset()


def plain_way_table(backbone: Backbone) -> Table:
    """Levels of every stage, without what they cost."""
    stages = [levels_of(backbone, stage) for stage in backbone.stages]
    rows = [
        (_noise(noise, place), str(place), *_tokens(level), str(level.blocks))
        for noise, levels in zip(noise_ranges(backbone.stages), stages, strict=True)
        for place, level in enumerate(levels)
    ]
    return _with_sizes(_with_widths(Table("The way of the tokens", _WAY, tuple(rows)), stages, backbone.dim), stages)


def plain_parts_table(backbone: Backbone, recipe: Recipe) -> Table:
    """Every part that has a place, and those in its slots, with its parameters."""
    return Table("Parts", _PARTS, tuple(cells for cells, _ in _parts(parts_of(backbone, recipe))))


def way_table(audit: Audit, dim: int) -> Table:
    """Levels of every stage, with their tokens and multiply-adds, and their widths where any is not the backbone's."""
    rows = [row for stage in audit.stages for row in _stage_rows(stage, audit.macs)]
    table = Table(
        "The way of the tokens; MACs at each noise level, shares of their mean",
        (*_WAY, ">MACs", ">share"),
        tuple(rows),
        frozenset(index for index, row in enumerate(rows) if row[4] == "stage"),
    )
    stages = [stage.levels for stage in audit.stages]
    return _with_sizes(_with_widths(table, stages, dim), stages)


def parts_table(audit: Audit) -> Table:
    """The same, with multiply-adds."""
    rows = (
        (*cells, giga(part.macs) if part.macs else "-", f"{part.macs / audit.macs:.1%}" if part.macs else "")
        for cells, part in _parts(audit.parts)
    )
    return Table("Parts, means over uniform noise levels", (*_PARTS, ">MACs", ">share"), tuple(rows))


def figures_table(figures: Mapping[str, Mapping[str, float]], record: Mapping[str, Any]) -> Table:
    """Figures of generated images, of held-out real ones, and of controls, side by side."""
    names = dict.fromkeys(name for each in figures.values() for name in each)
    rows = [(name, *(_figure(each.get(name)) for each in figures.values())) for name in names]
    rows.append(("images", *(str(record["counts"][name]) for name in figures)))
    title = f"Features {record['evaluate']['features']['type']}, beside {real_words(record)}"
    return Table(title, ("figure", *(f">{name}" for name in figures)), tuple(rows))


def real_words(record: Mapping[str, Any]) -> str:
    """What an evaluation compared with: ``1198 real images``."""
    count, reference = record["counts"][REAL], record["evaluate"]["reference"]
    images = f"{count} real images" if count else "moments of real images"
    return images if reference == "train" else f"{images} of {reference}"


def cost_table(entries: Sequence[Entry]) -> Table:
    """What each assembly costs, beside the first; what training costs where a router of one leaves out tokens."""
    table = Table(
        "Cost at batch 1, MACs over uniform noise levels; memory of each sample in training, held whatever the batch",
        ("recipe", ">parameters", ">MACs", ">of first", ">by stage", ">tokens", ">an image", ">passes", ">memory",
         ">held"),
        tuple((entry.name, *_cost_cells(entry.cost, entries[0].cost)) for entry in entries),
    )  # fmt: skip
    if all(entry.cost.training_macs is None for entry in entries):
        return table
    training = (giga(entry.cost.training_macs or entry.cost.macs) for entry in entries)
    return _with_column(table, table.columns.index(">MACs") + 1, ">in training", training)


def quality_table(entries: Sequence[Entry]) -> Table | None:
    """What runs came to; None without any."""
    names = list(dict.fromkeys(name for entry in entries for name in entry.figures()))
    if not names:
        return None
    runs = [run for entry in entries for run in entry.outcomes]
    images = "/".join(dict.fromkeys(str(run.images) for run in runs))
    floor = "" if all(run.has_floor for run in runs) else " (no floor)"
    rows = (
        (entry.name, str(len(entry.outcomes)), _steps(entry), *_spreads(entry.figures(), names))
        for entry in entries
        if entry.outcomes
    )
    return Table(
        f"What runs came to, judged by {images} images each{floor}: means, and standard deviations over runs",
        ("recipe", ">runs", ">steps", *(f">{name}" for name in names)),
        tuple(rows),
    )


def pairs_words(values: Mapping[str, Any]) -> str:
    """``zoo 0.1.0, torch 2.13.0``."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def audit_facts(audit: Audit) -> Facts:
    """What a pass and an image cost, by every way of counting that there is."""
    mean = ", mean over uniform noise levels" if len(audit.stages) > 1 else ""
    paper, torchprofile = audit.paper_convention.macs, audit.torchprofile_convention.macs
    facts = [
        ("parameters", params_words(audit.params)),
        ("multiply-adds", f"{giga(audit.macs)} = {audit.macs:,}{mean}"),
        ("FLOPs", f"{giga(audit.flops)} = 2 × multiply-adds; norms apart: {giga(audit.norm_ops)}"),  # noqa: RUF001
    ]
    if audit.training_macs != audit.macs:
        share = f"{audit.training_macs / audit.macs:.1%} of sampling's"
        facts.append(
            ("in training", f"{giga(audit.training_macs)} a forward pass, {share}: the router leaves out tokens")
        )
    if paper is not None:
        facts.append(("paper convention", f"{giga(paper)} (MPDiT's counting of attention)"))
    if torchprofile is not None:
        facts.append(("as torchprofile", f"{giga(torchprofile)} (one more an elementwise product)"))
    return [*facts, ("one image", image_words(audit.image))]


def params_words(params: Params) -> str:
    """Parameters in all, and which of them are trained: ``104.85 M = 104,607,152 trainable + 245,760 fixed``."""
    return f"{params.total / 1e6:.2f} M = {params.trainable:,} trainable + {params.fixed:,} fixed"


def image_words(image: ImageAudit) -> str:
    """``4.041 T = 250 passes: 250 updates by euler, guidance 1``."""
    if image.macs is None or image.passes is None:
        return image.words
    return f"{with_unit(image.macs)} = {sum(image.passes)} passes: {image.words}"


def giga(count: int) -> str:
    """Multiply-adds of a pass with their unit."""
    return f"{count / 1e9:.3f} G" if count >= 10**8 else f"{count / 1e6:.3f} M"


def with_unit(count: int) -> str:
    """Multiply-adds of many passes with their unit."""
    for least, size, unit in ((10**18, 10**18, "E"), (10**15, 10**15, "P"), (10**11, 10**12, "T")):
        if count >= least:
            return f"{count / size:.3f} {unit}"
    return giga(count)


_WAY = ("noise level", "level", "patch", "grid", "tokens", "blocks")
_PARTS = ("kind", "part", "from", ">parameters")


def _parts(parts: Sequence[PartAudit]) -> Iterator[tuple[tuple[str, ...], PartAudit]]:
    """Rows of the parts that have a place in the assembly, and of those in their slots, which stand below, set in."""
    for depth, part in chain.from_iterable(part.with_slots() for part in parts if part.count):
        kind = f"{part.kind} of {part.within}" if part.within else part.kind
        yield ("  " * depth + kind, part.type, part.plugin, _count(part.params)), part


def _stage_rows(stage: StageAudit, mean: int) -> Iterator[tuple[str, ...]]:
    for place, level in enumerate(stage.levels):
        share = f"{stage.share * level.macs / mean:.1%}"
        yield _noise(stage.noise, place), str(place), *_tokens(level), str(level.blocks), giga(level.macs), share
    rest = stage.macs - sum(level.macs for level in stage.levels)
    yield ("", "", "", "", "rest", "", giga(rest), f"{stage.share * rest / mean:.1%}")
    yield ("", "", "", "", "stage", "", giga(stage.macs), f"{stage.share * stage.macs / mean:.1%}")


def _with_widths(table: Table, stages: Sequence[Sequence[LevelAudit]], dim: int) -> Table:
    """The same table with the widths of levels behind their patches, if any is not ``dim``."""
    if all(level.dim == dim for levels in stages for level in levels):
        return table
    widths = iter([str(level.dim) for levels in stages for level in levels])
    return _with_column(table, _WAY.index("patch") + 1, "width", [next(widths) if row[1] else "" for row in table.rows])


def _with_sizes(table: Table, stages: Sequence[Sequence[LevelAudit]]) -> Table:
    """The same table with the sizes of the stages' latents behind their noise levels, if not all are the same."""
    sizes = [patch_name(levels[0].latent) for levels in stages]
    if len(set(sizes)) == 1:
        return table
    own = iter(sizes)
    return _with_column(table, 1, "latent", [next(own) if row[0] else "" for row in table.rows])


def _with_column(table: Table, place: int, name: str, cells: Iterable[str]) -> Table:
    """The same table with another column in front of the one at ``place``."""
    rows = tuple((*row[:place], cell, *row[place:]) for row, cell in zip(table.rows, cells, strict=True))
    return replace(table, columns=(*table.columns[:place], name, *table.columns[place:]), rows=rows)


def _noise(noise: tuple[float, float], place: int) -> str:
    """The noise levels of a stage, beside its first level alone."""
    low, high = noise
    return f"{low:g} to {high:g}" if place == 0 else ""


def _tokens(level: LevelAudit) -> tuple[str, str, str]:
    m, image = level.prefix_tokens, level.image_tokens
    return patch_name(level.patch), patch_name(level.grid), f"{m} + {image} = {level.tokens}" if m else str(image)


def _count(count: int) -> str:
    return f"{count:,}" if count else "-"


def _cost_cells(cost: Cost, first: Cost) -> tuple[str, ...]:
    return (
        f"{cost.params / 1e6:.2f} M",
        giga(cost.macs),
        f"{cost.macs / first.macs:.1%}",
        "\n".join(giga(stage.macs) for stage in cost.stages) if len(cost.stages) > 1 else "",
        "\n".join(" > ".join(map(str, stage.tokens)) for stage in cost.stages),
        "-" if cost.image_macs is None else with_unit(cost.image_macs),
        "-" if cost.passes is None else str(cost.passes),
        *("-" if size is None else _bytes(size) for size in (cost.activation_bytes, cost.held_bytes)),
    )


def _bytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 10**9 else f"{count / 1e6:.1f} MB"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _steps(entry: Entry) -> str:
    """After how many steps runs were judged."""
    return "/".join(str(step) for step in dict.fromkeys(each.step for each in entry.outcomes))


def _spreads(found: Mapping[str, Spread], names: Iterable[str]) -> Iterator[str]:
    """Means, and below each the deviation if there are several runs."""
    for name in names:
        spread = found.get(name)
        if spread is None:
            yield "-"
        else:
            deviation = "" if spread.deviation is None else f"\n± {spread.deviation:.1g}"
            yield f"{spread.mean:.3g}{deviation}"
