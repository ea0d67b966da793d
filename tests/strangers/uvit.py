"""A block without any vector, with long skips, and its head: those of the package in plugins/, installed or not."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / "zoo-uvit"))

from zoo_uvit.block import UViTBlock
from zoo_uvit.head import UViTHead

PARTS = [UViTBlock, UViTHead]
