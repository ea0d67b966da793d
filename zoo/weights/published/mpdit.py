"""MPDiT with two levels, and MPDiTv2 with three (MPDiT, section 3)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

from zoo.backbone import Backbone
from zoo.recipe import Recipe
from zoo.schedule import StageShape, patch_name
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
from zoo.weights.published.format import Tensors
from zoo.weights.published.layout import Entry, Turn, convolution, linear


class LevelNames(NamedTuple):
    """The published names of what belongs to a level; upsampler and skip lead to it."""

    blocks: str
    embedder: str
    table: str
    upsampler: str = ""
    skip: str = ""


class MPDiT(PublishedFormat):
    """Two levels by depth. Its noise levels and velocity are zoo's own."""

    name = "mpdit"
    clock = "noise"
    time: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "sinusoidal": {"clock": clock, "scale": 1.0},
        "fno": {"grid": 32},
    }
    layers: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fno": {"blocks": 3}, "sinusoidal": {"layers": 2}}
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "patch_embedder": ("linear",),
        "position": ("sincos",),
        "time_embedder": ("fno", "sinusoidal"),
        "class_conditioner": ("class_tokens",),
        "modulation": ("shared_adaln",),
        "block": ("dit",),
        "upsampler": ("linear_linear",),
        "skip": ("linear",),
        "stage_embedder": ("none",),
        "head": ("linear",),
    }
    levels: ClassVar[tuple[LevelNames, ...]] = (
        LevelNames("downsample_blocks", "x_embedder", "pos_embed_downsampled"),
        LevelNames("upsample_blocks", "x_embedder_skip", "pos_embed", "upsampler", "linear_skip"),
    )

    def recognises(self, keys: Collection[str]) -> bool:
        """Blocks before the upsampler, and after."""
        first = {f"{level.blocks}.0.attn.qkv.weight" for level in self.levels}
        return first <= set(keys) and "time_modulation.1.weight" in keys

    def family(self, backbone: Mapping[str, Any]) -> str:
        """The recipe of the same width."""
        size = SIZES.get(backbone["dim"], "b")
        return f"mpdit_{'b' if size == 's' else size}"

    def schedule_problem(self, stages: Sequence[StageShape]) -> str | None:
        """Another number of levels, or stages by noise level."""
        if len(stages) > 1:
            return f"{self.name} has the same patches at every noise level"
        if len(stages[0].levels) != len(self.levels):
            return f"{self.name} has {len(self.levels)} levels, the recipe {len(stages[0].levels)}"
        return None

    def entries(self, recipe: Recipe, backbone: Backbone) -> Iterator[Entry]:
        """Every tensor."""
        options, levels = recipe.backbone, backbone.stages[0].levels
        first = 0
        for names, level in zip(self.levels, levels, strict=True):
            own = patch_name(level.patch)
            yield table_entry(names.table, level.patch)
            yield from linear(
                f"{names.embedder}.proj",
                f"patch_embedders.{own}.proj",
                weight=convolution(options.latent.channels, level.patch),
            )
            yield from block_entries(names.blocks, first, level.blocks)
            first += level.blocks
        for (coarse, fine), names in zip(pairwise(levels), self.levels[1:], strict=True):
            pair = f"{patch_name(coarse.patch)}_to_{patch_name(fine.patch)}"
            yield from linear(f"{names.upsampler}.proj", f"upsamplers.{pair}.proj")
            yield from linear(f"{names.upsampler}.refine", f"upsamplers.{pair}.refine")
            yield from linear(names.skip, f"skips.{pair}")
        time = options.time_embedder.resolved()
        yield from _fno_entries(time["blocks"]) if time["type"] == "fno" else sinusoidal_entries(time["layers"])
        yield Entry("y_embedder.embedding_table.weight", "class_conditioner.embedding.weight")
        yield from linear("time_modulation.1", "modulation.shared")
        yield from linear("final_layer.linear", f"heads.{patch_name(levels[-1].patch)}.proj")

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        """Levels from the patch embedders, class tokens from the label table, the time embedder from its keys."""
        patches = [tensors.of(f"{names.embedder}.proj.weight", 4) for names in self.levels]
        counts = [tensors.count(names.blocks) for names in self.levels]
        channels, *fine = patches[-1][1:]
        rows, columns = grid_of_table(tensors, self.levels[-1].table)
        body = body_of(tensors, f"{self.levels[0].blocks}.0", sum(counts))
        classes, width = tensors.of("y_embedder.embedding_table.weight", 2)
        if width % body["dim"]:
            raise tensors.problem(f"y_embedder.embedding_table.weight has {width} columns, and the width {body['dim']}")
        levels = [{"patch": as_given(patch[2:]), "blocks": count} for patch, count in zip(patches, counts, strict=True)]
        return {
            "latent": {"channels": channels, "height": rows * fine[0], "width": columns * fine[1]},
            "num_classes": classes - 1,
            **body,
            "patch_schedule": {"type": "by_depth", "levels": levels},
            "time_embedder": self._time_embedder(tensors),
            "class_conditioner": {"type": "class_tokens", "tokens": width // body["dim"]},
            "modulation": "shared_adaln",
            "upsampler": "linear_linear",
            "head": head_of(tensors, "final_layer.linear.weight", channels * fine[0] * fine[1]),
        }

    def _time_embedder(self, tensors: Tensors) -> dict[str, Any]:
        if "t_embedder.fc0.weight" not in tensors:
            return {"type": "sinusoidal", "layers": sinusoidal_layers(tensors), **self.time["sinusoidal"]}
        width, _, modes = tensors.of("t_embedder.conv0.weights_real", 3)
        blocks = sum(f"t_embedder.conv{index}.weights_real" in tensors for index in range(len(tensors)))
        return {"type": "fno", "blocks": blocks, "modes": modes, "width": width}


class MPDiTv2(MPDiT):
    """Three levels by depth."""

    name = "mpditv2"
    levels: ClassVar[tuple[LevelNames, ...]] = (
        LevelNames("downsample_blocks", "x_embedder", "pos_embed"),
        *(
            LevelNames(
                f"upsample_blocks_lvl{index}",
                f"x_embedder_lvl{index}",
                f"pos_embed_lvl{index}",
                f"upsampler_lvl{index}",
                f"linear_skip_lvl{index}",
            )
            for index in (1, 2)
        ),
    )

    def family(self, backbone: Mapping[str, Any]) -> str:
        """The one with three levels."""
        return "mpdit_xl_512_three_level"


def _fno_entries(blocks: int) -> Iterator[Entry]:
    yield from linear("t_embedder.fc0", "time_embedder.lift")
    for index in range(blocks):
        for part in ("real", "imag"):
            yield Entry(f"t_embedder.conv{index}.weights_{part}", f"time_embedder.blocks.{index}.{part}")
        own = f"time_embedder.blocks.{index}.pointwise"
        yield from linear(f"t_embedder.w{index}", own, weight=Turn("o i 1", "o i"))
    yield from linear("t_embedder.fc1", "time_embedder.proj")
