"""Published checkpoints to zoo's weight files, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.assembly import build, change_section, check_tree
from zoo.backbone import Backbone
from zoo.errors import PluginError, RecipeError, WeightsError, ZooError, did_you_mean, listed
from zoo.files import safetensors, write_whole
from zoo.format_entries import FormatEntry
from zoo.recipe import Node, Recipe, read_tree
from zoo.recipe.find import package_recipes
from zoo.recipe.source import show
from zoo.registry import Registry
from zoo.weights.clock import with_clock
from zoo.weights.foreign import ForeignCheckpoint
from zoo.weights.published import Entry, Tensors
from zoo.weights.published.base import without_place
from zoo.weights.published.layout import faults, to_own
from zoo.weights.recognition import may_be, of_others, recognise
from zoo.weights.state import Weights, is_same_table, mismatches, position_tables, refuse_non_finite


@dataclass(frozen=True)
class Converted:
    """A published checkpoint as zoo's.

    Attributes:
        weights: with their recipe.
        format: of the checkpoint.
        notes: what the user should know.
    """

    weights: Weights
    format: str
    notes: tuple[str, ...]


def from_published(
    checkpoint: ForeignCheckpoint,
    recipe: Recipe | None,
    registry: Registry,
    *,
    format: str | None = None,  # noqa: A002 - as the option is called
    name: str = "imported",
    overrides: Iterable[str] = (),
) -> Converted:
    """Turn a published checkpoint into weights of ours; every key must have its place.

    Args:
        checkpoint: what was read.
        recipe: of the backbone; inferred from the shapes if None.
        registry: the parts and formats to choose from.
        format: one of ``registry.formats``; recognised from the keys if None.
        name: of a recipe that is inferred.
        overrides: ``key.path=value``, for a recipe that is inferred.

    Raises:
        WeightsError: the format is none that zoo knows, the recipe cannot be inferred or is of another backbone; the
            message has a line for every key that is missing, unexpected or misshapen.
        PluginError: there is no such format, or a plug-in's fails.
        NumericError: a tensor holds NaN or infinite values.
        RecipeError: the overrides cannot be applied.
    """
    notes = []
    if format is None:
        chosen, note = recognise(checkpoint, recipe, registry.formats)
        notes += note
    else:
        chosen = registry.get_format(format)
    if recipe is None:
        overrides = list(overrides)
        recipe = _inferred(checkpoint, chosen, registry, name, overrides)
        if not _has_heads(overrides):
            notes.append(
                f"backbone.heads is {recipe.backbone.heads}, as published for width {recipe.backbone.dim}: shapes do"
                " not tell; set backbone.heads for another"
            )
    recipe, changes = _settled(recipe, chosen, registry)
    notes += [f"{key} is {value}, as {chosen.name} has it" for key, value in changes.items()]
    backbone = build(recipe, device="meta")
    entries = _entries(
        recipe, backbone, chosen, f"{checkpoint.path}: {recipe.name} cannot hold weights of {chosen.name}"
    )
    own = backbone.state_dict()
    wanted = {entry.published: entry.to_published(own[entry.own]) for entry in entries}
    problems = list(mismatches(checkpoint.tensors, wanted))
    if problems:
        hints = _hints(checkpoint, chosen, recipe, registry.formats)
        raise WeightsError(f"{checkpoint.path}: does not fit {recipe.name}, read as {chosen.name}", [*hints, *problems])
    refuse_non_finite(checkpoint.tensors, checkpoint.path)
    with chosen.at_work("to_own() of a Turn"):
        tensors = to_own(entries, checkpoint.tensors)
        wrong = list(mismatches(tensors, own))
    if wrong:
        raise PluginError(f"{chosen.words} is wrong: as its turns bring them, {listed(wrong, 3)}")
    notes += _other_tables(backbone, tensors, entries)
    source = {"file": checkpoint.path.name, "format": chosen.name, "weights": checkpoint.weights or "only"}
    return Converted(Weights(recipe, tensors, source), chosen.name, tuple(notes))


def with_clock_of(weights: Weights, format: str, registry: Registry) -> Weights:  # noqa: A002
    """The same weights, up to rounding, with the clock that a format's time embedder is fed."""
    clock = registry.get_format(format).format.clock
    return weights if clock is None else with_clock(weights, clock, registry)


def to_published(weights: Weights, format: str, registry: Registry) -> dict[str, Tensor]:  # noqa: A002
    """Weights of ours under published names, in the published layout; ``with_clock_of`` turns their clock first.

    Raises:
        WeightsError: the published code cannot have this backbone; the message has a line for every reason.
        PluginError: there is no such format, or a plug-in's fails.
    """
    chosen, backbone = registry.get_format(format), build(weights.recipe, device="meta")
    refusal = f"{weights.recipe.name}: {format} cannot hold it"
    try:
        entries = _entries(weights.recipe, backbone, chosen, refusal)
    except WeightsError as error:
        others = [each.name for each in registry.formats.values() if each.is_own and _holds(each, weights, registry)]
        if others:
            raise WeightsError(f"{refusal}, and --to {' or '.join(others)} can", error.problems) from error
        raise
    with chosen.at_work("to_published() of a Turn"):
        return {entry.published: entry.to_published(weights.tensors[entry.own]) for entry in entries}


def write_published(path: Path, tensors: Mapping[str, Tensor], *, pickle: bool) -> None:
    """Write a plain state dict, as torch.save does or as safetensors.

    Raises:
        WeightsError: the file cannot be written.
    """
    pickled = partial(torch.save, dict(tensors))  # noqa: TID251
    write_whole(path, pickled if pickle else safetensors(tensors, {"format": "pt"}), WeightsError)


