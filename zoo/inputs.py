"""What goes into a backbone, and how it is refused, in one line that says what was expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.labels import checked

if TYPE_CHECKING:
    from zoo.backbone import Backbone


def check_inputs(backbone: Backbone, latents: object, t: object, labels: object) -> None:
    """Refuse what ``Backbone.forward`` cannot take. Looking at noise levels and labels waits for the device.

    Raises:
        ValueError: wrong shapes or types, an empty batch, noise levels outside [0, 1], labels out of range, or stages
            whose latents have a size of their own.
    """
    for stage in range(len(backbone.stages)):
        if backbone.latent_of(stage) != backbone.latent:
            own = ", ".join(map(str, backbone.latent_of(stage)))
            raise ValueError(f"stage {stage} has latents [B, {own}] of its own size: call forward_stage")
    latents, t = _tensor("latents", latents), _tensor("t", t)
    labels = None if labels is None else checked(labels)
    expected = ", ".join(map(str, backbone.latent))
    if latents.ndim < 2 or tuple(latents.shape[1:]) != backbone.latent or not len(latents):
        raise ValueError(f"latents: must have shape [B, {expected}] with B >= 1, got {list(latents.shape)}")
    if not latents.is_floating_point():
        raise ValueError(f"latents: must be floating point, got {latents.dtype}")
    if tuple(t.shape) != (len(latents),):
        raise ValueError(f"t: must have shape [{len(latents)}] as the latents, got {list(t.shape)}")
    if not t.is_floating_point():
        raise ValueError(f"t: must be floating point noise levels in [0, 1], got {t.dtype}")
    if torch.compiler.is_compiling() or t.is_meta:  # no values to look at
        return
    outside = ~((t >= 0) & (t <= 1))
    if outside.any():
        first = int(outside.nonzero()[0])
        raise ValueError(
            f"t: noise levels lie in [0, 1] (0 = data, 1 = pure noise), but t[{first}] is {float(t[first])}"
        )
    backbone.conditioner.check_labels(labels, len(latents))


def _tensor(name: str, given: object) -> Tensor:
    if not isinstance(given, Tensor):
        raise ValueError(f"{name}: must be a tensor with a row for each sample, got {type(given).__name__}")
    return given
