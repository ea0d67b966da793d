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
from zoo.flow.passes import Passes, evaluations
from zoo.flow.segments import check_sizes, segments_of
from zoo.inputs import check_whole
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
        ZooError: stages have latents of several sizes, and the path does not go between these; guidance remembers what
            an adaptive solver takes back; the solver refuses so many steps, or adds noise on a path of segments.
        ValueError: noise, labels or steps that the backbone cannot take, or guidance by labels that it has
            not, or by another backbone that does not fit.
    """
    if steps < 1:
        raise ValueError(f"steps: must be at least 1, not {steps}")
    check_sizes(backbone)
    segments, path = segments_of(backbone, steps), backbone.path
    check_whole(backbone, noise, noise.new_ones(len(noise)), labels)
    check_memory(solver, steps, guidance)
    z, thresholds = path.begin(noise), jumps(backbone, guidance, second)
    for number, segment in enumerate(segments):
        if number:
            z = path.jump(segment.first, z, draw(steps + number))
        levels = solver_levels(solver, segment.steps)
        velocity = GuidedVelocity(
            backbone, z, labels, guidance, levels or (), modulation_bytes, second, segment=segment
        )
        inside = [segment.own_time(t) for t in thresholds if segment.low < t < segment.high]
        z = solver.solve(velocity, z, segment.steps, path, draw if len(segments) == 1 else _refused, inside)
    scale = path.at(0.0).alpha
    return z if scale == 1.0 else z / scale


def _refused(update: int) -> Tensor:
    """In place of noise: a solver that adds some goes by the score, which a segment's velocity does not tell."""
    raise ZooError(
        "sample.solver: adds noise, and where objective.path goes in segments no velocity tells of how much; take one"
        " that adds none, such as euler or heun"
    )


def check_solver(backbone: Backbone, solver: Solver, steps: int, where: str = "") -> None:
    """Refuse a solver that cannot go along the path of a backbone; ``where`` stands in front of an error.

    Raises:
        ZooError: there are too few steps or the solver refuses so many, or it adds noise on a path of segments.
    """
    segments = segments_of(backbone, steps)
    for segment in segments:
        solver_levels(solver, segment.steps, where)
        if len(segments) > 1:
            try:
                solver.solve(
                    lambda z, u: torch.zeros_like(z), torch.zeros(1, 1), segment.steps, backbone.path, _refused
                )
            except ZooError as error:
                raise ZooError(f"{where}{error}") from error


def passes_of(
    backbone: Backbone, solver: Solver, steps: int, guidance: Guidance | None, where: str = ""
) -> tuple[Passes, ...] | None:
    """Passes of one image through every stage, noisiest first; None where they depend on the data.

    Args:
        backbone: whose stages and path they go through.
        solver: how to get from noise to data.
        steps: updates of the solver.
        guidance: where the pass without label is needed; nowhere if left out.
        where: stands in front of an error, such as the recipe.

    Raises:
        ZooError: the solver refuses so many steps.
    """
    found = []
    for segment in segments_of(backbone, steps):
        levels = solver_levels(solver, segment.steps, where)
        if levels is None:
            return None
        found.append(evaluations(levels, backbone.stages, backbone.ties, guidance, segment))
    return tuple(Passes(*map(sum, zip(*each, strict=True))) for each in zip(*found, strict=True))


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
