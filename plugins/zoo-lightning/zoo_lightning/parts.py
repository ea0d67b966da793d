"""What this plug-in gives to zoo."""

from __future__ import annotations

import zoo
from zoo_lightning.block import LightningBlock

__all__ = ["LightningBlock", "zoo_parts"]


@zoo.hookimpl
def zoo_parts() -> list[type]:
    """The block ``lightning``."""
    return [LightningBlock]
