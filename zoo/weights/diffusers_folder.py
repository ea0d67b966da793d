"""Weights as a folder that diffusers' ``DiTTransformer2DModel`` loads. Written without diffusers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.assembly import build
from zoo.backbone import Backbone
from zoo.errors import WeightsError
from zoo.files import FAILURES, reason_of, safetensors, whole_folder, write_new
from zoo.parts.time_embedders import FREQUENCIES, MAX_PERIOD
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.schedule import Grid, patch_name
from zoo.weights.clock import with_clock
from zoo.weights.published.base import inside_block, names_of, shape_problem, without_place
from zoo.weights.published.dit import SiT
from zoo.weights.state import Weights, is_same_table, position_tables

HALF = FREQUENCIES // 2
NODES = 8
EXACT = 1e-6
"""How far a feature of the time may be off: float32 rounds the angles by a tenth of this."""


def write_diffusers(folder: Path, weights: Weights, registry: Registry) -> None:
    """Write ``config.json`` and ``diffusion_pytorch_model.safetensors``: the whole folder, or nothing.

    The model is fed what the path's clock makes of the noise level, times the time embedder's ``scale``, as a float in
    place of a timestep, and predicts what the backbone does; with ``learn_sigma``, in the first half of its channels.

    Args:
        folder: to make.
        weights: of an isotropic backbone with adaptive norms.
        registry: the parts to choose from.

    Raises:
        WeightsError: that architecture cannot express the backbone, with a line for every reason; or the folder cannot
            be written.
    """
    with torch.device("cpu"):  # where weights of files are, whatever the default is
        weights = with_clock(weights, "noise", registry)
        recipe = weights.recipe
        backbone = build(recipe, device="meta")
        problems = list(_misfits(recipe, backbone)) or [
            *without_place(weights.tensors, SiT().entries(recipe, backbone)),
            *_other_tables(backbone, weights.tensors),
        ]
        if problems:
            raise WeightsError(f"{recipe.name}: DiTTransformer2DModel cannot express it", problems)
        (patch, _), *_ = backbone.shape.nodes
        tensors = dict(_tensors(recipe, patch, weights.tensors))
    try:
        with whole_folder(folder) as unfinished:
            write_new(unfinished / "config.json", json.dumps(_config(recipe, patch), indent=2) + "\n")
            write_new(unfinished / "diffusion_pytorch_model.safetensors", safetensors(tensors, {"format": "pt"}))
    except FAILURES as error:
        raise WeightsError(f"{folder}: cannot be written: {reason_of(error)}") from error


def _misfits(recipe: Recipe, backbone: Backbone) -> Iterator[str]:
    options = recipe.backbone
    for kind, (name,) in SiT.parts.items():
        found = names_of(recipe, kind)
        if found != name:
            yield f"backbone.{kind}: it has {name}, the recipe {found}"
    problem = shape_problem(recipe, backbone.stages)
    if problem is not None:
        yield f"backbone.patch_schedule: {problem}"
    elif len(backbone.stages) > 1 or len(backbone.stages[0].levels) > 1:
        yield "backbone.patch_schedule: it has one patch for all blocks and noise levels"
    elif len(set(patch := backbone.stages[0].levels[0].patch)) > 1:
        yield f"backbone.patch_schedule: its patches are square, the recipe's {patch_name(patch)}"
    size = options.latent.size
    if len(size) != 2 or len(set(size)) > 1:
        yield f"backbone.latent: its latents are square, the recipe's {' x '.join(map(str, size))}"
    for key, fixed, found in inside_block(recipe, ratio=4.0, multiple_of=1):
        yield f"backbone.{key}: it has {fixed}, the recipe {found}"
    if options.time_embedder.type == "sinusoidal":
        time = options.time_embedder.resolved()
        if time["layers"] != 2:
            yield f"backbone.time_embedder.layers: it has 2, the recipe {time['layers']}"
        if (off := _error_of_features(time["scale"])) > EXACT:
            yield (
                "backbone.time_embedder.scale: its sinusoids have the frequencies 10000^(-i / 127), ours and DiT's"
                " 10000^(-i / 128); weights can make up for that where the clock runs from 0 to 1, but from 0 to"
                f" {time['scale']:g} features are off by {off:.1g}"
            )


def _other_tables(backbone: Backbone, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """It computes its position table, and no file can give it another one."""
    for name, table in position_tables(backbone).items():
        if not is_same_table(tensors[name], table):
            yield f"backbone.position: {name} is not the sin-cos table that it computes"


def _config(recipe: Recipe, patch: Grid) -> dict[str, Any]:
    options = recipe.backbone
    outputs = 2 if options.head.resolved()["learn_sigma"] else 1
    return {
        "_class_name": "DiTTransformer2DModel",
        "activation_fn": "gelu-approximate",
        "attention_bias": True,
        "attention_head_dim": options.dim // options.heads,
        "dropout": 0.0,
        "in_channels": options.latent.channels,
        "norm_elementwise_affine": False,
        "norm_eps": 1e-6,
        "norm_type": "ada_norm_zero",
        "num_attention_heads": options.heads,
        "num_embeds_ada_norm": options.num_classes,
        "num_layers": options.depth,
        "out_channels": outputs * options.latent.channels,
        "patch_size": patch[0],
        "sample_size": options.latent.size[-1],
    }


def _tensors(recipe: Recipe, patch: Grid, own: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    options = recipe.backbone
    embedder, head = (f"{room}.{patch_name(patch)}.proj" for room in ("patch_embedders", "heads"))
    weight = own[f"{embedder}.weight"]
    yield "pos_embed.proj.weight", weight.reshape(len(weight), -1, *patch).clone()
    yield "pos_embed.proj.bias", own[f"{embedder}.bias"]
    first = own["time_embedder.layers.0.weight"]
    between = torch.kron(torch.eye(2, dtype=torch.float64), _interpolation())
    shared = {
        "timestep_embedder.linear_1.weight": (first.double() @ between).to(first.dtype),
        "timestep_embedder.linear_1.bias": own["time_embedder.layers.0.bias"],
        "timestep_embedder.linear_2.weight": own["time_embedder.layers.1.weight"],
        "timestep_embedder.linear_2.bias": own["time_embedder.layers.1.bias"],
        "class_embedder.embedding_table.weight": own["class_conditioner.embedding.weight"],
    }
    for index in range(options.depth):
        block, ours = f"transformer_blocks.{index}", f"blocks.{index}"
        for name, tensor in shared.items():  # each block has its own copy
            yield f"{block}.norm1.emb.{name}", tensor.clone()
        for each in ("weight", "bias"):
            yield f"{block}.norm1.linear.{each}", own[f"modulation.blocks.{index}.{each}"]
            for name, part in zip("qkv", own[f"{ours}.attention.qkv.{each}"].chunk(3), strict=True):
                yield f"{block}.attn1.to_{name}.{each}", part.clone()
            yield f"{block}.attn1.to_out.0.{each}", own[f"{ours}.attention.proj.{each}"]
            yield f"{block}.ff.net.0.proj.{each}", own[f"{ours}.mlp.fc1.{each}"]
            yield f"{block}.ff.net.2.{each}", own[f"{ours}.mlp.fc2.{each}"]
    for each in ("weight", "bias"):
        yield f"proj_out_1.{each}", own[f"modulation.head.{each}"]
        yield f"proj_out_2.{each}", own[f"{head}.{each}"]


def _interpolation() -> Tensor:
    """Lagrange's polynomials through the ``NODES`` nearest frequencies of diffusers', at each of ours [128, 128].

    Ours lie between diffusers' on a logarithmic scale, where polynomials interpolate sinusoids of small angles to
    rounding.
    """
    matrix = torch.zeros(HALF, HALF, dtype=torch.float64)
    for index in range(HALF):
        place = index * (HALF - 1) / HALF
        start = min(max(math.floor(place) - NODES // 2 + 1, 0), HALF - NODES)
        nodes = range(start, start + NODES)
        for node in nodes:
            matrix[index, node] = math.prod((place - other) / (node - other) for other in nodes if other != node)
    return matrix


def _error_of_features(scale: float) -> float:
    """The largest error of a feature over all noise levels, in float64."""
    times = scale * torch.linspace(0, 1, 257, dtype=torch.float64).unsqueeze(1)
    ours, theirs = times * _frequencies(HALF), times * _frequencies(HALF - 1)
    between = _interpolation().T
    return max(float((f(ours) - f(theirs) @ between).abs().max()) for f in (torch.cos, torch.sin))


def _frequencies(steps: int) -> Tensor:
    return MAX_PERIOD ** -(torch.arange(HALF, dtype=torch.float64) / steps)
