"""What is read of an evaluation that may be anyone's, and which others it is like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from zoo.checkpoint_folders import PREFIX

GENERATED, HELD_OUT = "generated", "held-out real"
"""What figures are of, besides controls."""
REAL = "real"
"""In counts, the images that all others are compared with."""


class _Read(BaseModel):
    model_config = ConfigDict(strict=True)


class _Part(_Read):
    type: str


class _Sample(_Read):
    solver: _Part
    steps: int
    guidance: _Part


class _Evaluate(_Read):
    features: _Part
    metrics: list[_Part]
    reference: str


class _Drawing(_Read):
    images_per_second: FiniteFloat


class Judged(_Read):
    """An evaluation as it was written, as far as pages and tables read it."""

    figures: dict[str, dict[str, FiniteFloat]]
    counts: dict[str, int]
    checkpoint: Annotated[str, Field(pattern=rf"^{PREFIX}\d{{1,15}}$")]
    weights: str
    weights_sha256: str
    sample: _Sample
    evaluate: _Evaluate
    data: dict[str, Any]
    drawing: _Drawing
    libraries: dict[str, str]
    doubts: list[str]
    seed: int
    zoo: str

    @model_validator(mode="after")
    def _all_are_counted(self) -> Self:
        if not {REAL, *self.figures} <= self.counts.keys() or not self.figures.get(GENERATED):
            raise ValueError("figures of images that were not counted, or none")
        return self


def way_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """What figures depend on besides the numbers of the weights, of an evaluation's record.

    Figures of other ways cannot be compared; one of the same way and weights takes the place of another.
    """
    data = {key: value for key, value in (found.get("data") or {}).items() if key != "workers"}
    keys = ("weights", "second_weights", "sample", "evaluate", "seed", "features", "classifier", "real_data")
    return {**{key: found.get(key) for key in keys}, "data": data}
