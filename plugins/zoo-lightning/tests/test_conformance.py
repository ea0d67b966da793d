import pytest

import zoo
from zoo.testing import ASSEMBLY_LAWS, check_assemblies, laws_of_parts
from zoo_lightning.block import LightningBlock

test_laws = laws_of_parts(LightningBlock)


@pytest.mark.parametrize("law", ASSEMBLY_LAWS, ids=lambda law: law.__name__)
def test_assemblies_keep_the_law(law):
    registry = zoo.Registry().with_parts([LightningBlock])
    check_assemblies(registry, laws=[law], examples=5, block="lightning", position="rope")
