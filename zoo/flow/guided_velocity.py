"""The velocity that a solver follows: the backbone's, guided."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.backbone import Backbone
from zoo.flow.guidance import Guidance
from zoo.flow.modulation_table import ModulationTable, distinct_labels
from zoo.flow.precision import clock_dtype
from zoo.labels import Labels, join

MODULATION_BYTES = 512 * 2**20
"""Memory that modulations computed ahead may take, unless told otherwise."""


class GuidedVelocity:
    """``velocity(z, t)`` of a batch at one noise level, for solvers.

    Calls the one stage that t is in, as ``Backbone.stage_of`` sees it beside latents of this dtype. Where guidance
    applies, samples with and without their labels go through it together, as one batch of 2 B.

    Args:
        backbone: predicts in the dtype of its parameters; the velocity that this stands for has the dtype of z.
        noise: the batch [B, C, *size] that sampling starts from.
        labels: what the class conditioner takes; None if it is unconditional.
        guidance: scale for each stage; none if left out.
        levels: noise levels that the solver will ask for, in that order, so that their modulations can be computed
            ahead; others may be asked for as well.
        modulation_bytes: memory that these modulations may take.

    Raises:
        ValueError: guidance does not fit the backbone.
    """

    def __init__(
        self,
        backbone: Backbone,
        noise: Float[Tensor, "B C *size"],
        labels: Labels | None,
        guidance: Guidance | None = None,
        levels: Sequence[float] = (),
        modulation_bytes: int = MODULATION_BYTES,
    ) -> None:
        self.backbone = backbone
        self.guidance = guidance or Guidance.of(1.0, len(backbone.stages))
        self.clock = clock_dtype(noise.dtype)
        self.dtype = next((each.dtype for each in backbone.parameters()), noise.dtype)
        self.labels: dict[bool, Labels | None] = {False: labels}
        if not self.guidance.is_none:
            _check(backbone, labels, self.guidance)
            assert labels is not None
            self.labels[True] = join([labels, backbone.conditioner.null(labels)])
        self.tables = self._tables(levels, noise, modulation_bytes)

    def __call__(self, z: Float[Tensor, "B C *size"], t: float) -> Float[Tensor, "B C *size"]:
        """The velocity of a batch z at noise level t."""
        stage = self.stage_of(t)
        scale = self.guidance.scale_at(stage, t)
        guided = scale != 1.0
        latents = (torch.cat([z, z]) if guided else z).to(self.dtype)
        table = self.tables.get((stage, guided))
        modulation = table.at(t) if table is not None and t in table.place else None
        levels = torch.full((len(latents),), t, dtype=self.clock, device=z.device)
        predicted = self.backbone.forward_stage(stage, latents, levels, self.labels[guided], modulation).to(z.dtype)
        if (
            guided
        ):  # of predictions or of the velocities that they stand for: the same, since one is linear in the other
            c, u = predicted.chunk(2)
            predicted = _joined(c, u, scale, self.guidance.channels)
        if self.backbone.prediction == "velocity":
            return predicted
        return self.backbone.path.at(t).velocity_from(self.backbone.prediction, predicted, z)

    def stage_of(self, t: float) -> int:
        """The stage that noise level t is in."""
        # On the CPU, where asking for the value waits for no device.
        return int(self.backbone.stage_of(torch.tensor([t], dtype=self.clock)))

    def _tables(
        self, levels: Sequence[float], noise: Tensor, modulation_bytes: int
    ) -> dict[tuple[int, bool], ModulationTable]:
        """A table for each stage, and for its levels with guidance and without."""
        places: dict[tuple[int, bool], list[float]] = {}
        for t in dict.fromkeys(levels):
            stage = self.stage_of(t)
            places.setdefault((stage, self.guidance.scale_at(stage, t) != 1.0), []).append(t)
        if not places:
            return {}
        batch = len(noise)
        labels = {
            guided: distinct_labels(self.backbone, given, batch * 2 if guided else batch, noise.device)
            for guided, given in self.labels.items()
        }
        limit = modulation_bytes // len(places)
        return {
            (stage, guided): ModulationTable(self.backbone, stage, own, labels[guided], self.clock, limit)
            for (stage, guided), own in places.items()
        }


def _joined(c: Tensor, u: Tensor, scale: float, channels: int | None) -> Tensor:
    """Predictions with labels and without, guided in the first so many channels."""
    if channels is None:
        return u + scale * (c - u)
    k = channels
    return torch.cat([u[:, :k] + scale * (c[:, :k] - u[:, :k]), c[:, k:]], dim=1)


def _check(backbone: Backbone, labels: Labels | None, guidance: Guidance) -> None:
    stages, channels = len(backbone.stages), backbone.latent[0]
    if len(guidance.scales) != stages:
        given = f"{len(guidance.scales)} scales for {stages} stage{'s' * (stages != 1)}"
        raise ValueError(f"guidance: {given}; give one for every stage")
    if guidance.channels is not None and guidance.channels > channels:
        raise ValueError(f"guidance: {guidance.channels} channels to guide, but the latents have {channels}")
    if not backbone.conditioner.uses_labels:
        raise ValueError("guidance: the backbone is unconditional, there is nothing to guide; set the scale to 1")
