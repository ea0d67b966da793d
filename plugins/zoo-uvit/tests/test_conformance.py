import zoo
from zoo.testing import check_assemblies, laws_of_parts
from zoo_uvit.block import UViTBlock
from zoo_uvit.head import UViTHead

test_laws = laws_of_parts(UViTBlock, UViTHead)


def test_assemblies_keep_the_laws():
    registry = zoo.Registry().with_parts([UViTBlock, UViTHead])
    check_assemblies(registry, examples=3, block="uvit", head="uvit", modulation="in_context")
