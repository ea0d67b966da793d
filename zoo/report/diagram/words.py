"""What a drawing says of an assembly: its figures in short lines, and exact ones in tooltips."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.audit import Audit
    from zoo.audit.parts import PartAudit
    from zoo.audit.report import StageAudit
    from zoo.recipe import Recipe

TIMES = "×"  # noqa: RUF001 - the sign that papers print
UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
TO = "–"  # noqa: RUF001 - the dash of a range


def amount(count: int) -> str:
    """``3456368640`` as ``3.456 G``; what is below ten thousand as it is."""
    if count < 10_000:
        return f"{count:,}"
    size, unit = next(each for each in UNITS if count >= each[0])
    return f"{count / size:.4g} {unit}"


def percent(share: float) -> str:
    """``0.2138`` as ``21.4%``."""
    return f"{100 * share:.3g}%"


def sizes(*lengths: int) -> str:
    """``4, 2`` as ``4×2``."""
    return TIMES.join(map(str, lengths))


def header_lines(audit: Audit, recipe: Recipe) -> tuple[str, str]:
    """What the assembly is, and what it costs."""
    backbone = recipe.backbone
    size = f"{backbone.label_words}, width {backbone.dim}, {backbone.depth} blocks, {backbone.heads} heads"
    mean = ", mean over noise levels" if len(audit.stages) > 1 else ""
    return size, f"{amount(audit.params.total)} parameters · {amount(audit.macs)} multiply-adds (MACs) per pass{mean}"


def stage_lines(stage: StageAudit) -> tuple[str, str]:
    """A stage's range of noise levels, and its share of them with its cost."""
    low, high = stage.noise
    cost = f"{amount(stage.macs)} MACs per pass"
    return f"Noise levels {low:g} to {high:g}", f"{percent(stage.share)} of noise levels · {cost}"


def level_lines(stage: StageAudit, place: int) -> tuple[str, str, str, str]:
    """A level's patch and grid, tokens ``m + N``, blocks and cost."""
    level = stage.levels[place]
    m, first, last = level.prefix_tokens, *block_numbers(stage, place)
    tokens = f"{m} + {level.image_tokens} = {level.tokens} tokens" if m else f"{level.tokens} tokens"
    blocks = f"{level.blocks} blocks ({first}{TO}{last})" if level.blocks > 1 else f"1 block ({first})"
    cost = f"{amount(level.macs)} · {percent(level.macs / stage.macs)} of pass"
    width = f" · width {level.dim}" if len({each.dim for each in stage.levels}) > 1 else ""
    return f"patch {sizes(*level.patch)} · grid {sizes(*level.grid)}{width}", tokens, blocks, cost


def block_numbers(stage: StageAudit, place: int) -> tuple[int, int]:
    """The first and the last block of a level, counted from 1: the same number is the same block in every stage."""
    before = sum(level.blocks for level in stage.levels[:place])
    return before + 1, before + stage.levels[place].blocks


def level_tooltip(stage: StageAudit, place: int) -> str:
    """A level with exact figures."""
    level = stage.levels[place]
    first, last = block_numbers(stage, place)
    return (
        f"level {place}: patch {sizes(*level.patch)}, grid {sizes(*level.grid)}, {level.prefix_tokens} in front +"
        f" {level.image_tokens} image = {level.tokens} tokens, blocks {first} to {last},"
        f" {level.macs:,} multiply-adds, {level.macs / stage.macs:.2%} of a pass"
    )


def part_tooltip(part: PartAudit) -> str:
    """A part with exact figures."""
    macs = f", {part.macs:,} multiply-adds in a mean pass" if part.macs else ""
    return f"{part.kind}: {part.type}, of {part.plugin}; {part.params:,} parameters{macs}"


def description(audit: Audit) -> str:
    """The whole drawing in sentences, for those who do not see it."""
    return " ".join(
        f"{'; '.join(stage_lines(stage))}: "
        + "; then ".join(level_tooltip(stage, place) for place in range(len(stage.levels)))
        + "."
        for stage in audit.stages
    )
