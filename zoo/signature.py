"""The signature is the schema: a part's options are read off its constructor."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from zoo.errors import PluginError, words_of
from zoo.kinds import kind_of_base
from zoo.parts_file import name_of

T = TypeVar("T")

MARK = "__zoo_part__"
"""The attribute of a part's class that says its kind and its name."""


class Options(BaseModel):
    """Strict, frozen options: an unknown key, a wrong type, inf or NaN is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, validate_default=True)


@dataclass(frozen=True)
class Place:
    """Marks a text of a recipe as the path of a file or a folder, which is relative to the recipe that says it.

    Attributes:
        or_name: it may also be the name of something that is elsewhere, such as on a hub.
        names: words that are no paths.
    """

    or_name: bool = False
    names: tuple[str, ...] = ()


PathText = Annotated[str, Field(min_length=1), Place()]
"""A path, as the type of an option."""

PathOrName = Annotated[str, Field(min_length=1), Place(or_name=True)]
"""A path, or the name of something that is elsewhere; where there is no such file or folder, it is a name."""


class _MakesPart:
    """Marks the type of an option that holds a part."""


Part = Annotated[Callable[..., T], _MakesPart()]
"""``norm: Part[Norm] = LayerNorm``: an option that is a part itself, of the kind whose base class stands in brackets.

A recipe writes it as any part, by its name or as a mapping with ``type``. The constructor gets what makes it, and calls
it with the values that the kind is supplied with, in their order (``norm(dim)``); those that it leaves out are as zoo
supplies them to the part around. In Python a class does as well. Where the type is ``Part[Norm] | None``, there may be
no such part, and None is the default.
"""


@dataclass(frozen=True)
class Nested:
    """An option that holds a part.

    Attributes:
        kind: of the part.
        default: the class that stands there if the recipe names none; None for no part.
        required: whether the recipe has to name one.
    """

    kind: str
    default: type[Any] | None
    required: bool

    @property
    def default_name(self) -> str | None:
        """The name of the default."""
        return None if self.default is None else str(getattr(self.default, MARK)[1])


@dataclass(frozen=True)
class Signature:
    """What a part's constructor asks for.

    Attributes:
        supplied: names of the positional parameters, which the backbone supplies.
        options: a strict pydantic model of those keyword-only parameters, which the recipe gives, that hold values.
        parts: those that hold parts, by name.
    """

    supplied: tuple[str, ...]
    options: type[BaseModel]
    parts: Mapping[str, Nested]

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the options without default."""
        values = (name for name, info in self.options.model_fields.items() if info.is_required())
        return (*values, *(name for name, nested in self.parts.items() if nested.required))


