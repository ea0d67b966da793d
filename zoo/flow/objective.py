"""The objective, as the algorithm box has it (SiT, arXiv 2401.08740, section 2; DDPM, arXiv 2006.11239, algorithm 1).

Draw data, noise and a noise level t; drop the label now and then; and pull the prediction at the path's
``z = alpha(t) data + sigma(t) noise`` towards what it should be: the velocity, the noise or the data.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from zoo.flow.precision import clock_dtype
from zoo.labels import Labels
from zoo.paths import AffinePath, Prediction


def prediction_errors(
    backbone: Callable[..., Tensor],
    path: AffinePath,
    prediction: Prediction,
    data: Float[Tensor, "B C *size"],
    noise: Float[Tensor, "B C *size"],
    t: Float[Tensor, " B"],
    labels: Labels | None = None,
    scores: Float[Tensor, "B N"] | None = None,
) -> Float[Tensor, " B"]:
    """Mean squared error of what is predicted, of every sample; in float32 or wider, also under autocast.

    Args:
        backbone: ``(latents, t, labels, scores) -> prediction``, such as a ``Backbone`` or what DDP makes of it; called
            without scores where there are none.
        path: from data to noise.
        prediction: what the backbone predicts, in whose own space the error is.
        data: latents [B, C, *size].
        noise: standard normal [B, C, *size].
        t: noise levels [B].
        labels: what the class conditioner takes, some of them dropped.
        scores: what the router takes.
    """
    mixture, wide = path.along(t, data), clock_dtype(data.dtype)
    z = mixture.state(data, noise).to(data.dtype)
    predicted = backbone(z, t, labels, *([] if scores is None else [scores]))
    error = predicted.to(wide) - mixture.target(prediction, data.to(wide), noise.to(wide))
    return error.square().flatten(1).mean(dim=1)
