import tomllib
from importlib import import_module
from pathlib import Path

import zoo
from zoo.testing import check_assemblies, laws_of_parts
from zoo_linear.dig import DiGBlock
from zoo_linear.relu import LiTAttention, MixFFN, SANAAttention

PARTS = {"attention/lit": LiTAttention, "attention/sana": SANAAttention, "block/dig": DiGBlock, "mlp/mix_ffn": MixFFN}

test_laws = laws_of_parts(*PARTS.values())


def test_assemblies_keep_the_laws():
    registry = zoo.Registry().with_parts(PARTS.values())
    check_assemblies(registry, examples=1, block="dig", class_conditioner="embedding")


def test_the_package_says_where_its_parts_are():
    told = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["entry-points"][
        "zoo.parts"
    ]
    found = {
        name: getattr(import_module(place.partition(":")[0]), place.partition(":")[2]) for name, place in told.items()
    }
    assert found == PARTS
