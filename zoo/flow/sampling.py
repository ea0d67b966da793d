"""From noise to latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.backbone import Backbone
from zoo.errors import ZooError, words_of
from zoo.flow.base import Draw, Guidance, Solver
from zoo.flow.guided_velocity import MODULATION_BYTES, GuidedVelocity
from zoo.labels import Labels
from zoo.signature import MARK


@torch.no_grad()
def sample(
    backbone: Backbone,
    solver: Solver,
    noise: Float[Tensor, "B C *size"],
    labels: Labels | None,
    *,
    steps: int,
    draw: Draw,
    guidance: Guidance | None = None,
    modulation_bytes: int = MODULATION_BYTES,
    second: Backbone | None = None,
) -> Float[Tensor, "B C *size"]:
    """Turn noise into latents, as the backbone sees them.

    Args:
        backbone: predicts velocities, or what its path turns into such.
        solver: how to get from noise to data.
        noise: standard normal [B, C, *size], on the backbone's device; its dtype is that of the solver's state.
        labels: what the class conditioner takes; None if it is unconditional.
        steps: updates of the solver.
        draw: noise of update k, for solvers that add some.
        guidance: made for such a backbone; none if left out.
        modulation_bytes: memory that modulations computed ahead may take.
        second: the other backbone, where guidance asks for other weights.

    Raises:
        ZooError: stages have latents of several sizes, guidance remembers what an adaptive solver takes back, or
            the solver refuses so many steps.
        ValueError: noise, labels or steps that the backbone cannot take, or guidance by labels that it has
            not, or by another backbone that does not fit.
    """
    if backbone.has_scales:
        raise ZooError(
            "backbone.patch_schedule: a stage has a scale, and no path draws latents of several sizes yet; leave it out"
        )
    if steps < 1:
        raise ValueError(f"steps: must be at least 1, not {steps}")
    backbone.check_inputs(noise, noise.new_ones(len(noise)), labels)
    levels = solver_levels(solver, steps)
    check_memory(solver, steps, guidance)
    velocity = GuidedVelocity(backbone, noise, labels, guidance, levels or (), modulation_bytes, second)
    path = backbone.path
    z = solver.solve(velocity, noise, steps, path, draw, jumps(backbone, guidance, second))
    scale = path.at(0.0).alpha
    return z if scale == 1.0 else z / scale


def solver_levels(solver: Solver, steps: int, where: str = "") -> tuple[float, ...] | None:
    """What ``solver.levels`` tells; ``where`` stands in front of an error, such as the recipe.

    Raises:
        ZooError: the solver refuses so many steps, such as an odd number where it takes them by twos.
    """
    try:
        return solver.levels(steps)
    except ValueError as error:
        name = vars(type(solver)).get(MARK, ("", type(solver).__qualname__))[1]
        said = words_of(error) or "it says not why"
        raise ZooError(f"{where}sample.steps: solver {name} refuses {steps}: {said}") from error


def check_memory(solver: Solver, steps: int, guidance: Guidance | None) -> None:
    """Refuse guidance that remembers, beside a solver that takes steps back.

    Raises:
        ZooError: they do not go together, or the solver refuses so many steps.
    """
    if guidance is not None and guidance.remembers and not guidance.is_none and solver_levels(solver, steps) is None:
        raise ZooError(
            "sample.guidance: keeps what it has seen, and an adaptive solver takes steps back; choose another solver,"
            " or guidance without memory (apg has none by momentum 0)"
        )


def jumps(backbone: Backbone, guidance: Guidance | None, second: Backbone | None = None) -> Sequence[float]:
    """Noise levels inside (0, 1), noisiest first, where the velocity is not smooth: stages, also those of
    the second backbone, and guidance change."""
    both = [backbone] if second is None else [backbone, second]
    levels = {stage.noise_above for each in both for stage in each.stages[:-1]}
    if guidance is not None:
        levels.update(guidance.thresholds)
    return sorted(levels - {0.0, 1.0}, reverse=True)
