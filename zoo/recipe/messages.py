"""What is wrong with options, in the words of recipes: pydantic's errors, and what pydantic lets pass."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from zoo.errors import KeyPath, dotted, near
from zoo.recipe.source import show

OTHERS = {
    "extends": ("base", "_base_", "bases", "defaults", "inherit", "inherits", "parent", "parents"),
    "dim": ("width", "hidden_size", "hidden_dim", "embed_dim", "d_model", "model_dim"),
    "depth": ("layers", "num_layers", "n_layers", "num_blocks", "blocks"),
    "heads": ("num_heads", "n_heads", "num_attention_heads"),
    "patch_schedule": ("patch", "patch_size", "patches"),
    "latent": ("channels", "in_channels", "input_size", "image_size", "resolution"),
    "learning_rate": ("lr",),
    "batch": ("batch_size", "global_batch_size"),
    "steps": ("epochs", "max_steps", "iterations"),
    "clip": ("grad_clip", "max_grad_norm", "clip_grad_norm"),
    "ema": ("ema_decay",),
    "dataset": ("path", "root", "data_path"),
}
"""What other programs call keys of recipes."""
MISSING = "missing; it is required"


class Problem(NamedTuple):
    """What is wrong with a recipe.

    Attributes:
        path: the key that it is told at.
        message: what is wrong there. A key of ``zoo.recipe.draft.SUPPLIED_FROM`` that it writes out in full is one that
            it is about.
        about: other keys that it is about.
        meant: of an unknown key, the places that it may be meant for.
    """

    path: KeyPath
    message: str
    about: Collection[KeyPath] = ()
    meant: Collection[KeyPath] = ()


_WORDS = {
    "int_type": "should be a whole number",
    "float_type": "should be a number",
    "finite_number": "should be a finite number",
    "bool_type": "should be true or false",
    "string_type": "should be text",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "dict_type": "should be a mapping",
    "model_type": "should be a mapping",
    "literal_error": "should be {expected}",
    "greater_than": "should be above {gt}",
    "greater_than_equal": "should be at least {ge}",
    "less_than": "should be below {lt}",
    "less_than_equal": "should be at most {le}",
    "too_short": "should have {min_length} or more items",
    "too_long": "should have {max_length} items at most",
    "string_too_short": "should have {min_length} or more characters",
    "string_too_long": "should have {max_length} characters at most",
}


def called_here(key: str, known: Collection[str]) -> str | None:
    """The known key that other programs call so, if any."""
    return next((own for own, others in OTHERS.items() if own in known and key.lower() in others), None)


def problems_of(error: ValidationError, model: type[BaseModel], raw: Any, others: Iterable[str]) -> Iterator[Problem]:
    """Every problem that pydantic found, and the key path of each.

    Args:
        error: what ``model`` said of ``raw``.
        model: the options.
        raw: what the recipe gives for them.
        others: keys that may stand beside the model's own.
    """
    for each in _without_other_forms(error.errors(), raw):
        if each["type"] == "too_short" and len(each["input"]) >= each["ctx"]["min_length"]:
            continue  # the rest of a list whose other items have problems of their own
        path = _without_branches(each["loc"], raw)
        if each["type"] == "missing":
            yield Problem((*path, each["loc"][-1]), MISSING)
        elif each["type"] == "extra_forbidden":
            known = [*_names_beside(path, model), *(others if len(path) == 1 else ())]
            meant = called_here(str(path[-1]), known) or near(str(path[-1]), known)
            there_are = f"unknown option; there are: {', '.join(known)}"
            yield Problem(path, there_are) if meant is None else misspelt(path, meant)
        elif each["type"] == "value_error":
            yield Problem(path, each["msg"].removeprefix("Value error, "))
        else:
            yield Problem(path, _in_words(each))


def misspelt(path: KeyPath, meant: str) -> Problem:
    """Of a key that is unknown, and near to one that is known beside it."""
    return Problem(path, f"unknown option; did you mean {meant!r}?", meant=((*path[:-1], meant),))


def in_one_line(error: ValidationError) -> str:
    """What is wrong with options that a part makes itself, such as the levels of a schedule."""
    told = []
    for each in error.errors():
        text = {"missing": MISSING, "extra_forbidden": "unknown option"}.get(each["type"])
        told.append(f"{dotted(each['loc'])}: {text or _in_words(each)}")
    return f"{error.title}: {', '.join(told)}"


def _in_words(error: ErrorDetails) -> str:
    message = error["msg"].replace("Input should be", "should be")
    words = _WORDS.get(error["type"], message[:1].lower() + message[1:]).format_map(error.get("ctx", {}))
    return f"{words}, got {show(error['input'])}"


def problems_of_coerced(raw: Any, value: Any, path: KeyPath = ()) -> Iterator[Problem]:
    """True and 2.0 in the place of 1 and 2, which pydantic takes for a ``Literal[1, 2]`` also where it is strict.

    Args:
        raw: what the recipe gives.
        value: what pydantic made of it, as plain values.
        path: where both stand.
    """
    if isinstance(raw, Mapping) and isinstance(value, Mapping):
        for key, given in raw.items():
            if key in value:
                yield from problems_of_coerced(given, value[key], (*path, key))
    elif isinstance(raw, list) and isinstance(value, list) and len(raw) == len(value):
        for index, pair in enumerate(zip(raw, value, strict=True)):
            yield from problems_of_coerced(*pair, (*path, index))
    elif isinstance(raw, bool | float) and isinstance(value, int) and type(raw) is not type(value):
        yield Problem(path, f"{_WORDS['int_type']}, got {show(raw)}")


def _without_other_forms(errors: Sequence[ErrorDetails], raw: Any) -> Iterator[ErrorDetails]:
    """Errors of a value that may have several forms, such as a number or a list: those of the form that it has."""
    by_path: dict[KeyPath, list[ErrorDetails]] = {}
    for each in errors:
        below = each["loc"][-1:] if each["type"] in ("missing", "extra_forbidden") else ()
        by_path.setdefault((*_without_branches(each["loc"], raw), *below), []).append(each)
    for alike in by_path.values():
        of_its_form = [each for each in alike if not each["type"].endswith("_type")]
        if [each["type"] for each in of_its_form] == ["literal_error"]:
            yield _any_of(alike, of_its_form[0])
        else:
            yield from of_its_form or alike


def _any_of(alike: Sequence[ErrorDetails], literal: ErrorDetails) -> ErrorDetails:
    """The error of a word in a place where something of another type may stand too: both are told."""
    types = [_WORDS[each["type"]] for each in alike if each is not literal and each["type"] in _WORDS]
    choices = [*(words.removeprefix("should be ") for words in types), literal["ctx"]["expected"]]
    return {**literal, "ctx": {"expected": ", or ".join(choices)}}


def _without_branches(location: tuple[str | int, ...], raw: Any) -> KeyPath:
    """The part of a pydantic location that is in ``raw``: pydantic puts in the names of union members."""
    path: list[str | int] = []
    value = raw
    for key in location:
        if key in (value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()):
            path.append(key)
            value = value[key]
    return tuple(path)


def _names_beside(path: KeyPath, model: type[BaseModel]) -> list[str]:
    """Names of the options that could stand at ``path``, read off the model's schema."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    here = [schema]
    for key in path[:-1]:
        below = "items" if isinstance(key, int) else "properties"
        found = [each[below] for each in here if below in each]
        here = [
            branch
            for each in found
            for branch in _branches(each if isinstance(key, int) else each.get(key, {}), definitions)
        ]
    return list(dict.fromkeys(name for each in here for name in each.get("properties", {})))


def _branches(schema: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """A schema's alternatives, with references followed."""
    if "$ref" in schema:
        return _branches(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    alternatives = schema.get("anyOf", schema.get("oneOf"))
    if alternatives is not None:
        return [branch for each in alternatives for branch in _branches(each, definitions)]
    return [schema]
