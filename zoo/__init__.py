"""zoo: compose diffusion backbones from plug-in parts, tell what they cost, train them and draw samples.

``import zoo`` does not import torch; the names below that need it load on first use. ``Part[Norm]`` is the
type of an option that is itself a part: see ``zoo.parts``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoo.signals import end_in_a_line_until_main

end_in_a_line_until_main()

from zoo.plugins import pass_over_unreadable, zoo_version  # noqa: E402

pass_over_unreadable()

from zoo.hookspecs import hookimpl  # noqa: E402 - the next need pydantic
from zoo.registry import Registry, part  # noqa: E402
from zoo.signature import Part  # noqa: E402

if TYPE_CHECKING:
    from zoo.assembly import build as build
    from zoo.assembly import dataset as dataset
    from zoo.assembly import load_recipe as load_recipe
    from zoo.backbone import Backbone as Backbone
    from zoo.report.library import compare as compare
    from zoo.report.library import cost as cost
    from zoo.report.library import diagram as diagram
    from zoo.runs.weights import load as load
    from zoo.sampling.latents import sample as sample
    from zoo.weights.saving import save as save

__version__ = zoo_version()

_LAZY = {
    "Backbone": "zoo.backbone",
    "build": "zoo.assembly",
    "compare": "zoo.report.library",
    "cost": "zoo.report.library",
    "dataset": "zoo.assembly",
    "diagram": "zoo.report.library",
    "load": "zoo.runs.weights",
    "load_recipe": "zoo.assembly",
    "sample": "zoo.sampling.latents",
    "save": "zoo.weights.saving",
}

__all__ = ["Part", "Registry", "hookimpl", "part", *_LAZY]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
