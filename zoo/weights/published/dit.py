"""DiT and SiT: one patch for all blocks and noise levels. Both have the same keys."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from zoo.backbone import Backbone
from zoo.recipe import Recipe
from zoo.schedule import Grid, StageShape, patch_name
from zoo.weights.published.base import (
    SIZES,
    PublishedFormat,
    as_given,
    block_entries,
    body_of,
    grid_of_table,
    head_of,
    sinusoidal_entries,
    sinusoidal_layers,
    table_entry,
)
from zoo.weights.published.format import Clock, Tensors
from zoo.weights.published.layout import Entry, Turn, convolution, linear


class SiT(PublishedFormat):
    """SiT (arXiv 2401.08740): 0 = noise and 1 = data, the output is data - noise, the embedding is fed its own time."""

    name = "sit"
    clock: ClassVar[Clock | None] = "data"
    time: ClassVar[Mapping[str, Mapping[str, Any]]] = {"sinusoidal": {"clock": clock, "scale": 1.0}}
    layers: ClassVar[Mapping[str, Mapping[str, Any]]] = {"sinusoidal": {"layers": 2}}
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "patch_embedder": ("linear",),
        "position": ("sincos",),
        "time_embedder": ("sinusoidal",),
        "class_conditioner": ("embedding",),
        "modulation": ("adaln_zero",),
        "block": ("dit",),
        "stage_embedder": ("none",),
        "head": ("linear",),
    }
    head_sign: ClassVar[int] = -1

    def recognises(self, keys: Collection[str]) -> bool:
        """Adaptive norms in every block, and one patch embedder."""
        return {"pos_embed", "x_embedder.proj.weight", "blocks.0.adaLN_modulation.1.weight"} <= set(keys)

    def family(self, backbone: Mapping[str, Any]) -> str:
        """The recipe of the same width."""
        return f"{self.name}_{SIZES.get(backbone['dim'], 'b')}"

    def schedule_problem(self, stages: Sequence[StageShape]) -> str | None:
        """More than one patch."""
        if len(stages) > 1 or len(stages[0].levels) > 1:
            return f"{self.name} has one patch for all blocks and noise levels"
        return None

    def entries(self, recipe: Recipe, backbone: Backbone) -> Iterator[Entry]:
        """Every tensor."""
        patch = backbone.stages[-1].levels[-1].patch
        yield table_entry("pos_embed", patch)
        yield from self.shared_entries(recipe, patch)

    def shared_entries(self, recipe: Recipe, patch: Grid) -> Iterator[Entry]:
        """All but the position tables, for the finest patch."""
        backbone = recipe.backbone
        own = patch_name(patch)
        yield from linear(
            "x_embedder.proj", f"patch_embedders.{own}.proj", weight=convolution(backbone.latent.channels, patch)
        )
        yield from sinusoidal_entries(backbone.time_embedder.resolved()["layers"])
        yield Entry("y_embedder.embedding_table.weight", "class_conditioner.embedding.weight")
        yield from block_entries("blocks", 0, backbone.depth)
        for index in range(backbone.depth):
            yield from linear(f"blocks.{index}.adaLN_modulation.1", f"modulation.blocks.{index}")
        yield from linear("final_layer.adaLN_modulation.1", "modulation.head")
        sign = Turn(sign=self.head_sign)
        yield from linear("final_layer.linear", f"heads.{own}.proj", weight=sign, bias=sign)

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        """One patch, and the rest of ``shared_values``."""
        patch = tensors.of("x_embedder.proj.weight", 4)[2:]
        rows, columns = grid_of_table(tensors, "pos_embed")
        schedule = {"type": "uniform", "patch": as_given(patch)}
        return self.shared_values(tensors, (rows * patch[0], columns * patch[1]), schedule)

    def shared_values(self, tensors: Tensors, size: Grid, schedule: Mapping[str, Any]) -> dict[str, Any]:
        """The ``backbone`` section, but for what other formats of the family add.

        Args:
            tensors: of the checkpoint.
            size: height and width of the latent.
            schedule: the patch schedule.
        """
        _, channels, ph, pw = tensors.of("x_embedder.proj.weight", 4)
        classes, _ = tensors.of("y_embedder.embedding_table.weight", 2)
        return {
            "latent": {"channels": channels, "height": size[0], "width": size[1]},
            "num_classes": classes - 1,
            **body_of(tensors, "blocks.0", tensors.count("blocks")),
            "patch_schedule": schedule,
            "time_embedder": {"type": "sinusoidal", "layers": sinusoidal_layers(tensors), **self.time["sinusoidal"]},
            "head": head_of(tensors, "final_layer.linear.weight", channels * ph * pw),
            "prediction": self.prediction,
        }


class DiT(SiT):
    """DiT (arXiv 2212.09748): predicts the noise of a variance-preserving path at DDPM timesteps 0 to 999."""

    name = "dit"
    clock = "noise"
    time: ClassVar[Mapping[str, Mapping[str, Any]]] = {"sinusoidal": {"clock": clock, "scale": 1000.0}}
    prediction = "noise"
    path = "vp"
    head_sign = 1
