"""What strangers' parts cannot stand is said in one line, before anything is allocated."""

from typing import Any

import pytest

import zoo
from tests.strangers.assemblies import REGISTRY, recipe
from zoo.errors import RecipeError

ROUTE = {"router": {"type": "tread", "first": 1, "stop": 4}}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "tokens in front of a map": (
        recipe("dic", "uniform", class_conditioner="class_tokens"),
        "block 'dic' cannot stand tokens in front of the image's, which class_conditioner 'class_tokens' gives",
    ),
    "a map with gaps": (
        recipe("dico", "uniform", **ROUTE),
        "block 'dico' cannot stand a router that leaves out tokens, which router 'tread' gives",
    ),
    "a skip out of a route": (
        recipe("uvit", "uniform", **{"router": {"type": "tread", "first": 1, "stop": 3}}),
        "block 3 takes the output of block 1, and one of the two is of blocks 1 to 2, which a router sends some",
    ),
    "no context": (
        recipe("cross", "uniform", class_conditioner="embedding"),
        "block 'cross' needs a context to attend to, and class_conditioner 'embedding' gives none",
    ),
    "a context that none takes": (
        recipe("dico", "uniform", class_conditioner="captions"),
        "class_conditioner 'captions' gives a context to attend to, and no part takes that",
    ),
    "vectors that none takes": (
        recipe("uvit", "uniform", modulation="adaln_zero"),
        "modulation 'adaln_zero' gives vectors of the modulation, and no part takes that",
    ),
    "no vectors": (
        recipe("cross", "uniform", modulation="in_context"),
        "block 'cross' needs vectors of the modulation, and modulation 'in_context' gives none",
    ),
    "one condition for two widths, and tokens": (
        recipe("narrow", "narrow", condition="shared"),
        "class_conditioner: puts tokens of width 16 in front, and there are levels of width 32",
    ),
    "a width that tokens do not make": (
        recipe("dico", "down and up", dim=18),
        "width 18 is not divisible by the 4 tokens that become one",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_is_refused_in_a_line(case):
    values, message = CASES[case]
    with pytest.raises(RecipeError) as raised:
        zoo.build(values, registry=REGISTRY, device="meta")
    lines = str(raised.value).splitlines()
    assert sum(message in line for line in lines) == 1, lines
    assert all(line.startswith("recipe: backbone.") for line in lines), lines
