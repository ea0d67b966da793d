"""The conformance kit: laws that parts and assemblies keep, to be run by those who write parts.

Needs hypothesis: the extra ``testing`` of diffusion-zoo. In a plug-in's tests::

    from zoo.testing import check_part

    def test_my_block_keeps_the_laws():
        check_part(MyBlock)

A dataset is checked with files that are here: ``check_part(MyDataset, options={"folder": ...})``.
"""

from zoo.testing.assemblies import ASSEMBLY_LAWS
from zoo.testing.check import check_assemblies, check_part
from zoo.testing.collect import laws_of_package, laws_of_parts
from zoo.testing.data_laws import tells_its_data
from zoo.testing.law import Law, law
from zoo.testing.laws import LAWS, laws_of
from zoo.testing.random_assemblies import load_or_pass
from zoo.testing.recipes import recipes
from zoo.testing.strategies import options

__all__ = [
    "ASSEMBLY_LAWS",
    "LAWS",
    "Law",
    "check_assemblies",
    "check_part",
    "law",
    "laws_of",
    "laws_of_package",
    "laws_of_parts",
    "load_or_pass",
    "options",
    "recipes",
    "tells_its_data",
]
