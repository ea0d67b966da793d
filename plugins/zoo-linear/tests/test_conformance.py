import tomllib
from importlib import import_module
from pathlib import Path

from zoo.testing import laws_of_parts
from zoo_linear.dig import DiGBlock
from zoo_linear.relu import LiTAttention, MixFFN, SANAAttention

PARTS = {"attention/lit": LiTAttention, "attention/sana": SANAAttention, "block/dig": DiGBlock, "mlp/mix_ffn": MixFFN}

test_laws = laws_of_parts(*PARTS.values())


def test_the_package_says_where_its_parts_are():
    told = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["entry-points"][
        "zoo.parts"
    ]
    found = {
        name: getattr(import_module(place.partition(":")[0]), place.partition(":")[2]) for name, place in told.items()
    }
    assert found == PARTS
