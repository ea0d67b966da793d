"""The kinds of parts: one record each, which says all that zoo needs to know of a kind. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A role that parts fill.

    Attributes:
        section: the recipe's section that holds the part, under ``key_of`` the kind; None for kinds that live inside
            other parts.
        per: what there is one of each for: an enumerator in ``zoo.sites``.
        supplied: what of a site is supplied to the part's constructor, which may ask for any of it.
        base: where the base class is, as ``module:name``.
        default: the part of a recipe that leaves the kind out; None where a recipe must choose.
        after: kinds that are built before, since the sites tell of them.
        where: the Backbone's attribute that holds them; None for kinds without a forward pass.
        beside: what a recipe may say next to the part's ``type``.
        laws: the module of ``zoo.testing`` that knows what goes in and must come out; ``of_kind.NAME`` if left out.
        many: the plural, under which a recipe holds a list of parts; None where it holds one.
        defaults: where there are several, those of a recipe that leaves them out: zoo's own, so that a recipe means the
            same whatever is installed.
        may_be_none: whether that list may be empty.
        short: the option that a number, or a list, stands for where a recipe has one in place of the part.
    """

    section: str | None
    per: str
    supplied: tuple[str, ...]
    base: str
    default: str | None = None
    after: tuple[str, ...] = ()
    where: str | None = None
    beside: tuple[str, ...] = ()
    laws: str = ""
    many: str | None = None
    defaults: tuple[str, ...] = ()
    may_be_none: bool = False
    short: str = ""

    @property
    def has_forward(self) -> bool:
        """Whether its parts are modules, in a backbone or in other parts."""
        return self.where is not None or self.section is None


