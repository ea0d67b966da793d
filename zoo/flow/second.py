"""What makes another backbone one to guide by."""

from __future__ import annotations

from zoo.backbone import Backbone
from zoo.parts import IndexConditioner

PROBED = (0.25, 0.5, 0.75)
"""Noise levels at which two paths are compared."""


def check_second(backbone: Backbone, second: Backbone) -> None:
    """Refuse a backbone whose velocities say nothing of another's.

    Raises:
        ValueError: it has other latents, labels or noise levels.
    """
    if second.latent != backbone.latent:
        raise ValueError(
            f"its latents are {_words(second)}, and those that are drawn {_words(backbone)}; take weights of such"
        )
    if any(second.path.at(t) != backbone.path.at(t) for t in PROBED) or _segments(second) != _segments(backbone):
        raise ValueError(
            "it has learned another path from data to noise; its noise levels mean something else; take weights of"
            " the same"
        )
    own, other = backbone.conditioner, second.conditioner
    if not other.uses_labels:
        return
    if isinstance(own, IndexConditioner) and isinstance(other, IndexConditioner):
        if own.num_classes != other.num_classes:
            raise ValueError(
                f"it has {other.num_classes} classes, and what is drawn {own.num_classes}; take weights of as many"
            )
    elif type(own) is not type(other):
        raise ValueError(
            f"it takes labels as {type(other).__name__} does, and what is drawn as {type(own).__name__}; take"
            " weights of the same"
        )


def _segments(backbone: Backbone) -> list[tuple[object, ...]]:
    """Range and scale of each stage, where the path goes in segments."""
    path, stages = backbone.path, range(len(backbone.stages))
    if all(path.range(stage) == (0.0, 1.0) for stage in stages):
        return []
    return [(path.range(stage), backbone.stages[stage].scale) for stage in stages]


def _words(backbone: Backbone) -> str:
    return " x ".join(map(str, backbone.latent))
