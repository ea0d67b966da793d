"""Sampling in one call, from a backbone alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.assembly import backbone_in
from zoo.backbone import Backbone
from zoo.flow import Guidance, Solver
from zoo.flow import sample as solve
from zoo.labels import Labels, as_floats, checked, length, move
from zoo.loose_parts import PartsLike
from zoo.parts import ClassConditioner, IndexConditioner
from zoo.randomness import Purpose, generator_at
from zoo.recipe import part_given
from zoo.registry import Registry

Precision = Literal["float32", "bfloat16"]


def sample(
    backbone: nn.Module,
    labels: Sequence[int] | Labels | None = None,
    *,
    steps: int = 50,
    count: int | None = None,
    solver: str | Solver = "euler",
    guidance: float | Sequence[float] | str | Mapping[str, Any] = 1.0,
    precision: Precision = "float32",
    seed: int = 0,
    second: nn.Module | None = None,
    registry: Registry | None = None,
    parts: PartsLike = (),
) -> Float[Tensor, "B C *size"]:
    """Draw latents, on the backbone's device, as the backbone sees them.

    Undo what was done to the latents in training, and decode them, to see images: those of ``sit_xl`` are 0.18215 times
    an autoencoder's. Latent i is a function of the seed, of i and of its label, but for the last bits, which depend on
    the size of the batch.

    Args:
        backbone: such as ``zoo.load`` returns; bare, or in DDP or ``AveragedModel``.
        labels: classes, one for each latent, or what the class conditioner takes: a tensor [B, ...], or a mapping of
            names to such. Left out, all classes in turn; labels that are no class indices must be given.
        steps: updates of the solver.
        count: latents, where ``labels`` are left out; 1 if left out as well.
        solver: the name of an installed one, with its defaults, or one of your own.
        guidance: one scale, or one for every stage, noisiest first; 1 is none. Or as ``sample.guidance`` of a recipe
            says it: ``{"scale": 1.5, "channels": 3}`` guides 3 channels, as the published DiT, SiT and PPFlow do.
        precision: of the matrix products: float32 takes them as the weights are, bfloat16 runs them under autocast.
        seed: of the noise.
        second: another backbone, worse than this one, where ``autoguidance`` asks for other weights.
        registry: the parts to choose solver and guidance from; all installed ones if left out.
        parts: more of them, in no package: classes marked by ``@zoo.part``, or paths of Python files with such.

    Returns:
        Latents [B, C, *size], in float32 or wider.

    Raises:
        PluginError: there is no such solver.
        ZooError: stages have latents of several sizes, and the path does not go between these; or the solver refuses so
            many steps.
        ValueError: labels, steps, guidance or a precision that the backbone cannot take, another module, or what is no
            solver.
    """
    backbone = backbone_in(backbone)
    if next(backbone.parameters()).is_meta:
        raise ValueError("the backbone is on the meta device and has no weights; give one of zoo.load")
    registry = (registry or Registry.installed()).with_parts(parts)
    if isinstance(solver, str):
        entry = registry.get("solver", solver)
        solver = entry.create(entry.signature.options(), {})
    if not isinstance(solver, Solver):
        raise ValueError(f"solver: give a name, such as 'heun', or a zoo.flow.Solver, not {solver!r}")
    for name, value in {"count": 1 if count is None else count, "steps": steps, "seed": seed}.items():
        if not isinstance(value, Integral):
            raise ValueError(f"{name}: give a whole number, not {value!r}")
    if count is not None and (labels is not None or count < 1):
        raise ValueError(f"count: {count}: give 1 or more, and only where labels are left out")
    made = _guidance(guidance, backbone, registry)
    if second is not None and made.second != "weights":
        raise ValueError("second: the guidance asks for no other weights; take guidance={'type': 'autoguidance', ...}")
    if labels is None:
        labels = _in_turn(backbone.conditioner, 1 if count is None else count)
    labels = as_floats(_as_labels(labels), backbone.conditioner.example_labels(1, "meta"))
    return draw_latents(
        backbone,
        solver,
        labels,
        range(length(labels)),
        steps=int(steps),
        guidance=made,
        precision=precision,
        seed=seed,
        second=None if second is None else backbone_in(second),
    )


def draw_latents(
    backbone: Backbone,
    solver: Solver,
    labels: Labels,
    places: Sequence[int],
    *,
    steps: int,
    guidance: Guidance,
    precision: Precision,
    seed: int,
    second: Backbone | None = None,
) -> Float[Tensor, "B C *size"]:
    """Latents of one batch, on the backbone's device: the one way in which zoo draws any.

    Args:
        backbone: whose prediction its path turns into velocities.
        solver: how to get from noise to data.
        labels: what the class conditioner takes, on any device.
        places: of the batch's images among all [B]; their noise is a function of the seed and of these.
        steps: updates of the solver.
        guidance: made for such a backbone; the batch has a copy of it.
        precision: of the matrix products.
        seed: of the noise.
        second: the other backbone, where guidance asks for other weights.
    """
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision: give float32 or bfloat16, not {precision!r}")
    parameter = next(backbone.parameters())
    device = parameter.device
    dtype = torch.promote_types(parameter.dtype, torch.float32)  # of the solver's state: narrower ones add up errors

    def normal(purpose: Purpose, step: int) -> Tensor:
        noise = standard_normal(backbone.latent, seed, purpose, step, places)
        if device.type != "cuda":
            return noise.to(device, dtype)
        # The host does not wait until the GPU has come so far, and makes the noise of the next update meanwhile.
        return noise.pin_memory().to(device, dtype, non_blocking=True)

    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        return solve(
            backbone,
            solver,
            normal(Purpose.SAMPLE, 0),
            move(labels, device),
            steps=steps,
            draw=lambda update: normal(Purpose.SOLVER, update),
            guidance=guidance,
            second=second,
        )


def _as_labels(given: Any) -> Labels:
    """What is given as tensors, with a row for each latent."""
    named = given if isinstance(given, Mapping) else {"": given}
    try:
        tensors = {name: torch.as_tensor(own) for name, own in named.items()}
    except (TypeError, ValueError, RuntimeError) as error:  # words, or lists of several lengths
        raise ValueError(f"labels: give numbers, one for each latent, such as [3, 5], not {given!r}") from error
    if not all(own.ndim and len(own) for own in tensors.values()):
        raise ValueError("labels: give one for each latent, such as [3, 5]")
    return checked(tensors if isinstance(given, Mapping) else tensors[""])


def _in_turn(conditioner: ClassConditioner, count: int) -> Tensor:
    if not conditioner.uses_labels:
        return torch.zeros(count, dtype=torch.int64)
    if isinstance(conditioner, IndexConditioner):
        return conditioner.classes_in_turn(count)
    raise ValueError(
        f"labels: {type(conditioner).__name__} takes labels that are no class indices, of which there are none to draw"
        " in turn; give labels=, one for each latent, such as a dataset's"
    )


def _guidance(given: Any, backbone: Backbone, registry: Registry) -> Guidance:
    spec = part_given("guidance", given, registry)
    try:
        return cast(Guidance, spec.create({"stages": len(backbone.stages), "latent": backbone.latent}))
    except ValueError as error:
        raise ValueError(f"guidance: {error}") from error


def standard_normal(
    latent: tuple[int, ...], seed: int, purpose: Purpose, step: int, places: Sequence[int]
) -> Float[Tensor, "B C *size"]:
    """Noise of the latents at ``places``, each a function of the seed and of its place; float32, on the CPU."""
    drawn = [generator_at(seed, purpose, step, place).standard_normal(latent, dtype=np.float32) for place in places]
    return torch.from_numpy(np.stack(drawn))
