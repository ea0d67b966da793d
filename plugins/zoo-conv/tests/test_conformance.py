from zoo.testing import laws_of_parts
from zoo_conv.dic import DiCBlock, DiCHead
from zoo_conv.dico import DiCoBlock
from zoo_conv.resamplers import ConvMerge, ConvShuffle, ConvUnshuffle

test_laws = laws_of_parts(DiCBlock, DiCHead, DiCoBlock, ConvMerge, ConvShuffle, ConvUnshuffle)