def _inferred(
    checkpoint: ForeignCheckpoint, chosen: FormatEntry, registry: Registry, name: str, overrides: Sequence[str]
) -> Recipe:
    """The recipe that a checkpoint's shapes tell; settings beside the backbone are those of the published models."""
    others = of_others(checkpoint.tensors.keys(), chosen, registry.formats)
    if others:
        raise WeightsError(
            f"{checkpoint.path}: its keys are {others}'s, not {chosen.name}'s; leave --format out, or give theirs"
        )
    backbone = chosen.ask("infer", Tensors(checkpoint.tensors, str(checkpoint.path)))
    if "heads" not in backbone and not _has_heads(overrides):
        raise WeightsError(
            f"{checkpoint.path}: the number of heads cannot be told from shapes, and {backbone.get('dim')} is no"
            " published width; set backbone.heads"
        )
    settings: dict[str, Any] = {}
    family, latent = chosen.ask("family", backbone), backbone.get("latent")
    if (
        family and isinstance(latent, Mapping) and latent.get("channels") == 4
    ):  # of Stable Diffusion's autoencoder, as all published models
        values = _family(family, chosen).plain()
        settings = {key: value for key, value in values.items() if key not in ("name", "backbone")}
        settings["train"].pop("init", None)  # these weights are what came of it
    if chosen.format.path is not None:
        settings["objective"] = {**settings.get("objective", {}), "path": chosen.format.path}
    try:
        return check_tree(read_tree({"name": name, "backbone": backbone, **settings}, overrides), registry)
    except RecipeError as error:
        if overrides:
            raise
        raise WeightsError(f"{checkpoint.path}: its shapes do not go together", error.problems) from error


def _family(name: str, chosen: FormatEntry) -> Node:
    """The shipped recipe whose settings a format says that its weights were trained by."""
    shipped = {path.stem: path for path in package_recipes().rglob("*.yaml")}
    if name not in shipped:
        near = did_you_mean(name, shipped)
        raise PluginError(f"{chosen.words} is wrong: family() names {name!r}, no recipe that zoo ships{near}")
    return read_tree(shipped[name])


def _has_heads(overrides: Iterable[str]) -> bool:
    return any("heads" in each for each in overrides)


def _settled(recipe: Recipe, chosen: FormatEntry, registry: Registry) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with what the published code fixes, and what was changed for that."""
    changes = {f"backbone.{key}": value for key, value in chosen.ask("settled", recipe).items()}
    if chosen.format.path not in (None, recipe.objective.path.type):
        changes["objective.path"] = chosen.format.path
    for section in ("backbone", "objective"):
        own = {key.partition(".")[2]: value for key, value in changes.items() if key.startswith(f"{section}.")}
        if own:
            try:
                recipe = change_section(recipe, section, own, registry)
            except RecipeError as error:
                problems = "; ".join(error.problems)
                raise PluginError(f"{chosen.words} sets what {recipe.name} cannot have: {problems}") from error
    return recipe, changes


def _entries(recipe: Recipe, backbone: Backbone, chosen: FormatEntry, refusal: str) -> list[Entry]:
    misfits = chosen.ask("misfits", recipe, backbone)
    if misfits:
        raise WeightsError(refusal, misfits)
    entries: list[Entry] = chosen.ask("entries", recipe, backbone)
    own = backbone.state_dict()
    wrong = list(faults(entries, own))
    if wrong:
        raise PluginError(f"{chosen.words} is wrong: {listed(wrong, 3)}")
    homeless = list(without_place(own, entries))
    if homeless:
        raise WeightsError(refusal, homeless)
    return entries


def _holds(entry: FormatEntry, weights: Weights, registry: Registry) -> bool:
    """Whether an export to a format would be taken."""
    try:
        recipe = with_clock_of(weights, entry.name, registry).recipe
        return bool(_entries(recipe, build(recipe, device="meta"), entry, ""))
    except ZooError:
        return False


def _hints(
    checkpoint: ForeignCheckpoint, chosen: FormatEntry, recipe: Recipe, formats: Mapping[str, FormatEntry]
) -> Iterator[str]:
    """What a checkpoint seems to be of, if that is not what it is read as."""
    keys = checkpoint.tensors.keys()
    others = of_others(keys, chosen, formats)
    if others:
        yield f"its keys are {others}'s"
        return
    for name, each in formats.items():
        if name != chosen.name and not each.is_own and may_be(each, keys):
            yield f"{name} of {each.plugin} recognises its keys, too: --format {name}"
    try:
        inferred = chosen.ask("infer", Tensors(checkpoint.tensors, str(checkpoint.path)))
    except WeightsError:
        return
    given = recipe.backbone.resolved()
    for key in ("latent", "num_classes", "dim", "depth"):
        if inferred.get(key, given[key]) != given[key]:
            yield f"backbone.{key} is {show(given[key])} in the recipe, and {show(inferred[key])} by the shapes"


def _other_tables(backbone: Backbone, tensors: Mapping[str, Tensor], entries: Iterable[Entry]) -> list[str]:
    """Notes on position tables that the checkpoint has otherwise than the recipe's part makes them."""
    own = position_tables(backbone)
    notes = []
    for entry in entries:
        if entry.own in own and not is_same_table(tensors[entry.own], own[entry.own]):
            difference = float((own[entry.own] - tensors[entry.own].float()).abs().max())
            notes.append(
                f"{entry.published} is up to {difference:.2g} away from the table of the recipe's position part;"
                " the checkpoint's is taken"
            )
    return notes
