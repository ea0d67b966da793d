from zoo.testing import laws_of_parts
from zoo_repa.loss import RepresentationAlignment

NARROW = {"depth": 1, "features": 6, "hidden": 8}  # all else of the laws is as small
test_laws = laws_of_parts(RepresentationAlignment, options={"loss/repa": NARROW})