KINDS: Mapping[str, Kind] = {
    "patch_schedule": Kind("backbone", "assembly", ("depth", "axes"), "zoo.parts:PatchSchedule", None),
    "patch_embedder": Kind(
        "backbone",
        "starts",
        ("dim", "channels", "patch", "axes"),
        "zoo.parts:PatchEmbedder",
        "linear",
        after=("skip",),
        where="patch_embedders",
    ),
    "position": Kind(
        "backbone",
        "levels",
        ("dim", "heads", "grid", "patch", "stride", "m", "axes"),
        "zoo.parts:PositionEmbedding",
        "sincos",
        after=("class_conditioner", "modulation"),
        where="positions",
    ),
    "time_embedder": Kind(
        "backbone", "widths", ("dim",), "zoo.parts:TimeEmbedder", "sinusoidal", where="time_embedder"
    ),
    "class_conditioner": Kind(
        "backbone",
        "widths",
        ("dim", "num_classes"),
        "zoo.parts:ClassConditioner",
        "embedding",
        where="class_conditioner",
    ),
    "stage_embedder": Kind(
        "backbone", "widths", ("dim", "stages"), "zoo.parts:StageEmbedder", "none", where="stage_embedder"
    ),
    "modulation": Kind(
        "backbone",
        "assembly",
        ("blocks", "heads_by_width", "has_label", "widths"),
        "zoo.parts:Modulation",
        "adaln_zero",
        after=("class_conditioner", "block", "head"),
        where="modulation",
    ),
    "block": Kind(
        "backbone",
        "blocks",
        ("dim", "heads", "condition_dim", "depth", "index", "places", "axes"),
        "zoo.parts:Block",
        "dit",
        where="blocks",
        beside=("blocks",),
    ),
    "upsampler": Kind(
        "backbone",
        "ups",
        ("dim", "next_dim", "kept_dim", "patch", "next_patch", "axes"),
        "zoo.parts:Upsampler",
        "linear_linear",
        where="upsamplers",
    ),
    "downsampler": Kind(
        "backbone",
        "downs",
        ("dim", "next_dim", "patch", "next_patch", "axes"),
        "zoo.parts:Downsampler",
        "linear",
        where="downsamplers",
    ),
    "skip": Kind("backbone", "ups", ("next_dim", "kept_dim", "axes"), "zoo.parts:Skip", "linear", where="skips"),
    "head": Kind("backbone", "ends", ("dim", "channels", "patch", "axes"), "zoo.parts:Head", "linear", where="heads"),
    "router": Kind("backbone", "assembly", ("depth", "block_dims"), "zoo.parts:Router", "none", where="router"),
    "attention": Kind(None, "blocks", ("dim", "heads", "axes", "condition_dim"), "zoo.parts:Attention"),
    "mlp": Kind(None, "blocks", ("dim", "axes"), "zoo.parts:MLP"),
    "norm": Kind(None, "blocks", ("dim",), "zoo.parts:Norm"),
    "path": Kind("objective", "assembly", ("ranges", "scales"), "zoo.paths:AffinePath", "linear", laws="path_laws"),
    "noise_sampler": Kind("objective", "assembly", (), "zoo.flow:NoiseSampler", "uniform", laws="flow_laws"),
    "weighting": Kind("objective", "assembly", (), "zoo.flow:Weighting", "uniform", laws="flow_laws"),
    "loss": Kind(
        "objective",
        "assembly",
        ("block_dims", "channels", "axes"),
        "zoo.flow:Loss",
        None,
        laws="loss_laws",
        beside=("weight",),
        many="losses",
        defaults=("squared_error",),
    ),
    "dataset": Kind(
        "data", "assembly", ("channels", "size", "num_classes"), "zoo.data:Dataset", "digits", laws="dataset_laws"
    ),
    "normalize": Kind("data", "assembly", ("channels",), "zoo.data:Normalize", "none", laws="data_laws"),
    "optimizer": Kind("train", "assembly", (), "zoo.optim:Optimizer", "adamw", laws="optim_laws"),
    "schedule": Kind("train", "assembly", (), "zoo.optim:Schedule", "constant", laws="optim_laws"),
    "callback": Kind(
        "train",
        "assembly",
        (),
        "zoo.callbacks:Callback",
        None,
        laws="callback_laws",
        many="callbacks",
        defaults=("pictures",),
        may_be_none=True,
    ),
    "solver": Kind("sample", "assembly", (), "zoo.flow:Solver", "euler", laws="flow_laws"),
    "guidance": Kind(
        "sample",
        "assembly",
        ("stages", "latent"),
        "zoo.flow:Guidance",
        "classifier_free",
        laws="guidance_laws",
        short="scale",
    ),
    "features": Kind("evaluate", "assembly", (), "zoo.evaluate:Features", "pca", laws="evaluate_laws"),
    "metric": Kind(
        "evaluate",
        "assembly",
        (),
        "zoo.evaluate:Metric",
        None,
        laws="evaluate_laws",
        many="metrics",
        defaults=("accuracy", "diversity", "fid", "inception_score", "novelty", "precision_recall", "sfid"),
    ),
}
"""Every kind, by the name that recipes use, in the order of the data's way through a backbone, which is that of
state dicts and of draws too. Defaults are DiT's, MPDiT's upsampler, and the plainest way to train."""

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
    assert section is not None, f"parts of kind {name} stand in others alone"
    return section, key_of(name)


def kind_at(section: str, key: str) -> str | None:
    """The kind whose parts stand under ``section.key``; None where that is no part's place."""
    return next((name for name in kinds_of(section) if key_of(name) == key), None)


def base_of(name: str) -> type[Any]:
    """The base class of a kind; imports its module."""
    module, base = KINDS[name].base.split(":")
    found: type[Any] = getattr(import_module(module), base)
    return found


def laws_module(name: str) -> str:
    """The module that knows what goes into parts of a kind, and what must come out."""
    return f"zoo.testing.{KINDS[name].laws or f'of_kind.{name}'}"


def kind_of_base(cls: object) -> str | None:
    """The kind that a class is the base class of, if it is one."""
    name_of_class = getattr(cls, "__name__", "")
    alike = (name for name, kind in KINDS.items() if kind.base.endswith(f":{name_of_class}"))
    return next((name for name in alike if base_of(name) is cls), None)


BACKBONE_KINDS = kinds_of("backbone")


HELD_KINDS = tuple(name for name in BACKBONE_KINDS if KINDS[name].where)
"""Those whose parts a backbone holds, in the order in which weights stand in state dicts, and are drawn."""


def in_order_of_building() -> tuple[str, ...]:
    """The kinds that a backbone holds, each after those that its sites tell of."""
    order: list[str] = []
    while len(order) < len(HELD_KINDS):
        order.append(next(name for name in HELD_KINDS if name not in order and set(KINDS[name].after) <= set(order)))
    return tuple(order)
