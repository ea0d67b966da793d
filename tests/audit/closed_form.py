"""Multiply-adds on paper: one formula a part, from the recipe's numbers alone, without building anything.

Letters: D width, N image tokens, m class tokens, T = m + N, C channels; batch 1. LayerNorms, activations and look-ups
have no multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, pairwise
from math import prod
from typing import Any

from zoo.parts.mlps import hidden_width
from zoo.recipe.schema import BackboneRecipe, Recipe
from zoo.schedule import Grid, Stage, grid_of


def closed_form_macs(recipe: Recipe) -> list[int]:
    """Multiply-adds of every stage at batch 1.

    Raises:
        KeyError: a plug-in's part, for which there is no formula here.
    """
    backbone = recipe.backbone
    schedule = backbone.patch_schedule.create({"depth": backbone.depth})
    return [_stage(backbone, stage) for stage in schedule.stages()]


def _stage(backbone: BackboneRecipe, stage: Stage) -> int:
    dim, levels, channels = backbone.dim, stage.levels, backbone.latent.channels
    m = backbone.class_conditioner.options.tokens if backbone.class_conditioner.type == "class_tokens" else 0  # type: ignore[attr-defined]

    def formula(kind: str, *numbers: Any) -> int:
        spec = getattr(backbone, kind)
        return FORMULAS[kind][spec.type](spec.options, *numbers)

    def image_tokens(patch: Grid) -> int:
        height, width = backbone.latent.size
        return prod(grid_of(height, width, patch))

    total = formula("time_embedder", dim) + formula("modulation", dim, backbone.depth)
    embedded, blocks = [levels[0].patch], iter(backbone.block_specs)
    for level in levels:
        for block in islice(blocks, level.blocks):
            total += FORMULAS["block"][block.type](block, dim, m + image_tokens(level.patch))
    for coarse, fine in pairwise(level.patch for level in levels):
        total += formula("upsampler", dim, m, image_tokens(coarse), image_tokens(fine))
        if backbone.skip == "linear":
            embedded.append(fine)
            total += image_tokens(fine) * dim * dim
    for patch in embedded:
        total += formula("patch_embedder", dim, image_tokens(patch), channels * prod(patch))
    last = levels[-1].patch
    return total + formula("head", dim, image_tokens(last), channels * prod(last))


def _sinusoidal(options: Any, dim: int) -> int:
    return 256 * dim + (options.layers - 1) * dim * dim


def _fno(options: Any, dim: int) -> int:
    width, grid = options.width, options.grid
    # A complex product is four real ones; over a single channel nothing is summed, so none is a multiply-add.
    spectral = 4 * width * width * options.modes if width > 1 else 0
    return grid * width + options.blocks * (spectral + grid * width * width) + width * dim


def _dit(spec: Any, dim: int, tokens: int) -> int:
    inside = [part for part in (spec.parts["attention"], spec.parts["cross"], spec.parts["mlp"]) if part is not None]
    return sum(INSIDE[part.entry.kind][part.type](part.options, dim, tokens) for part in inside)


def _hidden(width: float, options: Any) -> int:
    return hidden_width(width, options.multiple_of, options.rounding)


def _expansion(dim: int, coarse: int, fine: int) -> int:
    return coarse * dim * (fine // coarse) * dim


FORMULAS: dict[str, dict[str, Callable[..., int]]] = {
    "time_embedder": {"sinusoidal": _sinusoidal, "fno": _fno},
    "modulation": {
        "adaln_zero": lambda options, dim, depth: (6 * depth + 2) * dim * dim,
        "shared_adaln": lambda options, dim, depth: 6 * dim * dim,
        "adaln_single": lambda options, dim, depth: 6 * dim * dim,
    },
    "block": {"dit": _dit},
    "upsampler": {
        "linear": lambda options, dim, m, coarse, fine: _expansion(dim, coarse, fine),
        "conv_transpose": lambda options, dim, m, coarse, fine: _expansion(dim, coarse, fine),
        "linear_linear": lambda options, dim, m, coarse, fine: _expansion(dim, coarse, fine) + (m + fine) * dim * dim,
        "linear_conv": lambda options, dim, m, coarse, fine: _expansion(dim, coarse, fine) + fine * dim * dim,
        "linear_mlp": lambda options, dim, m, coarse, fine: (
            _expansion(dim, coarse, fine) + (m + fine) * 2 * dim * int(dim * options.ratio)
        ),
    },
    "patch_embedder": {"linear": lambda options, dim, tokens, pixels: tokens * pixels * dim},
    "head": {"linear": lambda options, dim, tokens, pixels: tokens * pixels * dim * (1 + options.learn_sigma)},
}
"""By kind and part. Schedules, positions, class conditioners and stage embedders have no multiply-adds."""

INSIDE: dict[str, dict[str, Callable[..., int]]] = {
    "attention": {"softmax": lambda options, dim, tokens: 4 * tokens * dim * dim + 2 * tokens * tokens * dim},
    "mlp": {
        "gelu": lambda options, dim, tokens: 2 * tokens * dim * _hidden(dim * options.ratio, options),
        "swiglu": lambda options, dim, tokens: 3 * tokens * dim * _hidden(2 * dim * options.ratio / 3, options),
    },
}
"""Those inside a block. Norms have no multiply-adds."""
