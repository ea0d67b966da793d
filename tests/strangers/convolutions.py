"""Blocks of convolutions, one of which takes skips itself, and their resamplers: those of the package in plugins/,
installed or not."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / "zoo-conv"))

from zoo_conv.dic import DiCBlock
from zoo_conv.dico import DiCoBlock
from zoo_conv.resamplers import ConvMerge, ConvShuffle, ConvUnshuffle

PARTS = [DiCBlock, DiCoBlock, ConvMerge, ConvShuffle, ConvUnshuffle]
