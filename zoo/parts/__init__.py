"""Built-in parts, one file a kind, and the base classes that plug-ins derive theirs from."""

from __future__ import annotations

from zoo.hookspecs import hookimpl
from zoo.parts import (
    attentions,
    blocks,
    class_conditioners,
    heads,
    mlps,
    modulations,
    norms,
    patch_embedders,
    patch_schedules,
    positions,
    stage_embedders,
    time_embedders,
    upsamplers,
)
from zoo.parts.attentions import Attention
from zoo.parts.base import (
    Affine,
    Block,
    BlockModulation,
    ClassCondition,
    ClassConditioner,
    Declared,
    Head,
    IndexConditioner,
    Layout,
    Modulation,
    Modulations,
    ModulePart,
    PatchEmbedder,
    PatchSchedule,
    Position,
    PositionEmbedding,
    Rotary,
    StageEmbedder,
    TimeEmbedder,
    Upsampler,
)
from zoo.parts.layers import Linear, layer_norm, modulate, rotate
from zoo.parts.mlps import MLP
from zoo.parts.norms import Norm
from zoo.schedule import Grid, Level, Patch, Stage
from zoo.signature import Part

__all__ = [
    "MLP",
    "Affine",
    "Attention",
    "Block",
    "BlockModulation",
    "ClassCondition",
    "ClassConditioner",
    "Declared",
    "Grid",
    "Head",
    "IndexConditioner",
    "Layout",
    "Level",
    "Linear",
    "Modulation",
    "Modulations",
    "ModulePart",
    "Norm",
    "Part",
    "Patch",
    "PatchEmbedder",
    "PatchSchedule",
    "Position",
    "PositionEmbedding",
    "Rotary",
    "Stage",
    "StageEmbedder",
    "TimeEmbedder",
    "Upsampler",
    "layer_norm",
    "modulate",
    "rotate",
    "zoo_parts",
]


@hookimpl
def zoo_parts() -> list[type]:
    """The built-in parts."""
    return [
        patch_schedules.Uniform,
        patch_schedules.ByDepth,
        patch_schedules.ByTimestep,
        patch_schedules.ByDepthAndTimestep,
        patch_embedders.LinearPatchEmbedder,
        positions.SinCosPosition,
        positions.NoPosition,
        time_embedders.SinusoidalTimeEmbedder,
        time_embedders.FNOTimeEmbedder,
        class_conditioners.EmbeddingConditioner,
        class_conditioners.ClassTokenConditioner,
        class_conditioners.NoConditioner,
        modulations.AdaLNZero,
        modulations.SharedAdaLN,
        modulations.AdaLNSingle,
        blocks.DiTBlock,
        attentions.SoftmaxAttention,
        attentions.CrossAttention,
        mlps.GELUMLP,
        mlps.SwiGLU,
        norms.LayerNorm,
        norms.RMSNorm,
        upsamplers.LinearUpsampler,
        upsamplers.LinearLinearUpsampler,
        upsamplers.LinearMLPUpsampler,
        upsamplers.LinearConvUpsampler,
        upsamplers.ConvTransposeUpsampler,
        stage_embedders.NoStageEmbedder,
        stage_embedders.LearnedStageEmbedder,
        heads.LinearHead,
    ]
