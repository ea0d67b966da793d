"""Checkpoint layouts of published code. Facts about names and axes; none of that code is here."""

from __future__ import annotations

from collections.abc import Collection

from zoo.weights.published.base import PublishedFormat, Tensors
from zoo.weights.published.dit import DiT, SiT
from zoo.weights.published.layout import Entry
from zoo.weights.published.mpdit import MPDiT, MPDiTv2
from zoo.weights.published.ppflow import PPFlow

FORMATS: dict[str, PublishedFormat] = {each.name: each for each in (MPDiTv2(), MPDiT(), PPFlow(), SiT(), DiT())}
"""By name, the most particular first: of PPFlow's keys some are SiT's, and SiT's are all DiT's."""


def recognised(keys: Collection[str]) -> list[str]:
    """The formats that these keys may be of: one, none, or SiT and DiT, which nothing tells apart."""
    names = [name for name, each in FORMATS.items() if each.recognises(keys)]
    return names if names[:1] == ["sit"] else names[:1]


__all__ = ["FORMATS", "Entry", "PublishedFormat", "Tensors", "recognised"]
