"""What the layouts of published code have in common: parts that it fixes, and layers that are called alike."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch

from zoo.backbone import Backbone
from zoo.kinds import KINDS
from zoo.parts.positions import SinCosPosition
from zoo.paths import Prediction
from zoo.recipe import Recipe
from zoo.schedule import Grid, StageShape, pairs_of, patch_name
from zoo.weights.published.format import Tensors, WeightFormat
from zoo.weights.published.layout import TABLE, Entry, linear

HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}
"""Attention heads of the published widths (S, B, L, XL), which the shapes do not tell."""

SIZES = {384: "s", 768: "b", 1024: "l", 1152: "xl"}

INSIDE_BLOCK: Mapping[str, Any] = {
    "attention": {"type": "softmax", "bias": True, "qk_norm": None},
    "cross": None,
    "mlp": {"type": "gelu", "bias": True, "approximate": "tanh"},
    "norm": {"type": "layer", "affine": False, "eps": 1e-6},
}
"""What the published blocks fix of the parts inside them; the hidden width of the MLP they do not."""

BLOCK = {"attn.qkv": "attention.qkv", "attn.proj": "attention.proj", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
"""Layers of a block, as published and in zoo."""


class PublishedFormat(WeightFormat):
    """A layout whose code fixes the parts that a backbone is made of.

    Attributes:
        parts: the parts of a recipe that the published code has, by kind.
        time: by type of time embedder, the options that the published code fixes.
        layers: by type of time embedder, those that decide which tensors there are.
    """

    parts: ClassVar[Mapping[str, tuple[str, ...]]]
    time: ClassVar[Mapping[str, Mapping[str, Any]]]
    layers: ClassVar[Mapping[str, Mapping[str, Any]]]
    prediction: ClassVar[Prediction | None] = "velocity"
    path = "linear"

    @abstractmethod
    def schedule_problem(self, stages: Sequence[StageShape]) -> str | None:
        """Why the published code cannot have this patch schedule."""

    def settled(self, recipe: Recipe) -> dict[str, Any]:
        """The prediction, and the options of the time embedder."""
        return super().settled(recipe) | _other_options(recipe, self.time)

    def misfits(self, recipe: Recipe, backbone: Backbone) -> Iterator[str]:
        """Other parts, another schedule, and what is fixed otherwise."""
        size = recipe.backbone.latent.size
        if len(size) != 2:  # and the published code knows no such patches either
            yield f"backbone.latent: {self.name} has height and width, the recipe {' x '.join(map(str, size))}"
            return
        for kind, names in self.parts.items():
            found = names_of(recipe, kind)
            if found not in names:
                yield f"backbone.{kind}: {self.name} has {' or '.join(names)}, the recipe {found}"
        for key, fixed, found in inside_block(recipe):
            yield f"backbone.{key}: {self.name} has {fixed}, the recipe {found}"
        problem = shape_problem(recipe, backbone.stages) or self.schedule_problem(backbone.stages)
        if problem is not None:
            yield f"backbone.patch_schedule: {problem}"
        yield from super().misfits(recipe, backbone)
        yield from self.otherwise(recipe, _other_options(recipe, self.layers))


def without_place(own: Iterable[str], entries: Iterable[Entry]) -> Iterator[str]:
    """Weights of ours that no entry has, such as a router's: a line for each part that has some."""
    placed = {entry.own for entry in entries}
    rooms = dict.fromkeys(name.partition(".")[0] for name in own if name not in placed)
    for room in rooms:
        kind = next((name for name, kind in KINDS.items() if kind.where == room), room)
        yield f"backbone.{kind}: it has weights, and the published code has no place for them"


def names_of(recipe: Recipe, kind: str) -> str:
    """The name of the part of a kind, or the names of all where there are several."""
    return ", ".join(dict.fromkeys(spec.type for spec in recipe.backbone.of(kind)))


def inside_block(recipe: Recipe, **mlp: Any) -> Iterator[tuple[str, str, str]]:
    """What a ``dit`` block has otherwise than the published ones: the key below ``backbone``, theirs and ours.

    Args:
        recipe: ours.
        mlp: more that theirs fix of the MLP.
    """
    fixed = {**INSIDE_BLOCK, "mlp": {**INSIDE_BLOCK["mlp"], **mlp}}
    runs = recipe.backbone.block
    for index, run in enumerate(runs):
        if run.part.type == "dit":
            yield from _otherwise("block" if len(runs) == 1 else f"block.{index}", fixed, run.part.resolved())


def _otherwise(key: str, fixed: Any, found: Any) -> Iterator[tuple[str, str, str]]:
    """Where the recipe has another value than is fixed, or another part."""
    if isinstance(fixed, Mapping) and isinstance(found, Mapping) and fixed.get("type") in (None, found.get("type")):
        for name, value in fixed.items():
            yield from _otherwise(f"{key}.{name}", value, found[name])
    elif fixed != found:
        yield key, _shown(fixed), _shown(found)


