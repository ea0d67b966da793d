import zoo
from zoo.testing import check_assemblies, laws_of_parts
from zoo_lightning.block import LightningBlock

test_laws = laws_of_parts(LightningBlock)


def test_assemblies_keep_the_laws():
    check_assemblies(zoo.Registry().with_parts([LightningBlock]), examples=3, block="lightning", position="rope")
