from zoo.testing import laws_of_parts
from zoo_linear.dig import DiGBlock
from zoo_linear.relu import LiTAttention, MixFFN, SANAAttention

test_laws = laws_of_parts(DiGBlock, LiTAttention, MixFFN, SANAAttention)
