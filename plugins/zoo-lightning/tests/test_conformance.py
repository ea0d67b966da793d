import pytest

import zoo
from zoo.plugins import Plugin
from zoo.testing import ASSEMBLY_LAWS, check_assemblies, check_part
from zoo_lightning import parts


def test_block_keeps_the_laws():
    check_part(parts.LightningBlock)


@pytest.mark.parametrize("law", ASSEMBLY_LAWS, ids=lambda law: law.__name__)
def test_assemblies_keep_the_law(law):
    registry = zoo.Registry()
    registry.register(parts, Plugin("diffusion-zoo-lightning", "under test"))
    check_assemblies(registry, laws=[law], examples=5, block="lightning", position="rope")
