"""Checkpoint layouts of published code. Facts about names and axes; none of that code is here."""

from __future__ import annotations

from zoo.hookspecs import hookimpl
from zoo.weights.published.dit import DiT, SiT
from zoo.weights.published.format import Tensors, WeightFormat
from zoo.weights.published.layout import Entry, Turn
from zoo.weights.published.mpdit import MPDiT, MPDiTv2
from zoo.weights.published.ppflow import PPFlow

__all__ = ["Entry", "Tensors", "Turn", "WeightFormat", "zoo_weight_formats"]


@hookimpl
def zoo_weight_formats() -> list[type]:
    """The built-in ones, the most particular first: of PPFlow's keys some are SiT's, and SiT's are all DiT's."""
    return [MPDiTv2, MPDiT, PPFlow, SiT, DiT]
