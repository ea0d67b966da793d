"""Built-in parts, one file a kind, and the base classes that plug-ins derive theirs from.

Types that are no classes: ``Vectors``, a tuple of tensors [b, D], as many as a block or a head says in
``modulation_vectors``; ``Grid``, a tuple of a whole number for each axis of the latents, one to three: tokens or
pixels; ``Patch``, the type of an option that is pixels per side, a number for all axes or a list of one for each;
``Part[Norm]``, that of an option that is itself a part, here a norm: the constructor gets what makes it.
"""

from __future__ import annotations

from zoo.hooks import marked_in
from zoo.hookspecs import hookimpl
from zoo.parts import (
    attentions,
    blocks,
    class_conditioners,
    downsamplers,
    heads,
    mlps,
    modulations,
    norms,
    patch_embedders,
    patch_schedules,
    positions,
    rope,
    routers,
    skips,
    stage_embedders,
    time_embedders,
    upsamplers,
)
from zoo.parts.attentions import Attention, SoftmaxAttention, by_head, width_of_head
from zoo.parts.base import (
    Block,
    ClassConditioner,
    Downsampler,
    Head,
    Modulation,
    PatchEmbedder,
    PatchSchedule,
    PositionEmbedding,
    Router,
    Skip,
    StageEmbedder,
    TimeEmbedder,
    Upsampler,
)
from zoo.parts.blocks import DiTBlock
from zoo.parts.class_conditioners import IndexConditioner
from zoo.parts.convolutions import convolution
from zoo.parts.grids import behind, patchify, ratio, shuffle, to_map, to_tokens, unpatchify, unshuffle
from zoo.parts.heads import TokenHead
from zoo.parts.layers import Embedding, Linear, joined, layer_norm, modulate, rotate
from zoo.parts.mlps import GELUMLP, MLP, SwiGLU
from zoo.parts.module_part import ModulePart
from zoo.parts.norms import LayerNorm, Norm, RMSNorm
from zoo.parts.routers import keep_tokens
from zoo.parts.values import (
    ClassCondition,
    Condition,
    Declared,
    Group,
    Layout,
    Modulations,
    Position,
    Rotary,
    Tap,
    Vectors,
    WhenAsked,
)
from zoo.schedule import Grid, Level, LevelShape, Patch, Stage
from zoo.shape import Place
from zoo.signature import Part
from zoo.sites import Slot

__all__ = [
    "GELUMLP",
    "MLP",
    "Attention",
    "Block",
    "ClassCondition",
    "ClassConditioner",
    "Condition",
    "Declared",
    "DiTBlock",
    "Downsampler",
    "Embedding",
    "Grid",
    "Group",
    "Head",
    "IndexConditioner",
    "LayerNorm",
    "Layout",
    "Level",
    "LevelShape",
    "Linear",
    "Modulation",
    "Modulations",
    "ModulePart",
    "Norm",
    "Part",
    "Patch",
    "PatchEmbedder",
    "PatchSchedule",
    "Place",
    "Position",
    "PositionEmbedding",
    "RMSNorm",
    "Rotary",
    "Router",
    "Skip",
    "Slot",
    "SoftmaxAttention",
    "Stage",
    "StageEmbedder",
    "SwiGLU",
    "Tap",
    "TimeEmbedder",
    "TokenHead",
    "Upsampler",
    "Vectors",
    "WhenAsked",
    "behind",
    "by_head",
    "convolution",
    "joined",
    "keep_tokens",
    "layer_norm",
    "modulate",
    "patchify",
    "ratio",
    "rotate",
    "shuffle",
    "to_map",
    "to_tokens",
    "unpatchify",
    "unshuffle",
    "width_of_head",
    "zoo_parts",
]


@hookimpl
def zoo_parts() -> list[type]:
    """The built-in parts."""
    return marked_in(
        attentions,
        blocks,
        class_conditioners,
        downsamplers,
        heads,
        mlps,
        modulations,
        norms,
        patch_embedders,
        patch_schedules,
        positions,
        rope,
        routers,
        skips,
        stage_embedders,
        time_embedders,
        upsamplers,
    )
