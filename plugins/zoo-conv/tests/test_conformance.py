import pytest

import zoo
from zoo.testing import check_assemblies, laws_of_parts
from zoo_conv.dic import DiCBlock, DiCHead
from zoo_conv.dico import DiCoBlock
from zoo_conv.resamplers import ConvMerge, ConvShuffle, ConvUnshuffle

PARTS = [DiCBlock, DiCHead, DiCoBlock, ConvMerge, ConvShuffle, ConvUnshuffle]

test_laws = laws_of_parts(*PARTS)


@pytest.mark.parametrize("block", ["dic", "dico"])
def test_assemblies_keep_the_laws(block):
    check_assemblies(zoo.Registry().with_parts(PARTS), examples=1, block=block, class_conditioner="embedding")
