"""What parts say of themselves in attributes, and whether it can be read. Free of torch.

It is looked at on a class when that is registered, and on a part when it is built, since a constructor may say
otherwise.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from zoo.errors import did_you_mean, with_article
from zoo.kinds import KINDS
from zoo.schedule import AXES

WORDS = {
    "rotary": "rotary angles",
    "context": "a context to attend to",
    "label": "a vector of the label",
    "vectors": "vectors of the modulation",
    "kept": "what left a patch on the way down",
    "prefix": "tokens in front of the image's",
    "subset": "a router that leaves out tokens",
}
"""Facts that a part may need, use, give or refuse, as messages say them."""

_UNSAID = object()

Mend = Callable[[Any], str | None]
"""What to say of a value that cannot be read; None of one that can."""


def mistakes(said: object, kind: str | None) -> Iterator[str]:
    """What cannot be read of what a part, or its class, says of itself.

    Args:
        said: the part, or the class, whose properties are then passed over.
        kind: of it; None where that is not known.
    """
    readable: dict[str, Any] = {}
    for name, mend in _mends(kind).items():
        value = said_by(said, name, _UNSAID) if isinstance(said, type) else getattr(said, name, _UNSAID)
        if value is _UNSAID:
            if hasattr(type(said), name):  # which a property has where it raises this
                yield f"has {name} that cannot be read: {_why_unreadable(said, name)}"
            continue
        told = mend(value)
        if told is None:
            readable[name] = value
        else:
            yield f"has {name} = {reprlib.repr(value)}; {told}"
    if not isinstance(said, type):  # whose constructor may say the other one
        yield from _together(readable)


def said_by(cls: type[Any], name: str, unsaid: Any) -> Any:
    """What a class says of all its parts by an attribute; ``unsaid`` where each says it itself, as by a property."""
    value = getattr(cls, name, unsaid)
    return unsaid if hasattr(type(value), "__get__") else value


def _why_unreadable(said: object, name: str) -> str:
    try:
        getattr(type(said), name).__get__(said)  # torch.nn.Module tells of a missing attribute instead
    except AttributeError as error:
        return str(error)
    return "it is not there"


def _together(readable: Mapping[str, Any]) -> Iterator[str]:
    """Where attributes that are each right are not together."""
    first, stop = readable.get("first", 0), readable.get("stop")
    if stop is not None and stop < first:
        yield f"has first = {first} and stop = {stop}; let stop come after first, or equal it for no route"
    lends, count = readable.get("lends"), readable.get("modulation_vectors")
    if lends and count is not None and not all(0 <= index < count for index in lends):
        yield f"has lends = {lends}, and takes {count} vectors; let it name two of them, from 0, or set lends = None"


def _mends(kind: str | None) -> Mapping[str, Mend]:
    if kind is None:
        return _OF_ALL
    if KINDS[kind].section not in ("backbone", None):  # a metric's needs are of another sort
        return _OF_KIND.get(kind, {})
    given = GIVEN_BY.get(kind)
    return {**_OF_ALL, "gives": _facts(given) if given else _nothing(kind), **_OF_KIND.get(kind, {})}


def _facts(known: Collection[str]) -> Mend:
    def mend(value: Any) -> str | None:
        if not isinstance(value, set | frozenset):
            return f"let it be a set of facts, such as {{{min(known)!r}}}"
        wrong = sorted((each for each in value if each not in known), key=repr)
        if not wrong:
            return None
        near = did_you_mean(str(wrong[0]), known) or f"; there are: {', '.join(sorted(known))}"
        return f"{wrong[0]!r} is none of its facts{near}"

    return mend


def _nothing(kind: str) -> Mend:
    mend = f"{with_article(kind)} gives nothing that others ask for: leave it out"
    return _unless(lambda value: isinstance(value, set | frozenset) and not value, mend)


def _count(most: int) -> Mend:
    return _unless(lambda value: _is_whole(value) and 0 <= value <= most, f"let it be a whole number from 0 to {most}")


def _unless(fits: Callable[[Any], object], mend: str) -> Mend:
    return lambda value: None if fits(value) else mend


def _one_of(*choices: str) -> Mend:
    def mend(value: Any) -> str | None:
        if isinstance(value, str) and value in choices:
            return None
        return f"let it be one of {', '.join(map(repr, choices))}{did_you_mean(str(value), choices)}"

    return mend


def _fields(value: Any) -> str | None:
    fits = isinstance(value, tuple | list | set | frozenset)
    wrong = [each for each in value if each not in FIELDS] if fits else []
    if not fits:
        return f"let it be a tuple of fields of a FeatureSet, such as ({FIELDS[0]!r},)"
    near = did_you_mean(str(wrong[0]), FIELDS) or f"; there are: {', '.join(FIELDS)}" if wrong else ""
    return f"{wrong[0]!r} is no field of a FeatureSet{near}" if wrong else None


def _second(value: Any) -> str | None:
    return None if value is None else _one_of(*SECONDS)(value)


def _is_whole(value: Any) -> bool:
    return type(value) is int


TAKEN = ("checkpoints", "evaluations", "parts", "snapshots")
"""Folders of a run in which callbacks write nothing."""

_FOLDER = re.compile(r"[a-z][a-z0-9_]*")

_axes = _unless(
    lambda value: (
        isinstance(value, set | frozenset) and value and all(_is_whole(each) and each in AXES for each in value)
    ),
    "let it be a set of those of 1, 2 and 3 that it takes, such as {2}",
)
_blocks = _unless(
    lambda value: isinstance(value, tuple | list) and all(map(_is_whole, value)),
    "let it be a tuple of the numbers of earlier blocks, such as (0,)",
)
_names = _unless(
    lambda value: isinstance(value, tuple | list) and all(isinstance(each, str) for each in value),
    "let it be a tuple of names, such as ('features',)",
)
_pair = _unless(
    lambda value: value is None or (isinstance(value, tuple | list) and len(value) == 2 and all(map(_is_whole, value))),
    "let it be two of its vectors by index, shift and scale, such as (3, 4), or None",
)
_truth = _unless(lambda value: isinstance(value, bool), "let it be True or False")
_folder = _unless(
    lambda value: value is None or (isinstance(value, str) and _FOLDER.fullmatch(value) and value not in TAKEN),
    "let it be the name of a folder in a run, such as 'curves', or None",
)

SECONDS = ("null", "weights")
"""What guidance may need beside the velocity, if anything."""

FIELDS = ("pooled", "labels", "spatial", "probabilities", "verdicts")
"""Of a ``FeatureSet``, of which a metric needs some."""

GIVEN_BY: Mapping[str, Collection[str]] = {
    "position": {"rotary"},
    "class_conditioner": {"context", "label", "prefix"},
    "modulation": {"prefix", "vectors"},
    "router": {"subset"},
}
"""The facts that parts of a kind can give; those of others give none."""

_GIVEN = frozenset(WORDS) - {"kept"}  # which no part gives: the way down does

_OF_ALL: Mapping[str, Mend] = {
    "needs": _facts(frozenset(WORDS)),
    "uses": _facts(frozenset(WORDS)),
    "gives": _facts(_GIVEN),
    "refuses": _facts(_GIVEN),
    "axes": _axes,
}

_VECTORS, _TOKENS, _DEPTH = _count(1000), _count(100_000), _count(1_000_000)
"""Bounds above anything of use, so that a number that is wrong is told before memory or an overflow tells it."""

_OF_KIND: Mapping[str, Mapping[str, Mend]] = {
    "patch_schedule": {"ties": _one_of("cleaner", "noisier")},
    "class_conditioner": {"class_tokens": _TOKENS, "uses_labels": _truth, "drops": _TOKENS},
    "modulation": {"tokens": _TOKENS},
    "block": {"modulation_vectors": _VECTORS, "takes": _blocks, "lends": _pair},
    "head": {"modulation_vectors": _VECTORS},
    "skip": {"feeds": _one_of("latents", "kept", "nothing")},
    "router": {"first": _DEPTH, "stop": _DEPTH, "spans_widths": _truth, "fuses": _truth},
    "guidance": {"second": _second},
    "loss": {"axes": _axes, "weighted": _truth, "routed": _truth, "taps": _blocks, "extra": _names},
    "callback": {"everywhere": _truth, "vital": _truth, "writes_to": _folder},
    "dataset": {"extra": _names, "maps": _names},
    "metric": {"needs": _fields, "more_is_better": _names},
}
