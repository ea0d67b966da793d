import zoo
from zoo.testing import check_assemblies, laws_of_parts
from zoo_pyramid.path import PyramidPath
from zoo_pyramid.schedule import Pyramid

test_laws = laws_of_parts(Pyramid, PyramidPath)


def test_assemblies_keep_the_laws():
    registry = zoo.Registry().with_parts([Pyramid, PyramidPath])
    check_assemblies(registry, examples=3, patch_schedule="pyramid")
