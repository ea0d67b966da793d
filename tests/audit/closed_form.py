"""Multiply-adds on paper: one formula a part, from the recipe's numbers alone, without building anything.

Letters: D width, N image tokens, m tokens in front, T = m + N, C channels; batch 1. LayerNorms, activations and
look-ups have no multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, pairwise
from math import prod
from typing import Any

from zoo.parts.mlps import hidden_width
from zoo.recipe.schema import BackboneRecipe, Recipe
from zoo.schedule import Grid, StageShape, grid_of, is_finer, resolved
from zoo.sites import Slot


def closed_form_macs(recipe: Recipe) -> list[int]:
    """Multiply-adds of every stage at batch 1.

    Raises:
        KeyError: a plug-in's part, for which there is no formula here.
    """
    backbone = recipe.backbone
    axes = len(backbone.latent.size)
    schedule = backbone.patch_schedule.create({"depth": backbone.depth, "axes": axes})
    stages = resolved(schedule.stages(), axes, backbone.dim, backbone.heads)
    condition = sum(_condition(backbone, stages))
    return [condition + _stage(backbone, stage) for stage in stages]


def _formula(backbone: BackboneRecipe, kind: str, *numbers: Any) -> int:
    spec = getattr(backbone, kind)
    if (kind, spec.type) in WITHOUT_MACS:
        return 0
    return FORMULAS[kind][spec.type](spec.options, *numbers)


def _condition(backbone: BackboneRecipe, stages: Sequence[StageShape]) -> Iterator[int]:
    """Of what comes before the blocks: the same in all stages, whose blocks and heads are steered together."""
    shared, dim = backbone.condition == "shared", backbone.dim
    widths = dict.fromkeys(level.dim for stage in stages for level in stage.levels)
    for width in [dim] if shared else widths:
        yield _formula(backbone, "time_embedder", width)
        yield _formula(backbone, "class_conditioner", width)
    heads = dict.fromkeys(stage.levels[-1].dim for stage in stages)
    of_blocks = [level.dim for level in stages[0].levels for _ in range(level.blocks)]

    def slot(own: int, vectors: int) -> Slot:
        return Slot(dim if shared else own, own, vectors)

    yield _formula(
        backbone,
        "modulation",
        [slot(own, 6 if spec.options.shift else 4) for own, spec in zip(of_blocks, backbone.block_specs, strict=True)],
        [slot(own, 2 if backbone.head.options.modulated else 0) for own in heads],
    )


def _stage(backbone: BackboneRecipe, stage: StageShape) -> int:
    levels, channels = stage.levels, backbone.latent.channels
    size = stage.size_in(backbone.latent.size)
    m = backbone.class_conditioner.options.tokens if backbone.class_conditioner.type == "class_tokens" else 0  # type: ignore[attr-defined]
    formula = partial(_formula, backbone)

    def image_tokens(patch: Grid) -> int:
        return prod(grid_of(size, patch))

    total, embedded, kept = 0, [levels[0]], {}
    blocks = iter(backbone.block_specs)
    for level in levels:
        for block in islice(blocks, level.blocks):
            total += FORMULAS["block"][block.type](block, level.dim, m + image_tokens(level.patch))
    for before, after in pairwise(levels):
        between = m if before.dim == after.dim else 0
        counts = image_tokens(before.patch), image_tokens(after.patch)
        if not is_finer(after.patch, before.patch):
            kept[before.patch] = before.dim
            total += formula("downsampler", before.dim, after.dim, *counts)
            continue
        total += formula("upsampler", before.dim, after.dim, between, *counts)
        total += formula("skip", after.dim, kept.get(after.patch, 0), counts[1])
        if backbone.skip.type == "linear":
            embedded.append(after)
    for level in embedded:
        total += formula("patch_embedder", level.dim, image_tokens(level.patch), channels, level.patch)
    last = levels[-1]
    return total + formula("head", last.dim, image_tokens(last.patch), channels, last.patch)


def _head(options: Any, inputs: int, tokens: int, pixels: int) -> int:
    return tokens * inputs * pixels * (1 + options.learn_sigma)


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


def _expansion(dim: int, next_dim: int, coarse: int, fine: int) -> int:
    return coarse * dim * (fine // coarse) * next_dim


def _linears(slots: Iterable[Slot]) -> int:
    return sum(slot.condition * slot.dim * slot.vectors for slot in slots)


def _adaln_zero(options: Any, blocks: Sequence[Slot], heads: Sequence[Slot]) -> int:
    return _linears(blocks) + _linears(heads)


def _shared_adaln(options: Any, blocks: Sequence[Slot], heads: Sequence[Slot]) -> int:
    """Heads borrow from blocks of six vectors of their width, where there are any."""
    lent = {slot._replace(vectors=2) for slot in blocks if slot.vectors == 6}
    return _linears(dict.fromkeys(blocks)) + _linears(slot for slot in heads if slot not in lent)


def _adaln_single(options: Any, blocks: Sequence[Slot], heads: Sequence[Slot]) -> int:
    """Heads have a table each."""
    return _linears(dict.fromkeys(blocks))


def _linear_mlp(options: Any, dim: int, next_dim: int, m: int, coarse: int, fine: int) -> int:
    return _expansion(dim, next_dim, coarse, fine) + (m + fine) * 2 * next_dim * int(next_dim * options.ratio)


FORMULAS: dict[str, dict[str, Callable[..., int]]] = {
    "time_embedder": {"sinusoidal": _sinusoidal, "fno": _fno},
    "class_conditioner": {"attributes": lambda options, dim: 2 * (options.attributes or len(options.names) or 1) * dim},
    "modulation": {"adaln_zero": _adaln_zero, "shared_adaln": _shared_adaln, "adaln_single": _adaln_single},
    "block": {"dit": _dit},
    "upsampler": {
        "linear": lambda options, dim, after, m, coarse, fine: _expansion(dim, after, coarse, fine),
        "conv_transpose": lambda options, dim, after, m, coarse, fine: _expansion(dim, after, coarse, fine),
        "linear_linear": lambda options, dim, after, m, coarse, fine: (
            _expansion(dim, after, coarse, fine) + (m + fine) * after * after
        ),
        "linear_conv": lambda options, dim, after, m, coarse, fine: (
            _expansion(dim, after, coarse, fine) + fine * after * after
        ),
        "linear_mlp": _linear_mlp,
    },
    "downsampler": {"linear": lambda options, dim, after, fine, coarse: fine * dim * after},
    "skip": {
        "linear": lambda options, dim, kept, tokens: tokens * dim * dim,
        "kept_concat": lambda options, dim, kept, tokens: tokens * (dim + kept) * dim,
    },
    "patch_embedder": {
        "linear": lambda options, dim, tokens, channels, patch: tokens * channels * prod(patch) * dim,
        "conv": lambda options, dim, tokens, channels, patch: (
            tokens * channels * prod(side + 2 * options.overlap for side in patch) * dim
        ),
    },
    "head": {
        "linear": lambda options, dim, tokens, channels, patch: _head(options, dim, tokens, channels * prod(patch)),
        "conv": lambda options, dim, tokens, channels, patch: _head(
            options, dim * (2 * options.reach + 1) ** len(patch), tokens, channels * prod(patch)
        ),
    },
}
"""By kind and part. Schedules, positions, stage embedders and routers have no multiply-adds."""

WITHOUT_MACS = {
    ("time_embedder", "fourier"),
    ("class_conditioner", "embedding"),
    ("class_conditioner", "class_tokens"),
    ("class_conditioner", "none"),
    ("modulation", "none"),
    ("modulation", "in_context"),
    ("skip", "none"),
    ("skip", "kept_add"),
}
"""Parts without any, of kinds that others of have some."""

INSIDE: dict[str, dict[str, Callable[..., int]]] = {
    "attention": {"softmax": lambda options, dim, tokens: 4 * tokens * dim * dim + 2 * tokens * tokens * dim},
    "mlp": {
        "gelu": lambda options, dim, tokens: 2 * tokens * dim * _hidden(dim * options.ratio, options),
        "swiglu": lambda options, dim, tokens: 3 * tokens * dim * _hidden(2 * dim * options.ratio / 3, options),
    },
}
"""Those inside a block. Norms have no multiply-adds."""
