"""Sampling in one call, from a backbone alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.backbone import Backbone
from zoo.flow import Guidance, Solver
from zoo.flow import sample as solve
from zoo.randomness import Purpose, generator_at
from zoo.registry import Registry


def sample(
    backbone: Backbone,
    labels: Sequence[int] | Tensor | None = None,
    *,
    steps: int = 50,
    count: int | None = None,
    solver: str | Solver = "euler",
    guidance: float | Sequence[float] = 1.0,
    guided_channels: int | None = None,
    guidance_interval: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    registry: Registry | None = None,
) -> Float[Tensor, "B C H W"]:
    """Draw latents, on the backbone's device, as the backbone sees them.

    Undo what was done to the latents in training, and decode them, to see images: those of ``sit_xl`` are 0.18215 times
    an autoencoder's. Latent i is a function of the seed, of i and of its label, but for the last bits, which depend on
    the size of the batch.

    Args:
        backbone: predicts velocities, such as ``zoo.load`` returns.
        labels: classes, one for each latent, or what the class conditioner takes [B, ...]; left out, all classes in
            turn.
        steps: updates of the solver.
        count: latents, where ``labels`` are left out; 1 if left out as well.
        solver: the name of an installed one, with its defaults, or one of your own.
        guidance: one scale, or one for every stage, noisiest first; 1 is none.
        guided_channels: guide the first so many channels (the published DiT, SiT and PPFlow: 3); None for all.
        guidance_interval: noise levels that are guided, from lowest to highest.
        seed: of the noise.
        registry: the parts to choose a solver from; all installed ones if left out.

    Returns:
        Latents [B, C, H, W], in float32 or wider.

    Raises:
        PluginError: there is no such solver.
        ZooError: the weights predict noise, as those trained the DDPM way do.
        ValueError: labels, steps or guidance that the backbone cannot take.
    """
    chosen = _solver(solver, registry or Registry.installed()) if isinstance(solver, str) else solver
    parameter = next(backbone.parameters())
    device = parameter.device
    dtype = torch.promote_types(parameter.dtype, torch.float32)  # of the solver's state: narrower ones add up errors
    if count is not None and (labels is not None or count < 1):
        raise ValueError(f"count: {count}: give 1 or more, and only where labels are left out")
    if labels is None:
        labels = backbone.class_conditioner.example_labels(1 if count is None else count, device)
    labels = torch.as_tensor(labels, device=device)
    if not labels.ndim or not len(labels):
        raise ValueError("labels: give one for each latent, such as [3, 5]")

    def normal(purpose: Purpose, step: int) -> Tensor:
        return standard_normal(backbone.latent, seed, purpose, step, range(len(labels))).to(device, dtype)

    return solve(
        backbone,
        chosen,
        normal(Purpose.SAMPLE, 0),
        labels,
        steps=steps,
        draw=lambda update: normal(Purpose.SOLVER, update),
        guidance=Guidance.of(guidance, len(backbone.stages), guided_channels, guidance_interval),
    )


def _solver(name: str, registry: Registry) -> Solver:
    entry = registry.get("solver", name)
    return cast(Solver, entry.create(entry.signature.options(), {}))


def standard_normal(
    latent: tuple[int, ...], seed: int, purpose: Purpose, step: int, places: Sequence[int]
) -> Float[Tensor, "B C H W"]:
    """Noise of the latents at ``places``, each a function of the seed and of its place; float32, on the CPU."""
    drawn = [generator_at(seed, purpose, step, place).standard_normal(latent, dtype=np.float32) for place in places]
    return torch.from_numpy(np.stack(drawn))
