"""Every hook that a plug-in can implement, in one place.

A plug-in is a package with entry points in the group ``zoo.parts``. One that is called ``kind/name`` names a class,
``"block/mine" = "my_parts.block:MyBlock"``, which is imported when that part is asked for. One of any other name is for
a module (or object) that implements these hooks under the marker ``zoo.hookimpl``, imported whenever parts are needed.
Two more groups need no hook, so that listing them imports no part:

``zoo.recipes``
    names a package whose folder holds recipes (``*.yaml``, also in sub-folders). It must not import torch.
``zoo.cli``
    names a ``typer.Typer`` or a function; the entry point's name becomes a command of ``zoo``. Its module must not
    import torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pluggy

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


@hookspec
def zoo_parts() -> Iterable[type[Any]]:
    """Return the part classes of this plug-in, each marked with ``@zoo.part(kind, name)``.

    Called once, when the registry is made. The built-in parts come through this same hook.
    """
    raise AssertionError("a hook specification is never called")  # pragma: no cover


@hookspec
def zoo_weight_formats() -> Iterable[type[Any]]:
    """Return the checkpoint layouts of this plug-in: classes that derive from ``zoo.weights.WeightFormat``.

    Called once, when ``zoo import``, ``zoo export`` or ``zoo plugins`` asks for formats. The built-in ones come through
    this same hook.
    """
    raise AssertionError("a hook specification is never called")  # pragma: no cover