def _shown(value: Any) -> str:
    """A value as messages say it, a part by its name."""
    return "none" if value is None else str(value["type"] if isinstance(value, Mapping) else value)


def shape_problem(recipe: Recipe, stages: Sequence[StageShape]) -> str | None:
    """Why no published code can have these stages: widths, heads, sizes, or coarser patches after finer ones."""
    own = (recipe.backbone.dim, recipe.backbone.heads)
    for level in (level for stage in stages for level in stage.levels):
        if (level.dim, level.heads) != own:
            has = "published weights have one width, and one number of heads"
            return f"{has}; the recipe has a level of width {level.dim} with {level.heads} heads"
    for stage in stages:
        if set(stage.scale) != {1}:
            return f"published weights have latents of one size, the recipe a stage of scale {patch_name(stage.scale)}"
    for (before, _), (after, _) in pairs_of(stages, finer=False):
        return (
            f"published weights go to finer patches alone, the recipe from {patch_name(before)} to {patch_name(after)}"
        )
    return None


def _other_options(recipe: Recipe, fixed: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Options of the time embedder that are fixed otherwise, by key below ``backbone``."""
    options = recipe.backbone.time_embedder.resolved()
    wanted = fixed.get(options["type"], {})
    return {f"time_embedder.{key}": want for key, want in wanted.items() if options[key] != want}


def block_entries(published: str, first: int, count: int) -> Iterator[Entry]:
    """Blocks ``published.0`` and on, which are ours from ``first`` on."""
    for index in range(count):
        for theirs, own in BLOCK.items():
            yield from linear(f"{published}.{index}.{theirs}", f"blocks.{first + index}.{own}")


def sinusoidal_entries(layers: int) -> Iterator[Entry]:
    """The MLP of a sinusoidal time embedder, which has an activation between its Linears."""
    for index in range(layers):
        yield from linear(f"t_embedder.mlp.{2 * index}", f"time_embedder.layers.{index}")


def as_given(patch: Sequence[int]) -> int | list[int]:
    """A patch as recipes write it: one number where it is the same on both axes."""
    return list(patch) if len(set(patch)) > 1 else patch[0]


def table_entry(published: str, patch: Grid) -> Entry:
    """The position table of a patch."""
    return Entry(published, f"positions.{patch_name(patch)}.table", TABLE)


def body_of(tensors: Tensors, block: str, depth: int) -> dict[str, Any]:
    """What the blocks tell: width, depth, heads of a published width, and the MLP's ratio."""
    hidden, dim = tensors.of(f"{block}.mlp.fc1.weight", 2)
    values: dict[str, Any] = {"dim": dim, "depth": depth}
    if dim in HEADS:
        values["heads"] = HEADS[dim]
    if hidden != 4 * dim:
        ratio = hidden / dim
        exact = int(dim * ratio) == hidden  # as the MLP rounds
        ratio = ratio if exact else math.nextafter(ratio, math.inf)
        values["block"] = {"type": "dit", "mlp": {"type": "gelu", "ratio": ratio}}
    return values


def head_of(tensors: Tensors, key: str, pixels: int) -> dict[str, Any]:
    """Whether the head has twice as many outputs as a patch has pixels."""
    outputs = tensors.of(key, 2)[0]
    if outputs not in (pixels, 2 * pixels):
        raise tensors.problem(f"{key} has {outputs} rows, and a patch has {pixels} pixels")
    return {"type": "linear", "learn_sigma": outputs == 2 * pixels}


def sinusoidal_layers(tensors: Tensors) -> int:
    """Linears of the time embedder's MLP."""
    tensors.of("t_embedder.mlp.0.weight", 2)
    return sum(f"t_embedder.mlp.{index}.weight" in tensors for index in (0, 2, 4))


def grid_of_table(tensors: Tensors, key: str) -> Grid:
    """Rows and columns of a position table ``[1, N, D]``: those whose sin-cos table it is, or else a square's.

    Raises:
        WeightsError: it is no grid's table, and no square's.
    """
    _, count, dim = tensors.of(key, 3)
    table = tensors[key][0].float()
    sides = sorted((side for side in range(1, count + 1) if count % side == 0), key=lambda side: abs(side**2 - count))
    if dim % 4 == 0:
        for rows in sides:
            grid = (rows, count // rows)
            with torch.device("cpu"):
                own = SinCosPosition(dim, grid, (1.0, 1.0)).table
            if torch.allclose(own, table, atol=1e-2):
                return grid
    if sides[0] ** 2 != count:
        raise tensors.problem(f"{key} has {count} positions, of no sin-cos grid and of no square")
    return sides[0], sides[0]
