from zoo.testing import laws_of_parts
from zoo_linear.dig import DiGBlock

test_laws = laws_of_parts(DiGBlock)
