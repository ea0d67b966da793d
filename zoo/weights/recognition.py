"""Whose a checkpoint is: by its keys, and where these are the same, by what else tells."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping

from einops import rearrange
from safetensors import SafetensorError, safe_open

from zoo.errors import PluginError, WeightsError
from zoo.format_entries import FormatEntry
from zoo.mapped import named_in_text
from zoo.recipe import Recipe
from zoo.weights.foreign import ForeignCheckpoint

SAME = "the keys of DiT and SiT are the same"
CLOCK = "time_embedder.clock"
"""What of SiT's time embedder an export turns, so that it tells nothing of whose a backbone is."""


def recognised(keys: Collection[str], formats: Mapping[str, FormatEntry]) -> list[str]:
    """The formats that these keys may be of: one of zoo's own, or SiT and DiT, which nothing tells apart; else all of
    others that say so; or none."""
    names = [name for name, each in formats.items() if each.is_own and each.recognises(keys)]
    if names:
        return names if names[0] == "sit" else names[:1]
    return [name for name, each in formats.items() if not each.is_own and may_be(each, keys)]


def may_be(entry: FormatEntry, keys: Collection[str]) -> bool:
    """Whether keys are of a format; where it fails to tell, others may all the same."""
    try:
        return entry.recognises(keys)
    except PluginError as error:
        warnings.warn(str(error), stacklevel=2)
        return False


def of_others(keys: Collection[str], chosen: FormatEntry, formats: Mapping[str, FormatEntry]) -> str:
    """The formats that keys are of, in words, where they are not those of the one that was chosen."""
    names = recognised(keys, formats)
    is_odd = chosen.name not in names and chosen.tells_by_keys and not may_be(chosen, keys)
    return " or ".join(names) if is_odd else ""


def recognise(
    checkpoint: ForeignCheckpoint, recipe: Recipe | None, formats: Mapping[str, FormatEntry]
) -> tuple[FormatEntry, list[str]]:
    """The format of a checkpoint, and what to say of how it is known.

    Args:
        checkpoint: what was read.
        recipe: of the backbone, if it is given.
        formats: to choose from.

    Raises:
        WeightsError: it is of none, or may be of several.
    """
    names = recognised(checkpoint.tensors.keys(), formats)
    if not names:
        raise WeightsError(f"{checkpoint.path}: {_of_no_format(checkpoint, formats)}")
    if not formats[names[0]].is_own:
        if len(names) > 1:
            raise WeightsError(f"{checkpoint.path}: its keys are {' and '.join(names)}'s; say whose by --format")
        return formats[names[0]], [f"read as {names[0]} of {formats[names[0]].plugin}, by its keys"]
    if len(names) == 1:
        return formats[names[0]], []
    return _dit_or_sit(checkpoint, recipe, {name: formats[name] for name in names})


def _dit_or_sit(
    checkpoint: ForeignCheckpoint, recipe: Recipe | None, formats: Mapping[str, FormatEntry]
) -> tuple[FormatEntry, list[str]]:
    """As ``recognise``: which of the two it is, since to take one for the other gives weights that draw noise.

    A recipe that an import as one of them would not change says it all. One that has its prediction, path and time
    scale says so too, but may only have left them out: not against the name that a checkpoint goes by.
    """
    changes = {} if recipe is None else {name: _changes(each, recipe) for name, each in formats.items()}
    exact = [name for name, changed in changes.items() if not changed]
    has_sigma = _has_sigma(checkpoint)
    if exact or has_sigma is False:
        return formats[exact[0] if exact else "sit"], []
    meant = next((name for name, changed in changes.items() if changed <= {CLOCK}), None)
    named, title = _named(checkpoint, formats)
    is_contradicted = meant == "sit" and named is None and has_sigma
    if meant and named in (meant, None) and not is_contradicted:
        return formats[meant], [f"{SAME}; read as {meant}, by the recipe's prediction and path"]
    if named and not meant:
        return formats[named], [f"{SAME}; read as {named}, by the name {title}"]
    why = "neither a name tells them apart, nor a recipe's prediction and path"
    if recipe is not None and meant:
        other = "the second half of the head's channels is trained, as dit's is"
        other = other if is_contradicted else f"the name {title} is {named}'s"
        why = f"the recipe {recipe.name} has the prediction and path of {meant}, and {other}"
    either = " or ".join(f"--format {name}" for name in sorted(formats))
    raise WeightsError(f"{checkpoint.path}: {SAME}; {why}: give {either}")


def _changes(entry: FormatEntry, recipe: Recipe) -> set[str]:
    """The keys of a recipe that an import of a format sets otherwise."""
    path = entry.format.path not in (None, recipe.objective.path.type)
    return {*entry.ask("settled", recipe), *(["path"] if path else [])}


def _named(checkpoint: ForeignCheckpoint, names: Collection[str]) -> tuple[str | None, str]:
    """Whose a checkpoint is by the model's name in its settings, or by the file's; and that name."""
    for title in (checkpoint.model, checkpoint.path.stem):
        found = [name for name in names if re.search(rf"(?<![a-z]){name}(?![a-z])", title.lower())]
        if len(found) == 1:
            return found[0], title
    return None, ""


def _has_sigma(checkpoint: ForeignCheckpoint) -> bool | None:
    """Whether the second half of the head's channels is trained, as DiT's is, or at zero, as it started: SiT drops it.

    None where there is no such half, or the head is all zeros.
    """
    head, embedder = (checkpoint.tensors.get(f"{key}.weight") for key in ("final_layer.linear", "x_embedder.proj"))
    if head is None or embedder is None or embedder.ndim != 4 or head.ndim != 2:
        return None
    channels, pixels = embedder.shape[1], embedder.shape[2] * embedder.shape[3]
    if len(head) != 2 * channels * pixels:
        return None
    used, second = rearrange(head, "(p half c) d -> half (p c d)", p=pixels, half=2)
    return bool(second.any()) if bool(used.any()) else None


def _of_no_format(checkpoint: ForeignCheckpoint, formats: Collection[str]) -> str:
    try:
        with named_in_text(checkpoint.path) as named, safe_open(named, "pt") as file:
            if "recipe" in (file.metadata() or {}):
                return "is a weight file of zoo's own, which needs no import"
    except (SafetensorError, OSError):
        pass
    if any(key.removeprefix("module.").startswith("patch_embedders.") for key in checkpoint.tensors):
        return (
            "its keys are those of a backbone of zoo's own: in Python, zoo.build(recipe).load_state_dict takes them,"
            " and zoo.save then writes a file that every command reads"
        )
    first = ", ".join(list(checkpoint.tensors)[:3])
    return (
        f"its keys are of none of {', '.join(sorted(formats))}; they begin with {first}. If it is one of these,"
        " --format NAME tells what is missing"
    )
