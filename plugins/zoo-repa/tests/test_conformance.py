from zoo.testing import laws_of_parts
from zoo_repa.loss import RepresentationAlignment

test_laws = laws_of_parts(RepresentationAlignment)
