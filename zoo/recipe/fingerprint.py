"""What makes two resolved recipes the same training, and where they differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from zoo.errors import dotted
from zoo.recipe.source import show

FREE = {
    "name": None,
    "sample": None,
    "data": {"workers"},
    "train": {
        "steps", "log_every", "checkpoint_every", "keep_last", "sample_every", "tensorboard",
        "accumulate", "checkpoint_activations", "compile", "compile_backend", "parallel",
    },
}  # fmt: skip
"""What may change when a run goes on (None: the whole section): how it computes, and for how long, but not what."""


def fingerprint(resolved: Mapping[str, Any]) -> str:
    """A SHA-256 over all that decides what training computes, rounding aside."""
    text = json.dumps(_without_free(resolved), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """A line for every difference that changes what training computes."""
    return [
        f"{dotted(path)}: {_show(before)} and {_show(after)}"
        for path, before, after in _differences(_without_free(one), _without_free(other), ())
    ]


_MISSING = object()


def _show(value: Any) -> str:
    return "nothing" if value is _MISSING else show(value)


def _without_free(resolved: Mapping[str, Any]) -> dict[str, Any]:
    kept = {}
    for section, values in resolved.items():
        free = FREE.get(section, set())
        if free is not None:
            kept[section] = {key: value for key, value in values.items() if key not in free}
    return kept


def _differences(one: Any, other: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any, Any]]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            yield from _differences(one.get(key, _MISSING), other.get(key, _MISSING), (*path, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(*pair, (*path, index))
    elif one != other:
        yield path, one, other
