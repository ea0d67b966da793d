"""What becomes of a tensor where channels, patches or grids are others than those that it was trained with.

Patches go from fine to coarse as the mean of the latent's pixels, and from coarse to fine as their repetition: what a
backbone of the other patch sees is the latent that is averaged, or repeated, to the size that it knows; and beside the
mean, by fresh weights, how the pixels differ from it.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.nn import functional

from zoo.schedule import Grid, StageShape

INTERPOLATION = {1: "linear", 2: "bicubic", 3: "trilinear"}
"""Of learned positions, by the number of axes."""


def channels_in(weight: Tensor, channels: int) -> Tensor:
    """What a patch embedder's weight [D, C, ...] makes of other channels.

    Of one channel, every one of the new ones has its share, so that grey latents are seen as before; of several, one
    sees their sum, and otherwise the first are seen as before and the rest is not.
    """
    own = weight.shape[1]
    if own == 1:
        return weight.repeat_interleave(channels, dim=1) / channels
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    return torch.cat(
        [weight[:, :channels], weight.new_zeros(len(weight), max(0, channels - own), *weight.shape[2:])], 1
    )


def channels_out(rows: Tensor, channels: int) -> Tensor:
    """Rows of a head [P, C, ...], of which the pixels of other channels come: one is repeated, one of several their
    mean, and otherwise the first are as before and the rest is zero."""
    own = rows.shape[1]
    if own == 1:
        return rows.repeat_interleave(channels, dim=1)
    if channels == 1:
        return rows.mean(dim=1, keepdim=True)
    return torch.cat([rows[:, :channels], rows.new_zeros(len(rows), max(0, channels - own), *rows.shape[2:])], dim=1)


def words_of_channels(before: int, after: int) -> str:
    """What the two do, as messages say it."""
    if before == 1:
        return "all see the mean, and each starts as the donor's one"
    if after == 1:
        return "it is seen as all of the donor's, and starts as their mean"
    return "the donor's first are kept" if after < before else "the donor's are kept, and others start at zero"


def fits(patch: Grid, other: Grid) -> bool:
    """Whether one of two patches is a multiple of the other on every axis."""
    return len(patch) == len(other) and all(a % b == 0 or b % a == 0 for a, b in zip(patch, other, strict=True))


def patch_in(weight: Tensor, patch: Grid) -> Tensor:
    """A patch embedder's weight [D, C, *patch] for another patch, which ``fits``."""
    for axis, pixels in enumerate(patch, start=2):
        own = weight.shape[axis]
        if pixels >= own:
            weight = weight.repeat_interleave(pixels // own, dim=axis) / (pixels // own)
        else:
            weight = _split(weight, axis, pixels).sum(dim=axis + 1)
    return weight


def embedding(weight: Tensor, fresh: Tensor) -> Tensor:
    """A patch embedder's weight [D, C, *patch] for other channels and another patch, those of ``fresh``.

    How channels, and pixels that the donor saw as one, differ is seen as the fresh weight sees it, which adds nothing
    where they are alike. Without that they would be alike to all tokens and get equal gradients, and training would
    hardly tell them apart.
    """
    before, after = weight.shape[1], fresh.shape[1]
    source, patch = tuple(weight.shape[2:]), tuple(fresh.shape[2:])
    found = patch_in(channels_in(weight, after), patch)
    if before not in (1, after):
        return found
    seen = patch_in(channels_in(fresh, before), source)
    return found + (fresh - patch_in(channels_in(seen, after), patch))  # exactly what was there, where nothing is new


def patch_out(rows: Tensor, patch: Grid) -> Tensor:
    """Rows of a head [*patch, ...] for another patch, which ``fits``."""
    for axis, pixels in enumerate(patch):
        own = rows.shape[axis]
        if pixels >= own:
            rows = rows.repeat_interleave(pixels // own, dim=axis)
        else:
            rows = _split(rows, axis, pixels).mean(dim=axis + 1)
    return rows


def _split(tensor: Tensor, axis: int, count: int) -> Tensor:
    """So many groups of the neighbours along an axis, which then has two."""
    shape = tensor.shape
    return tensor.reshape(*shape[:axis], count, shape[axis] // count, *shape[axis + 1 :])


def interpolated(table: Tensor, grid: Grid, other: Grid) -> Tensor:
    """A table [N, D] of the tokens of a grid, row-major, for another grid of the same extent."""
    if grid == other:
        return table
    channels = table.T.reshape(1, -1, *grid)
    wide = channels.double()
    found = functional.interpolate(wide, size=other, mode=INTERPOLATION[len(grid)], align_corners=False)
    return found.to(table.dtype).reshape(table.shape[1], -1).T


def upsampling(dim: int, copies: int, dtype: torch.dtype) -> Tensor:
    """The weight of a Linear that gives so many finer tokens, which are the coarse one: [D copies, D]."""
    return torch.eye(dim, dtype=dtype).repeat_interleave(copies, dim=0)


def downsampling(dim: int, copies: int, dtype: torch.dtype) -> Tensor:
    """That of one that gives the mean of so many fine tokens: [D, D copies]."""
    return torch.eye(dim, dtype=dtype).repeat_interleave(copies, dim=1) / copies


def block_map(before: tuple[StageShape, ...], after: tuple[StageShape, ...]) -> list[int | None]:
    """The block of before that each one of after is; None for what is more. Between the places at which patches change,
    if there are as many in both, the first are the same."""
    runs, wanted = _runs(before), _runs(after)
    if len(runs) != len(wanted) or runs[-1].stop == wanted[-1].stop:
        runs, wanted = [range(runs[-1].stop)], [range(wanted[-1].stop)]
    pairs = zip(runs, wanted, strict=True)
    return [own[place] if place < len(own) else None for own, run in pairs for place in range(len(run))]


def _runs(stages: tuple[StageShape, ...]) -> list[range]:
    cuts = {end for stage in stages for end in accumulate(level.blocks for level in stage.levels)}
    return [range(first, last) for first, last in pairwise(sorted({0, *cuts}))]


def stage_map(before: tuple[StageShape, ...], after: tuple[StageShape, ...]) -> list[int]:
    """The stage of before at the middle of the noise levels of each one of after."""
    above = [1.0, *(stage.noise_above for stage in after)]
    middles = [(high + low) / 2 for high, low in pairwise(above)]
    return [next(at for at, stage in enumerate(before) if middle > stage.noise_above) for middle in middles]
