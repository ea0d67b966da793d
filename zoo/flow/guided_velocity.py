"""The velocity that a solver follows: the backbone's, guided."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.backbone import Backbone
from zoo.flow.base import Guidance
from zoo.flow.modulation_table import ModulationTable, distinct_labels
from zoo.flow.precision import clock_dtype
from zoo.flow.second import check_second
from zoo.flow.segments import Segment, whole
from zoo.labels import Labels, join

MODULATION_BYTES = 512 * 2**20
"""Memory that modulations computed ahead may take, unless told otherwise."""


class GuidedVelocity:
    """``velocity(z, u)`` of a batch at one time of a segment of the path, for solvers: the noise level, unless the path
    goes in several.

    Calls the one stage of the segment that its noise level is in, as ``Backbone.stage_of`` sees it beside latents of
    this dtype. Where guidance needs the velocity without label, samples with and without their labels go through it
    together, as one batch of 2 B.

    Args:
        backbone: predicts in the dtype of its parameters; the velocity that this stands for has the dtype of z.
        noise: the batch [B, C, *size] that the segment starts from.
        labels: what the class conditioner takes; None if it is unconditional.
        guidance: made for such a backbone; none if left out. It stays as it is: the batch has a copy.
        levels: times that the solver will ask for, in that order, so that their modulations can be computed ahead;
            others may be asked for as well.
        modulation_bytes: memory that these modulations may take.
        second: the other backbone, where guidance asks for other weights.
        segment: that is solved; the whole path if left out.

    Raises:
        ValueError: there is guidance by labels, and the backbone is unconditional; or by other weights, and there are
            none, or they do not fit.
    """

    def __init__(
        self,
        backbone: Backbone,
        noise: Float[Tensor, "B C *size"],
        labels: Labels | None,
        guidance: Guidance | None = None,
        levels: Sequence[float] = (),
        modulation_bytes: int = MODULATION_BYTES,
        second: Backbone | None = None,
        segment: Segment | None = None,
    ) -> None:
        self.backbone, self.segment = backbone, segment or whole(backbone)
        self.guidance = None if guidance is None or guidance.is_none else deepcopy(guidance)
        self.clock = clock_dtype(noise.dtype)
        self.dtype = next((each.dtype for each in backbone.parameters()), noise.dtype)
        self.labels: dict[bool, Labels | None] = {False: labels}
        if self.guidance is not None and self.guidance.second == "null":
            if not backbone.conditioner.uses_labels:
                raise ValueError("guidance: the backbone is unconditional, there is nothing to guide; set it to 1")
            assert labels is not None
            self.labels[True] = join([labels, backbone.conditioner.null(labels)])
        self.second: GuidedVelocity | None = None
        if self.guidance is not None and self.guidance.second == "weights":
            if second is None:
                raise ValueError("guidance: needs a second backbone to guide by; give it as second=zoo.load(...)")
            check_second(backbone, second)
            modulation_bytes //= 2
            guided = [u for u in levels if self._scale(self.guidance, u) != 1.0]
            # On a path of segments both have the same stages; where one segment is the whole, they need not.
            own = None if self.segment.is_whole else segment
            self.second = GuidedVelocity(second, noise, labels, None, guided, modulation_bytes, segment=own)
        self.tables = self._tables([self.segment.noise_level(u) for u in levels], noise, modulation_bytes)

    def __call__(self, z: Float[Tensor, "B C *size"], u: float) -> Float[Tensor, "B C *size"]:
        """The velocity of a batch z at a time of the segment."""
        t = self.segment.noise_level(u)
        stage = self.stage_of(t)
        if self.guidance is None or self.guidance.scale(stage, t) == 1.0:
            return self._velocity(z, stage, u, doubled=False)
        second: Tensor | None = None
        if self.guidance.second == "null":
            first, second = self._velocity(torch.cat([z, z]), stage, u, doubled=True).chunk(2)
        else:
            first = self._velocity(z, stage, u, doubled=False)
        if self.second is not None:
            second = self.second(z, u)
        return self.guidance.join(stage, t, first, second, z, self.backbone.path.of_stage(stage))

    def _velocity(self, z: Tensor, stage: int, u: float, *, doubled: bool) -> Tensor:
        """Velocities at z, which has samples with their labels, and after them without if ``doubled``."""
        t = self.segment.noise_level(u)
        table = self.tables.get((stage, doubled))
        modulation = table.at(t) if table is not None and t in table.place else None
        levels = torch.full((len(z),), t, dtype=self.clock, device=z.device)
        labels = self.labels[doubled]
        predicted = self.backbone.forward_stage(stage, z.to(self.dtype), levels, labels, modulation).to(z.dtype)
        if self.backbone.prediction == "velocity":
            return predicted
        return self.backbone.path.at(u).velocity_from(self.backbone.prediction, predicted, z)

    def stage_of(self, t: float) -> int:
        """The stage of the segment that noise level t is in."""
        # On the CPU, where asking for the value waits for no device.
        found = int(self.backbone.stage_of(torch.tensor([t], dtype=self.clock)))
        return min(max(found, self.segment.first), self.segment.last)

    def _scale(self, guidance: Guidance, u: float) -> float:
        t = self.segment.noise_level(u)
        return guidance.scale(self.stage_of(t), t)

    def _tables(
        self, levels: Sequence[float], noise: Tensor, modulation_bytes: int
    ) -> dict[tuple[int, bool], ModulationTable]:
        """A table for each stage, and for its levels where the velocity without label is needed and where not."""
        places: dict[tuple[int, bool], list[float]] = {}
        for t in dict.fromkeys(levels):
            stage = self.stage_of(t)
            doubled = True in self.labels and self.guidance is not None and self.guidance.scale(stage, t) != 1.0
            places.setdefault((stage, doubled), []).append(t)
        if not places:
            return {}
        batch = len(noise)
        labels = {
            doubled: distinct_labels(self.backbone, given, batch * 2 if doubled else batch, noise.device)
            for doubled, given in self.labels.items()
        }
        limit = modulation_bytes // len(places)
        return {
            (stage, doubled): ModulationTable(self.backbone, stage, own, labels[doubled], self.clock, limit)
            for (stage, doubled), own in places.items()
        }
