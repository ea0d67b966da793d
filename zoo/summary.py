"""A backbone in a few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import nn

from zoo.schedule import StageShape, noise_ranges, patch_name
from zoo.signature import MARK


def summary(title: str, stages: Sequence[StageShape], backbone: nn.Module) -> str:
    """What it is, its stages with their levels, and its parts with their parameters, fixed tables included.

    Args:
        title: the first line.
        stages: from noisy to clean.
        backbone: of which the members are parts.
    """
    several = len({level.dim for stage in stages for level in stage.levels}) > 1
    way = [
        f"  {_stage(noise, stage, widths=several)}" for noise, stage in zip(noise_ranges(stages), stages, strict=True)
    ]
    parts = [
        f"  {name:<18} {_types(module):<20} {_count(module):>14,}"
        for name, module in backbone.named_children()
        if _types(module) not in ("", "none")
    ]
    return "\n".join([title, *way, *parts, f"  {_count(backbone):,} parameters"])


def _stage(noise: tuple[float, float], stage: StageShape, *, widths: bool) -> str:
    levels = [
        f"patch {patch_name(level.patch)}, "
        + (f"width {level.dim}, " if widths else "")
        + f"{level.blocks} block{'s' * (level.blocks > 1)}"
        for level in stage.levels
    ]
    return f"noise levels {noise[0]:g} to {noise[1]:g}: {' > '.join(levels)}"


def _types(module: nn.Module) -> str:
    """Names of the parts, and how many there are."""
    modules = list(module.values()) if isinstance(module, nn.ModuleDict) else [module]
    modules = list(module) if isinstance(module, nn.ModuleList) else modules
    names = Counter(_name(each) for each in modules)
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in names.items())


def _name(module: nn.Module) -> str:
    """As recipes name the part; the class's name where it is none."""
    return str(getattr(type(module), MARK, ("", type(module).__name__))[1])


def _count(module: nn.Module) -> int:
    return sum(each.numel() for each in (*module.parameters(), *module.buffers()))
