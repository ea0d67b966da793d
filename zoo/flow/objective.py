"""The objective of flow matching, as the algorithm box has it (SiT, arXiv 2401.08740, section 2).

Draw data, noise and a noise level t; drop the label now and then; and pull the velocity at
``z = (1 - t) data + t noise`` towards ``noise - data``.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from zoo.flow.precision import clock_dtype
from zoo.labels import Labels


def interpolate(
    data: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."], t: Float[Tensor, " B"]
) -> Float[Tensor, "B ..."]:
    """``(1 - t) data + t noise``, in the dtype of the data."""
    t = _like(t, data)
    return ((1 - t) * data + t * noise).to(data.dtype)


def target(data: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
    """The velocity ``noise - data`` of the straight line from data to noise."""
    return noise - data


def velocity_errors(
    backbone: Callable[..., Tensor],
    data: Float[Tensor, "B C *size"],
    noise: Float[Tensor, "B C *size"],
    t: Float[Tensor, " B"],
    labels: Labels | None = None,
    scores: Float[Tensor, "B N"] | None = None,
) -> Float[Tensor, " B"]:
    """Mean squared error of the predicted velocity, of every sample; in float32 or wider, also under autocast.

    Args:
        backbone: ``(latents, t, labels, scores) -> velocity``, such as a ``Backbone`` or what DDP makes of it; called
            without scores where there are none.
        data: latents [B, C, *size].
        noise: standard normal [B, C, *size].
        t: noise levels [B].
        labels: what the class conditioner takes, some of them dropped.
        scores: what the router takes.
    """
    velocity = backbone(interpolate(data, noise, t), t, labels, *([] if scores is None else [scores]))
    wide = clock_dtype(data.dtype)
    error = velocity.to(wide) - target(data.to(wide), noise.to(wide))
    return error.square().flatten(1).mean(dim=1)


def _like(values: Tensor, samples: Tensor) -> Tensor:
    """Values [B] as [B, 1, ...], to go with samples [B, ...]."""
    return values.view(-1, *[1] * (samples.ndim - 1))
