"""What this plug-in gives to zoo."""

from __future__ import annotations

import zoo
from zoo_lightning.block import LightningBlock
from zoo_lightning.rope import AxialRotary

__all__ = ["AxialRotary", "LightningBlock", "zoo_parts"]


@zoo.hookimpl
def zoo_parts() -> list[type]:
    """The block ``lightning`` and the position ``rope``."""
    return [LightningBlock, AxialRotary]