@cache
def read_signature(cls: type[Any], supplied: tuple[str, ...]) -> Signature:
    """Derive a part's options from ``cls.__init__``: the same for the same class, so that equal options are equal.

    Args:
        cls: the part.
        supplied: what the backbone supplies to parts of this kind; the constructor may ask for any of these.

    Raises:
        PluginError: ``*args`` or ``**kwargs``, an untyped option, one of a type that a recipe cannot hold, one called
            ``type`` or with a leading underscore, one that may be None without that being its default, a default that
            is not valid or no part of its kind, or a positional parameter that the backbone does not supply.
    """
    where = name_of(cls)
    if cls.__init__ is object.__init__:
        return Signature((), create_model(cls.__name__, __base__=Options), MappingProxyType({}))
    try:
        hints = typing.get_type_hints(cls.__init__, include_extras=True)
    except Exception as error:
        raise PluginError(f"{where}: the types of its constructor cannot be resolved: {words_of(error)}") from error
    wanted: list[str] = []
    fields: dict[str, Any] = {}
    parts: dict[str, Nested] = {}
    for name, parameter in list(inspect.signature(cls.__init__).parameters.items())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise PluginError(
                f"{where}: a part takes no *args and no **kwargs; write an __init__ that names its options"
            )
        if parameter.kind is parameter.KEYWORD_ONLY:
            if name not in hints:
                raise PluginError(f"{where}: option {name!r} has no type; annotate it")
            if name == "type":
                raise PluginError(
                    f"{where}: an option cannot be called 'type', which names the part in a recipe; call it otherwise"
                )
            if name.startswith("_"):
                raise PluginError(f"{where}: option {name!r}: let the name of an option begin with a letter")
            default = ... if parameter.default is parameter.empty else parameter.default
            if NoneType in typing.get_args(hints[name]) and default is not None:
                raise PluginError(
                    f"{where}: option {name!r} may be None, which a recipe cannot say, since null means the default;"
                    " make None the default"
                )
            if _holds_part(hints[name]):
                parts[name] = _nested(f"{where}: option {name!r}", hints[name], default)
            else:
                fields[name] = (hints[name], default)
        elif name not in supplied:
            raise PluginError(
                f"{where}: the backbone supplies no {name!r} to this kind (only {', '.join(supplied)});"
                " make it keyword-only if it is an option"
            )
        else:
            wanted.append(name)
    try:
        options: type[BaseModel] = create_model(cls.__name__, __base__=Options, **fields)
        options.model_json_schema()
        options.model_validate_json("{}")
    except ValidationError as error:
        wrong = [each for each in error.errors() if each["type"] != "missing"]
        if wrong:
            option, message = wrong[0]["loc"][0], wrong[0]["msg"]
            raise PluginError(f"{where}: the default of option {option!r} is not valid: {message}") from error
    except Exception as error:
        for name, field in fields.items():
            if not _has_schema(field):
                if _has_part_within(hints[name]):
                    raise PluginError(f"{where}: option {name!r}: {ALONE}") from error
                raise PluginError(
                    f"{where}: option {name!r} is of {type_as_written(hints[name])}, which a recipe cannot hold; it can"
                    " hold bool, int, float, str, Literal, Enum, and lists, tuples, dicts or pydantic models of these"
                ) from error
        raise PluginError(f"{where}: its options make no schema: {words_of(error)}") from error
    return Signature(tuple(wanted), options, MappingProxyType(parts))


ALONE = "Part[...] stands alone, or beside None; take an option for each part"


def _holds_part(hint: Any) -> bool:
    return any(isinstance(mark, _MakesPart) for mark in _metadata(hint))


def _has_part_within(hint: Any) -> bool:
    """Whether a part stands in a list or the like."""
    return _holds_part(hint) or any(map(_has_part_within, typing.get_args(hint)))


def _nested(where: str, hint: Any, default: Any) -> Nested:
    choices = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)
    (makes, *others) = (each for each in choices if each is not NoneType)
    if others:
        raise PluginError(f"{where}: {ALONE}")
    base = typing.get_args(typing.get_args(makes)[0])[1]
    kind = kind_of_base(base)
    if kind is None:
        shown = getattr(base, "__name__", base)
        raise PluginError(f"{where}: Part[{shown}] should be of the base class of a kind, such as Part[zoo.parts.Norm]")
    if default is ... or default is None:
        return Nested(kind, None, required=default is ...)
    if not inspect.isclass(default) or base not in default.__mro__ or MARK not in vars(default):
        raise PluginError(f"{where}: the default should be a class of kind {kind!r}, marked by @zoo.part")
    return Nested(kind, default, required=False)


@cache
def places_of(options: type[BaseModel]) -> dict[str, Place]:
    """The options that are paths, by name."""
    found = {}
    for name, info in options.model_fields.items():
        marks = [mark for mark in (*info.metadata, *_metadata(info.annotation)) if isinstance(mark, Place)]
        if marks:
            found[name] = marks[0]
    return found


def _metadata(hint: Any) -> Iterator[Any]:
    """What is annotated in a type, also in one of several that are allowed."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        yield from hint.__metadata__
    elif origin in (typing.Union, UnionType):
        for each in typing.get_args(hint):
            yield from _metadata(each)


def _has_schema(field: tuple[Any, Any]) -> bool:
    try:
        create_model("Alone", __base__=Options, option=field).model_json_schema()
    except Exception:
        return False
    return True


def type_as_written(hint: Any) -> str:
    """A type as an annotation says it."""
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    return f"{hint.__module__}.{hint.__qualname__}".removeprefix("builtins.") if inspect.isclass(hint) else str(hint)
