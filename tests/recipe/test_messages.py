"""Options that the built-in parts do not have: unions, nested literals, and errors of a plug-in's own types."""

import json
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from zoo.recipe.messages import problems_of, problems_of_coerced
from zoo.signature import Options


def even(value: int) -> int:
    if value % 2:
        raise ValueError("should be even")
    return value


class Inner(Options):
    size: Literal[1, 2] = 1


class Outer(Options):
    model_config = ConfigDict(extra="forbid", strict=True)
    one: Inner | Literal["none"] = "none"
    drawn: bool | Literal["fixed"] = True
    many: tuple[Inner, ...] = ()
    word: Annotated[str, Field(pattern="^a+$")] = "a"
    pair: Annotated[int, AfterValidator(even)] = 2


def problems(raw: dict) -> list[tuple]:
    try:
        options = Outer.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        return [each[:2] for each in problems_of(error, Outer, raw, ["type"])]
    return [each[:2] for each in problems_of_coerced(raw, options.model_dump(mode="json"))]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, []),
        ({"one": {"size": 2}, "many": [{"size": 1}], "pair": 4}, []),
        ({"many": [{}, {"siez": 1}]}, [(("many", 1, "siez"), "unknown option; did you mean 'size'?")]),
        ({"many": [{}, {"size": True}]}, [(("many", 1, "size"), "should be a whole number, got true")]),
        ({"one": {"size": 1.0}}, [(("one", "size"), "should be a whole number, got 1.0")]),
        ({"pair": 3}, [(("pair",), "should be even")]),
        ({"word": "b"}, [(("word",), "string should match pattern '^a+$', got \"b\"")]),
        ({"drawn": "fixd"}, [(("drawn",), "should be true or false, or 'fixed', got \"fixd\"")]),
        ({"drawn": 1}, [(("drawn",), "should be true or false, or 'fixed', got 1")]),
        ({"one": 3}, [(("one",), "should be a mapping, or 'none', got 3")]),
        ({"typ": "x"}, [(("typ",), "unknown option; did you mean 'type'?")]),
        ({"qqq": "x"}, [(("qqq",), "unknown option; there are: one, drawn, many, word, pair, type")]),
    ],
)
def test_problems(raw, expected):
    assert problems(raw) == expected


def test_the_names_of_alternatives_are_no_keys():
    assert dict(problems({"one": {"siez": 1}})) == {
        ("one", "siez"): "unknown option; did you mean 'size'?",
        ("one",): "should be 'none', got {\"siez\": 1}",
    }
