"""The signature is the schema: what a constructor may look like, and what is read off it."""

from collections.abc import Callable
from typing import Annotated, Literal

import pytest
import torch
from pydantic import Field, PositiveInt, ValidationError

from zoo.errors import PluginError
from zoo.parts import Attention, Norm
from zoo.parts.norms import LayerNorm, RMSNorm
from zoo.signature import Nested, Part, read_signature

SUPPLIED = ("dim", "heads")


class Whole:
    def __init__(
        self,
        heads: int,
        dim: int,
        *,
        size: PositiveInt,
        kind: Literal["a", "b"] = "a",
        rate: Annotated[float, Field(lt=1)] = 0.5,
    ) -> None: ...


def test_positional_parameters_are_supplied_and_keyword_only_ones_are_options():
    signature = read_signature(Whole, SUPPLIED)
    assert signature.supplied == ("heads", "dim")
    options = signature.options(size=3)
    assert options.model_dump() == {"size": 3, "kind": "a", "rate": 0.5}
    schema = signature.options.model_json_schema()
    assert schema["required"] == ["size"]
    assert schema["properties"]["rate"] == {"default": 0.5, "exclusiveMaximum": 1, "title": "Rate", "type": "number"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"size": 0},
        {"size": "3"},
        {"size": 3.0},
        {"size": 3, "kind": "c"},
        {"size": 3, "rate": 1.0},
        {"size": 3, "x": 1},
    ],
)
def test_options_are_strict(options):
    with pytest.raises(ValidationError):
        read_signature(Whole, SUPPLIED).options(**options)


def test_options_are_frozen():
    options = read_signature(Whole, SUPPLIED).options(size=3)
    with pytest.raises(ValidationError, match="frozen"):
        options.size = 4


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_options_are_finite(value):
    with pytest.raises(ValidationError, match="finite"):
        read_signature(Whole, SUPPLIED).options(size=3, rate=value)


def test_a_class_without_a_constructor_has_no_options():
    signature = read_signature(type("Plain", (), {}), SUPPLIED)
    assert signature.supplied == ()
    assert signature.options().model_dump() == {}


class Holds:
    def __init__(
        self,
        dim: int,
        *,
        size: int = 3,
        norm: Part[Norm] = LayerNorm,
        inner: Part[Norm] | None = None,
        attention: Part[Attention],
    ) -> None: ...


def test_an_option_may_hold_a_part():
    signature = read_signature(Holds, SUPPLIED)
    assert signature.options.model_fields.keys() == {"size"}
    assert signature.parts == {
        "norm": Nested("norm", LayerNorm, required=False),
        "inner": Nested("norm", None, required=False),
        "attention": Nested("attention", None, required=True),
    }
    assert signature.required == ("attention",)
    assert [nested.default_name for nested in signature.parts.values()] == ["layer", None, None]


class Unmarked(LayerNorm):
    pass


class HoldsOneOfNoKind:
    def __init__(self, *, norm: Part[LayerNorm] = LayerNorm) -> None: ...


class HoldsAnotherKind:
    def __init__(self, *, attention: Part[Attention] = RMSNorm) -> None: ...


class HoldsAnUnmarkedOne:
    def __init__(self, *, norm: Part[Norm] = Unmarked) -> None: ...


class HoldsWhatIsNoClass:
    def __init__(self, *, norm: Part[Norm] = LayerNorm(8)) -> None: ...  # noqa: B008


class HoldsOneOrNone:
    def __init__(self, *, norm: Part[Norm] | None = LayerNorm) -> None: ...


class HoldsOneOrANumber:
    def __init__(self, *, norm: Part[Norm] | int = 3) -> None: ...


class HoldsMany:
    def __init__(self, *, norms: list[Part[Norm]]) -> None: ...


class TakesAnything:
    def __init__(self, dim: int, **options: int) -> None: ...


class TakesMany:
    def __init__(self, *sizes: int) -> None: ...


class Untyped:
    def __init__(self, dim: int, *, size=3) -> None: ...


class NamesItsType:
    def __init__(self, *, type: str) -> None: ...  # noqa: A002


class IsPrivate:
    def __init__(self, *, _size: int = 3) -> None: ...


class AsksForWhatIsNotThere:
    def __init__(self, depth: int) -> None: ...


class MayBeNone:
    def __init__(self, *, window: int | None = 8) -> None: ...


class BreaksItsOwnBounds:
    def __init__(self, *, needed: int, size: PositiveInt = 0) -> None: ...


class HasAnUnknownType:
    def __init__(self, *, size: "NoSuchType") -> None: ...


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (
            TakesAnything,
            r"TakesAnything: a part takes no \*args and no \*\*kwargs; write an __init__ that names its options",
        ),
        (TakesMany, r"TakesMany: a part takes no \*args and no \*\*kwargs"),
        (Untyped, "Untyped: option 'size' has no type; annotate it"),
        (
            NamesItsType,
            "NamesItsType: an option cannot be called 'type', which names the part in a recipe; call it otherwise",
        ),
        (IsPrivate, "IsPrivate: option '_size': let the name of an option begin with a letter"),
        (
            AsksForWhatIsNotThere,
            r"AsksForWhatIsNotThere: the backbone supplies no 'depth' to this kind \(only dim, heads\);",
        ),
        (MayBeNone, "MayBeNone: option 'window' may be None, .* make None the default"),
        (BreaksItsOwnBounds, "BreaksItsOwnBounds: the default of option 'size' is not valid: Input should be greater"),
        (
            HoldsOneOfNoKind,
            r"HoldsOneOfNoKind: option 'norm': Part\[LayerNorm\] should be of the base class of a kind, such as"
            r" Part\[zoo.parts.Norm\]",
        ),
        (HoldsAnotherKind, "option 'attention': the default should be a class of kind 'attention'"),
        (HoldsAnUnmarkedOne, "option 'norm': the default should be a class of kind 'norm', marked by @zoo.part"),
        (HoldsWhatIsNoClass, "option 'norm': the default should be a class"),
        (HoldsOneOrNone, "option 'norm' may be None, .* make None the default"),
        (HoldsOneOrANumber, r"option 'norm': Part\[...\] stands alone, or beside None"),
        (HoldsMany, r"option 'norms': Part\[...\] stands alone, or beside None; take an option for each part$"),
        (HasAnUnknownType, "HasAnUnknownType: the types of its constructor cannot be resolved: name 'NoSuchType'"),
    ],
)
def test_refuses_a_constructor_that_breaks_the_rules(cls, message):
    with pytest.raises(PluginError, match=message):
        read_signature(cls, SUPPLIED)


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (pytest.Item, "_pytest.nodes.Item"),
        (torch.dtype, "torch.dtype"),
        (Annotated[torch.dtype, "of the tables"], "torch.dtype"),
        (Callable[[int], int], "collections.abc.Callable[[int], int]"),
        (list[torch.dtype], "list[torch.dtype]"),
        (type, "type"),
    ],
)
def test_refuses_options_that_no_recipe_could_hold(kind, shown):
    class Part:
        def __init__(self, *, size: int = 3, then: kind) -> None: ...

    with pytest.raises(PluginError) as caught:
        read_signature(Part, SUPPLIED)
    where = f"{__name__}.test_refuses_options_that_no_recipe_could_hold.<locals>.Part"
    assert str(caught.value) == (
        f"{where}: option 'then' is of {shown}, which a recipe cannot hold; it can hold bool, int, float, str, Literal,"
        " Enum, and lists, tuples, dicts or pydantic models of these"
    )
