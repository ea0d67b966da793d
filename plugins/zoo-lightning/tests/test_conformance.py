import pytest

from zoo.testing import check_part
from zoo_lightning.parts import AxialRotary, LightningBlock


@pytest.mark.parametrize("part", [LightningBlock, AxialRotary])
def test_part_keeps_the_laws(part):
    check_part(part)
