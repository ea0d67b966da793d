"""Tokens on a grid, as a sequence, as a map of channels, and as patches of pixels: of one, two or three axes.

Letters in shapes: b samples, N tokens, row-major, of a grid; f pixels of a patch, or fine tokens of a coarse one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import PluginError
from zoo.schedule import Grid, patch_name


def patchify(latents: Float[Tensor, "b C *size"], patch: Grid) -> Float[Tensor, "b N P"]:
    """Pixels of every patch, ordered (channel, row in patch, column in patch)."""
    grid = tuple(side // pixels for side, pixels in zip(latents.shape[2:], patch, strict=True))
    axes = len(grid)
    split = latents.reshape(latents.shape[0], latents.shape[1], *_interleaved(grid, patch))
    tokens = split.permute(0, *range(2, 2 + 2 * axes, 2), 1, *range(3, 3 + 2 * axes, 2))
    return tokens.reshape(latents.shape[0], prod(grid), latents.shape[1] * prod(patch))


def unpatchify(pixels: Float[Tensor, "b N P"], grid: Grid, patch: Grid) -> Float[Tensor, "b C *size"]:
    """Latents of the pixels of every patch, ordered (row in patch, column in patch, channel)."""
    axes, batch = len(grid), pixels.shape[0]
    split = pixels.reshape(batch, *grid, *patch, -1)
    order = [axis + offset for axis in range(1, 1 + axes) for offset in (0, axes)]
    latents = split.permute(0, 1 + 2 * axes, *order)
    return latents.reshape(batch, -1, *(side * size for side, size in zip(grid, patch, strict=True)))


def to_map(tokens: Float[Tensor, "b N D"], grid: Grid) -> Float[Tensor, "b D *grid"]:
    """Tokens as a map of D channels, which convolutions take.

    Its memory is that of the tokens, channels last. PyTorch 2.13's ``nn.GroupNorm`` has no forward derivative of such
    a map, and crashes in the backward pass where the tokens need no gradient; give it
    ``to_map(tokens, grid).contiguous()``.

    Raises:
        PluginError: there are not as many tokens as the grid has.
    """
    _check_whole(tokens, grid)
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *grid)


def to_tokens(channels: Float[Tensor, "b D *grid"]) -> Float[Tensor, "b N D"]:
    """A map of D channels as tokens."""
    return channels.flatten(2).transpose(1, 2)


def shuffle(tokens: Float[Tensor, "b N Df"], grid: Grid, factor: Grid) -> Float[Tensor, "b Nf D"]:
    """Each token's features as so many finer tokens, ordered (feature, row, column of the finer tokens).

    Raises:
        PluginError: there are not as many tokens as the grid has.
    """
    _check_whole(tokens, grid)
    axes, batch = len(grid), tokens.shape[0]
    split = tokens.reshape(batch, *grid, -1, *factor)
    order = [place for axis in range(axes) for place in (1 + axis, 2 + axes + axis)]
    finer = split.permute(0, *order, 1 + axes)
    return finer.reshape(batch, prod(grid) * prod(factor), -1)


def unshuffle(tokens: Float[Tensor, "b Nf D"], grid: Grid, factor: Grid) -> Float[Tensor, "b N Df"]:
    """The features of so many fine tokens as one coarser token, ordered (feature, row, column of the finer tokens).

    Args:
        tokens: on the finer grid.
        grid: the finer one.
        factor: fine tokens per coarse one, on each axis; where it is 1 on all, tokens stay as they are, and may be some
            of the grid's.

    Raises:
        PluginError: there are not as many tokens as the grid has.
    """
    if prod(factor) == 1:
        return tokens
    _check_whole(tokens, grid)
    coarse = tuple(side // each for side, each in zip(grid, factor, strict=True))
    axes, batch = len(grid), tokens.shape[0]
    split = tokens.reshape(batch, *_interleaved(coarse, factor), -1)
    order = split.permute(0, *range(1, 1 + 2 * axes, 2), 1 + 2 * axes, *range(2, 2 + 2 * axes, 2))
    return order.reshape(batch, prod(coarse), tokens.shape[2] * prod(factor))


def behind(prefix: Float[Tensor, "b m D"], image: Float[Tensor, "b N D2"]) -> Float[Tensor, "b T D2"]:
    """Image tokens behind those in front, of which there are none where the widths differ."""
    return torch.cat([prefix, image], dim=1) if prefix.shape[1] else image


def ratio(patch: Grid, finer: Grid) -> Grid:
    """How many times a patch is a finer one, on each axis."""
    return tuple(a // b for a, b in zip(patch, finer, strict=True))


def _check_whole(tokens: Tensor, grid: Grid) -> None:
    """Of a grid with gaps, or with tokens in front, a reshape would make channels of what is there too few or many.

    Not in a trace, which would warn that it cannot tell other sizes.
    """
    if not torch.jit.is_tracing() and tokens.shape[1] != prod(grid):  # type: ignore[attr-defined, no-untyped-call]
        raise PluginError(
            f"{tokens.shape[1]} tokens came for a grid of {patch_name(grid)}, which has {prod(grid)}: leave out"
            " those in front (tokens[:, layout.m:]); where a router leaves out some of the image's, let the part say"
            " refuses = {'subset'}"
        )


def _interleaved(grid: Sequence[int], factor: Sequence[int]) -> list[int]:
    return [size for pair in zip(grid, factor, strict=True) for size in pair]
