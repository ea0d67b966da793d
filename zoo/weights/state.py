"""Weights outside of a module: what they are, whether they fit, and a module with them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.assembly import build
from zoo.backbone import Backbone
from zoo.classes import UNKNOWN, Classes
from zoo.data.fingerprint import Fingerprint
from zoo.devices import cast_weights
from zoo.errors import NumericError, WeightsError
from zoo.parts.initialise import init_weights, refuse_unmade, reset, spoil
from zoo.recipe import Recipe, Versions, differences, fingerprint
from zoo.recipe.source import show

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Those of weights."""

Which = str
"""Of a run or a training checkpoint, the averaged weights (``ema``; of several averages the first, and ``ema:0.9999``
another) or the last ones (``raw``); one word for it in all commands."""

SAME_TABLE = 1e-3
"""How far a stored position table may be from the one that its part makes, computed otherwise."""


@dataclass(frozen=True)
class Weights:
    """Weights that are not in a module yet.

    Attributes:
        recipe: of the backbone that they are of.
        tensors: by the backbone's names, on the CPU; of a file, memory-mapped.
        source: where they are from, as plain values.
        classes: that they were trained on.
        versions: that they were made with, where that is on record.
        data: that they were trained on, likewise.
    """

    recipe: Recipe
    tensors: Mapping[str, Tensor]
    source: Mapping[str, Any]
    classes: Classes = UNKNOWN
    versions: Versions | None = None
    data: Fingerprint | None = None


def initialised(recipe: Recipe, path: Path, seed: int) -> Backbone:
    """A freshly initialised backbone on the CPU, for a file; the caller's random state is left as it was.

    Raises:
        WeightsError: it does not fit into memory.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return build(recipe, device="cpu")
    except (MemoryError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else "out of memory"
        raise WeightsError(f"{path}: the weights cannot be made: {reason}; take a smaller assembly") from error


def filled(weights: Weights, device: torch.device, dtype: torch.dtype | None = None) -> Backbone:
    """A backbone with these weights, in evaluation mode.

    Args:
        weights: of a file or a run, that fit their recipe. Of those on the meta device it has any numbers.
        device: where to.
        dtype: of the parameters; that of the weights if left out.
    """
    backbone = build(weights.recipe, device="meta")
    names = [name for name, _ in backbone.named_parameters()]
    dtype = dtype or reduce(torch.promote_types, (weights.tensors[name].dtype for name in names))
    backbone = cast_weights(backbone, dtype).to_empty(device=device)
    _load(backbone, weights)
    stored = backbone.state_dict()
    tables = {name: table for name, table in backbone.named_buffers() if name not in stored}
    if tables:
        spoil(tables.values())
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            backbone.apply(lambda module: reset(module) if module._non_persistent_buffers_set else None)
        refuse_unmade(tables)
        _load(backbone, weights)  # what their modules have made anew besides
    return backbone.eval()


def _load(backbone: Backbone, weights: Weights) -> None:
    if not any(tensor.is_meta for tensor in weights.tensors.values()):
        backbone.load_state_dict(weights.tensors)


def without_prefixes(state: Mapping[Any, Tensor], where: str | Path) -> dict[str, Tensor]:
    """A state dict by the backbone's own keys, without what DDP, ``AveragedModel`` and ``torch.compile`` put into them.

    Raises:
        WeightsError: two tensors of one key.
    """
    names = [re.sub(r"^(module\.)+", "", str(key).replace("_orig_mod.", "")) for key in state]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise WeightsError(
            f"{where}: holds these keys twice, with and without a prefix: {', '.join(twice)}; leave one of each out"
        )
    return dict(zip(names, state.values(), strict=True))


def refuse_misfits(weights: Weights, wanted: Mapping[str, Tensor], where: str | Path) -> None:
    """Refuse weights that do not fit the backbone of their recipe.

    Raises:
        WeightsError: with a line for every key that is missing, unexpected or misshapen.
    """
    problems = list(mismatches(weights.tensors, wanted))
    if problems:
        raise WeightsError(f"{where}: does not fit its own recipe, {weights.recipe.name}", problems)


def mismatches(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[str]:
    """A line for every key that is missing, unexpected or misshapen."""
    for key, tensor in wanted.items():
        if key not in given:
            yield f"{key} is missing"
        elif given[key].shape != tensor.shape:
            yield f"{key} has shape {list(given[key].shape)} in place of {list(tensor.shape)}"
        elif (given[key].dtype in DTYPES) != (tensor.dtype in DTYPES):
            yield f"{key} is of {given[key].dtype} in place of {tensor.dtype}"
    for key in given:
        if key not in wanted:
            yield f"{key} is unexpected"


def refuse_non_finite(tensors: Mapping[str, Tensor], where: str | Path) -> None:
    """Look at every number.

    Raises:
        NumericError: some are NaN or infinite; the message names every tensor that holds such.
    """
    bad = [key for key, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise NumericError(
            f"{where}: {len(bad)} of {len(tensors)} tensors hold values that are not finite: {', '.join(bad)}; take"
            " another checkpoint of that training"
        )


def refuse_other_backbone(where: str | Path, found: Recipe, wanted: Recipe, mend: str = "") -> None:
    """Refuse weights of another backbone than a recipe's; ``mend`` says what else can be done with them.

    Raises:
        WeightsError: the fingerprints differ, and the message says in what; or the path from data to noise does.
    """
    given, path = (recipe.objective.path.resolved() for recipe in (found, wanted))
    if given != path:
        raise WeightsError(
            f"{where}: its weights have learned the path {show(given)}, and {wanted.name} has {show(path)}: their noise"
            " levels mean something else; set objective.path to the same"
        )
    one, other = backbone_fingerprint(found), backbone_fingerprint(wanted)
    if one != other:
        raise WeightsError(
            f"{where}: holds the weights of another backbone (fingerprint {one[:12]}) than {wanted.name}'s"
            f" ({other[:12]}){mend}; the file's values, and the recipe's",
            differences(_backbone_of(found), _backbone_of(wanted)),
        )


def is_same_backbone(one: Recipe, other: Recipe) -> bool:
    """Whether weights of one fit the other, and mean the same."""
    paths = (recipe.objective.path.resolved() for recipe in (one, other))
    return next(paths) == next(paths) and backbone_fingerprint(one) == backbone_fingerprint(other)


def backbone_fingerprint(recipe: Recipe) -> str:
    """A SHA-256 of the backbone section: weights fit, and mean the same, where it is the same."""
    return fingerprint(_backbone_of(recipe))


def _backbone_of(recipe: Recipe) -> dict[str, Any]:
    return {"backbone": recipe.backbone.resolved()}


def position_tables(backbone: Backbone) -> dict[str, Tensor]:
    """The tables that the position parts of a backbone on the meta device make, by name; on the CPU."""
    positions = deepcopy(backbone.get_submodule("positions")).to_empty(device="cpu")
    with torch.random.fork_rng(devices=[]):
        init_weights(positions)
    return {f"positions.{name}": table for name, table in positions.state_dict().items()}


def is_same_table(given: Tensor, table: Tensor) -> bool:
    """Whether a stored position table is the one that its part makes, but for rounding to the stored dtype."""
    tolerance = max(SAME_TABLE, torch.finfo(given.dtype).eps)
    return torch.allclose(given.float(), table.float(), rtol=0.0, atol=tolerance)
