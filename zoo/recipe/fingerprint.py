"""What makes two resolved recipes the same training, and where they differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from zoo.errors import dotted
from zoo.recipe.source import show

FREE: dict[str, set[str] | None] = {
    "name": None,
    "sample": None,
    "evaluate": None,
    "data": {"workers", "leave_out"},
    "train": {
        "log_every", "checkpoint_every", "keep_last", "sample_every", "tensorboard",
        "accumulate", "checkpoint_activations", "compile", "compile_backend", "parallel",
    },
}  # fmt: skip
"""What may change when a run goes on (None: the whole section): how it computes and what it shows, but not what.

So may ``train.steps`` where the learning rate does not depend on it, and where the files of a dataset are.
"""

PLACES = {"folder", "vae"}


def fingerprint(resolved: Mapping[str, Any]) -> str:
    """A SHA-256 over all that decides what training computes, rounding aside."""
    text = json.dumps(_without_free(resolved, _is_constant(resolved)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """A line for every difference that changes what training computes."""
    any_length = _is_constant(one) or _is_constant(other)
    return all_differences(_without_free(one, any_length), _without_free(other, any_length))


def all_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """A line for every difference of plain values."""
    return [
        f"{dotted(path)}: {_show(before)} and {_show(after)}" for path, before, after in _differences(one, other, ())
    ]


def _is_constant(resolved: Mapping[str, Any]) -> bool:
    return bool(resolved.get("train", {}).get("schedule") == "constant")


_MISSING = object()


def _show(value: Any) -> str:
    return "nothing" if value is _MISSING else show(value)


def _without_free(resolved: Mapping[str, Any], any_length: bool) -> dict[str, Any]:
    kept = {}
    for section, values in resolved.items():
        free = FREE.get(section, set())
        if free is not None:
            kept[section] = {key: value for key, value in values.items() if key not in free}
    if any_length:
        kept["train"].pop("steps", None)
    if "dataset" in kept.get("data", {}):
        kept["data"]["dataset"] = {key: value for key, value in kept["data"]["dataset"].items() if key not in PLACES}
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
