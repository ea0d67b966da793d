"""The kinds of parts: one record each. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A role that parts fill.

    Attributes:
        section: the recipe's section that holds the part, under ``key_of`` the kind; None where only parts hold it,
            under options of their own.
        supplied: what zoo supplies to the part's constructor; a part may ask for any of these.
        base: where the base class is, as ``module:name``.
        default: the part of a recipe that leaves the kind out; None where a recipe must choose, and where only other
            parts hold the kind, which say their own.
        many: the plural, under which a recipe holds a list of parts; None where it holds one.
        beside: keys that stand next to ``type`` in a list of parts of the kind, and are no options of theirs.
        defaults: where there are several, those of a recipe that leaves them out: zoo's own, so that a recipe means the
            same whatever is installed.
    """

    section: str | None
    supplied: tuple[str, ...]
    base: str
    default: str | None = None
    many: str | None = None
    defaults: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "patch_schedule": Kind("backbone", ("depth",), "zoo.parts:PatchSchedule", None),
    "patch_embedder": Kind("backbone", ("dim", "channels", "patch"), "zoo.parts:PatchEmbedder", "linear"),
    "position": Kind(
        "backbone", ("dim", "heads", "grid", "patch", "finest_patch"), "zoo.parts:PositionEmbedding", "sincos"
    ),
    "time_embedder": Kind("backbone", ("dim",), "zoo.parts:TimeEmbedder", "sinusoidal"),
    "class_conditioner": Kind("backbone", ("dim", "num_classes"), "zoo.parts:ClassConditioner", "embedding"),
    "modulation": Kind("backbone", ("dim", "depth"), "zoo.parts:Modulation", "adaln_zero"),
    "block": Kind("backbone", ("dim", "heads", "depth", "index"), "zoo.parts:Block", "dit", beside=("blocks",)),
    "upsampler": Kind("backbone", ("dim", "coarse_patch", "fine_patch"), "zoo.parts:Upsampler", "linear_linear"),
    "stage_embedder": Kind("backbone", ("dim", "stages"), "zoo.parts:StageEmbedder", "none"),
    "head": Kind("backbone", ("dim", "channels", "patch"), "zoo.parts:Head", "linear"),
    "attention": Kind(None, ("dim", "heads", "axes", "condition_dim"), "zoo.parts:Attention"),
    "mlp": Kind(None, ("dim", "axes"), "zoo.parts:MLP"),
    "norm": Kind(None, ("dim",), "zoo.parts:Norm"),
    "noise_sampler": Kind("objective", (), "zoo.flow:NoiseSampler", "uniform"),
    "weighting": Kind("objective", (), "zoo.flow:Weighting", "uniform"),
    "dataset": Kind("data", ("channels", "size", "num_classes"), "zoo.data:Dataset", "digits"),
    "normalize": Kind("data", ("channels",), "zoo.data:Normalize", "none"),
    "solver": Kind("sample", (), "zoo.flow:Solver", "euler"),
    "features": Kind("evaluate", (), "zoo.evaluate:Features", "pca"),
    "metric": Kind(
        "evaluate",
        (),
        "zoo.evaluate:Metric",
        None,
        many="metrics",
        defaults=("accuracy", "diversity", "fid", "inception_score", "novelty", "precision_recall", "sfid"),
    ),
}
"""Every kind, by the name that recipes use. Defaults are DiT's, MPDiT's upsampler, and the plainest way to train."""

SECTIONS = tuple(dict.fromkeys(kind.section for kind in KINDS.values() if kind.section))


def kinds_of(section: str) -> tuple[str, ...]:
    """Names of the kinds whose parts stand in a section of the recipe."""
    return tuple(name for name, kind in KINDS.items() if kind.section == section)


def key_of(name: str) -> str:
    """The key of a kind in its section: its name, or the plural where a recipe holds several."""
    return KINDS[name].many or name


def path_of(name: str) -> tuple[str, str]:
    """Section and key of a kind whose parts stand in a section."""
    section = KINDS[name].section
    assert section is not None, f"a {name} stands in parts alone"
    return section, key_of(name)


def kind_at(section: str, key: str) -> str | None:
    """The kind whose parts stand under ``section.key``; None where that is no part's place."""
    return next((name for name in kinds_of(section) if key_of(name) == key), None)


def base_of(name: str) -> type[Any]:
    """The base class of a kind; imports its module."""
    module, base = KINDS[name].base.split(":")
    found: type[Any] = getattr(import_module(module), base)
    return found


def kind_of_base(cls: object) -> str | None:
    """The kind that a class is the base class of, if it is one."""
    name_of_class = getattr(cls, "__name__", "")
    alike = (name for name, kind in KINDS.items() if kind.base.endswith(f":{name_of_class}"))
    return next((name for name in alike if base_of(name) is cls), None)


BACKBONE_KINDS = kinds_of("backbone")
