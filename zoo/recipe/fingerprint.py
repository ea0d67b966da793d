"""What makes two resolved recipes the same training, and where they differ."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from zoo.errors import KeyPath, dotted
from zoo.recipe.source import show


@dataclass(frozen=True)
class Free:
    """A value that may change when a run goes on.

    Attributes:
        key: its key path, dotted; that of a section stands for all of its values.
        effect: what it changes of the steps to come, in words for users.
        rule: where alone it may, likewise; who knows how far the run has come says whether it holds.
    """

    key: str
    effect: str
    rule: str = ""


ASKED = "where `--set` asks for it"
"""The rule of what changes the training from there on, and so on purpose alone."""

FREE = (
    Free("name", "what the run is called"),
    Free("sample", "how samples are drawn"),
    Free("evaluate", "how samples are judged"),
    Free("data.workers", "how many processes read ahead; they read the same"),
    Free("data.leave_out", "which samples the next ones of the order stand in for"),
    Free("data.dataset.folder", "where the files are"),
    Free("data.dataset.vae", "where the files of the VAE are"),
    Free(
        "train.steps",
        "how long it trains",
        "where the updates done keep their learning rates (always under `constant`, under `wsd` before its fall), or"
        " `--set` asks for it",
    ),
    Free("train.learning_rate", "updates from there on", ASKED),
    Free("train.schedule", "learning rates from there on", ASKED),
    Free("train.warmup", "learning rates from there on", ASKED),
    Free("train.clip", "updates from there on", ASKED),
    Free("train.ema", "decays from there on", f"{ASKED}; of several the first, and none by std"),
    Free("train.ema_ramp", "decays from there on", ASKED),
    Free("train.precision", "rounding from there on", ASKED),
    Free("train.residual", "rounding from there on", ASKED),
    Free("train.matmul", "rounding from there on", ASKED),
    Free("train.reduce", "rounding from there on", ASKED),
    Free("train.accumulate", "memory and speed; the same training up to rounding"),
    Free("train.checkpoint_activations", "memory and speed; the same training up to rounding"),
    Free("train.compile", "speed; the same training up to rounding"),
    Free("train.compile_backend", "speed; the same training up to rounding"),
    Free("train.parallel", "memory and speed; the same training up to rounding"),
    Free("train.shard_within", "memory and speed; the same training up to rounding"),
    Free("train.on_non_finite", "whether an update that is not finite stops the run or is left out"),
    Free("train.max_skipped", "how many updates in a row may be left out"),
    Free("train.timeout", "how long a process that no longer answers is waited for"),
    Free("train.log_every", "when lines of metrics are written"),
    Free("train.checkpoint_every", "when checkpoints are written"),
    Free("train.keep_last", "how many checkpoints are kept"),
    Free("train.keep_every", "which checkpoints stay for ever besides"),
    Free("train.snapshot_every", "when snapshots of averages by std are kept"),
    Free("train.callbacks", "what is told how it goes: pictures, TensorBoard, figures"),
)
"""Everything that may change when a run goes on: how it computes and what it shows, and what it computes by rule."""

FIXED = {
    "backbone": "its weights are of that backbone",
    "objective": "its weights have learned by that",
    "data": "its order is of that data",
    "train.batch": "the order counts updates of one size",
    "train.stage_group": "the order counts updates of one pattern",
    "train.seed": "order and noise are drawn by it",
    "train.optimizer": "its moments are of that optimizer",
    "train.init": "it has begun",
    "train.freeze": "its moments are of the weights that it moves",
    "train.learning_rate_of": "its moments are of those groups of weights",
}
"""Why the rest may not, by the beginning of its keys."""


def fingerprint(resolved: Mapping[str, Any]) -> str:
    """A SHA-256 over all that decides what training computes, rounding aside."""
    text = json.dumps(_without_free(resolved), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(one: Mapping[str, Any], other: Mapping[str, Any], held: Collection[str] = ()) -> list[str]:
    """A line for every difference that changes what training computes; ``held`` are keys whose rule holds."""
    return _told(_refused(one, other, held))


def rules(one: Mapping[str, Any], other: Mapping[str, Any], held: Collection[str] = ()) -> list[str]:
    """A line for every key that is refused: by what rule it may change, or why it never does."""
    refused = [dotted(each.path) for each in _refused(one, other, held)]
    told = {free.key: f"{free.key} may change {free.rule}" for free in FREE if free.rule}
    told |= {key: f"{key} may not change, since {why}" for key, why in FIXED.items()}
    return [line for key, line in told.items() if any(is_below(each, key) for each in refused)]


def is_below(key: str, section: str) -> bool:
    """Whether a dotted key is another one, or of what that holds."""
    return f"{key}.".startswith(f"{section}.")


def all_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """A line for every difference of plain values."""
    return _told(_differences(one, other, ()))


@dataclass(frozen=True)
class Change:
    """A value that is another than before."""

    path: KeyPath
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {_show(self.after)} in place of {_show(self.before)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values; of what is or was not there, nothing."""
        values = {"before": self.before, "after": self.after}
        return {"key": dotted(self.path), **{name: each for name, each in values.items() if each is not _MISSING}}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What differs and may, by the table of free values, where its rule holds."""
    refused = {each.path for each in _refused(before, after, [free.key for free in FREE])}
    return [each for each in _differences(before, after, ()) if each.path not in refused]


_MISSING = object()


def _told(changes: Iterable[Change]) -> list[str]:
    return [f"{dotted(each.path)}: {_show(each.before)} and {_show(each.after)}" for each in changes]


def _show(value: Any) -> str:
    return "nothing" if value is _MISSING else show(value)


def _refused(one: Mapping[str, Any], other: Mapping[str, Any], held: Collection[str]) -> list[Change]:
    return list(_differences(_without_free(one, held), _without_free(other, held), ()))


def _without_free(resolved: Mapping[str, Any], held: Collection[str] = ()) -> dict[str, Any]:
    """A recipe without what may change."""
    kept = copy.deepcopy(dict(resolved))
    for free in FREE:
        if not free.rule or free.key in held:
            above, _, key = free.key.rpartition(".")
            _at(kept, above).pop(key, None)
    init = _at(kept, "train.init")
    if isinstance(init, str):  # the weights may have moved
        kept["train"]["init"] = PurePath(init).name
    elif isinstance(init, Mapping) and isinstance(where := init.get("weights"), str):
        kept["train"]["init"]["weights"] = PurePath(where).name
    return kept


def _at(resolved: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; an empty mapping where there is none."""
    found: Any = resolved
    for each in key.split(".") if key else ():
        found = found.get(each, {})
    return found


def _differences(one: Any, other: Any, path: KeyPath) -> Iterator[Change]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            yield from _differences(one.get(key, _MISSING), other.get(key, _MISSING), (*path, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other) and not _are_names(one, other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(*pair, (*path, index))
    elif one != other:
        yield Change(path, one, other)


def _are_names(*lists: list[Any]) -> bool:
    """Whether lists hold texts alone, such as ids, which have no places of their own."""
    return all(isinstance(each, str) for values in lists for each in values)
