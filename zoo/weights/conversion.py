"""Published checkpoints to zoo's weight files, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zoo.assembly import build, change_section, check_tree
from zoo.backbone import Backbone
from zoo.errors import RecipeError, WeightsError
from zoo.files import safetensors, write_whole
from zoo.mapped import named_in_text
from zoo.recipe import Recipe, read_tree
from zoo.recipe.find import package_recipes
from zoo.recipe.source import show
from zoo.registry import Registry
from zoo.weights.clock import with_clock
from zoo.weights.foreign import ForeignCheckpoint
from zoo.weights.published import FORMATS, Entry, PublishedFormat, Tensors, recognised
from zoo.weights.published.base import without_place
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
        registry: the parts to choose from.
        format: one of ``FORMATS``; recognised from the keys if None.
        name: of a recipe that is inferred.
        overrides: ``key.path=value``, for a recipe that is inferred.

    Raises:
        WeightsError: the format is none that zoo knows, the recipe cannot be inferred or is of another backbone; the
            message has a line for every key that is missing, unexpected or misshapen.
        NumericError: a tensor holds NaN or infinite values.
        RecipeError: the overrides cannot be applied.
    """
    notes = []
    if format is None:
        chosen, note = _recognise(checkpoint, recipe)
        notes += note
    else:
        chosen = FORMATS[format]
    if recipe is None:
        overrides = list(overrides)
        recipe = infer_recipe(checkpoint, chosen, registry, name, overrides)
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
    wanted = {entry.published: entry.turn.to_published(own[entry.own]) for entry in entries}
    problems = list(mismatches(checkpoint.tensors, wanted))
    if problems:
        hints = _hints(checkpoint, chosen, recipe)
        raise WeightsError(f"{checkpoint.path}: does not fit {recipe.name}, read as {chosen.name}", [*hints, *problems])
    refuse_non_finite(checkpoint.tensors, checkpoint.path)
    tensors = {entry.own: entry.turn.to_own(checkpoint.tensors[entry.published]) for entry in entries}
    notes += _other_tables(backbone, tensors, entries)
    source = {"file": checkpoint.path.name, "format": chosen.name, "weights": checkpoint.weights or "only"}
    return Converted(Weights(recipe, tensors, source), chosen.name, tuple(notes))


def with_clock_of(weights: Weights, format: str, registry: Registry) -> Weights:  # noqa: A002
    """The same weights, up to rounding, with the clock that a format's time embedder is fed."""
    return with_clock(weights, FORMATS[format].time["sinusoidal"]["clock"], registry)


def to_published(weights: Weights, format: str) -> dict[str, Tensor]:  # noqa: A002
    """Weights of ours under published names, in the published layout; ``with_clock_of`` turns their clock first.

    Raises:
        WeightsError: the published code cannot have this backbone; the message has a line for every reason.
    """
    backbone = build(weights.recipe, device="meta")
    entries = _entries(weights.recipe, backbone, FORMATS[format], f"{weights.recipe.name}: {format} cannot hold it")
    return {entry.published: entry.turn.to_published(weights.tensors[entry.own]).contiguous() for entry in entries}


def write_published(path: Path, tensors: Mapping[str, Tensor], *, pickle: bool) -> None:
    """Write a plain state dict, as torch.save does or as safetensors.

    Raises:
        WeightsError: the file cannot be written.
    """
    pickled = partial(torch.save, dict(tensors))
    write_whole(path, pickled if pickle else safetensors(tensors, {"format": "pt"}), WeightsError)


def infer_recipe(
    checkpoint: ForeignCheckpoint,
    chosen: PublishedFormat,
    registry: Registry,
    name: str,
    overrides: Iterable[str] = (),
) -> Recipe:
    """The recipe that a checkpoint's shapes tell; settings beside the backbone are those of the published models.

    Raises:
        WeightsError: the shapes do not tell it.
        RecipeError: the overrides cannot be applied.
    """
    names = recognised(checkpoint.tensors.keys())
    if names and chosen.name not in names:
        raise WeightsError(f"{checkpoint.path}: its keys are {' or '.join(names)}'s, not {chosen.name}'s")
    backbone = chosen.infer(Tensors(checkpoint.tensors, str(checkpoint.path)))
    overrides = list(overrides)
    if "heads" not in backbone and not _has_heads(overrides):
        raise WeightsError(
            f"{checkpoint.path}: the number of heads cannot be told from shapes, and {backbone['dim']} is no published"
            " width; set backbone.heads"
        )
    settings: dict[str, Any] = {}
    if backbone["latent"]["channels"] == 4:  # of Stable Diffusion's autoencoder, as all published models
        family = read_tree(package_recipes() / f"{chosen.family(backbone)}.yaml").plain()
        settings = {key: value for key, value in family.items() if key not in ("name", "backbone")}
        settings["train"].pop("init", None)  # these weights are what came of it
    settings["objective"] = {**settings.get("objective", {}), "path": chosen.path}
    try:
        return check_tree(read_tree({"name": name, "backbone": backbone, **settings}, overrides), registry)
    except RecipeError as error:
        if overrides:
            raise
        raise WeightsError(f"{checkpoint.path}: its shapes do not go together", error.problems) from error


def _has_heads(overrides: Iterable[str]) -> bool:
    return any("heads" in each for each in overrides)


def _recognise(checkpoint: ForeignCheckpoint, recipe: Recipe | None) -> tuple[PublishedFormat, list[str]]:
    names = recognised(checkpoint.tensors.keys())
    if not names:
        raise WeightsError(f"{checkpoint.path}: {_of_no_format(checkpoint)}")
    if len(names) == 1:
        return FORMATS[names[0]], []
    if recipe is not None and recipe.backbone.prediction == "noise":
        return FORMATS["dit"], []
    if recipe is not None and recipe.backbone.time_embedder.resolved().get("clock") == "data":
        return FORMATS["sit"], []
    if _drops_sigma(checkpoint):
        return FORMATS["sit"], []
    either = "the keys of DiT and SiT are the same; read as"
    for title in (checkpoint.model, checkpoint.path.stem, recipe.name if recipe else ""):
        found = [name for name in names if name in title.lower()]
        if len(found) == 1:
            return FORMATS[found[0]], [f"{either} {found[0]}, by the name {title}"]
    return FORMATS["sit"], [f"{either} sit, since nothing tells: if they are DiT's, give --format dit"]


def _drops_sigma(checkpoint: ForeignCheckpoint) -> bool:
    """Whether the second half of the head's channels is as it started, at zero: SiT drops it, and DiT trains it."""
    head, embedder = (checkpoint.tensors.get(f"{key}.weight") for key in ("final_layer.linear", "x_embedder.proj"))
    if head is None or embedder is None or embedder.ndim != 4 or head.ndim != 2:
        return False
    channels, pixels = embedder.shape[1], embedder.shape[2] * embedder.shape[3]
    if len(head) != 2 * channels * pixels:
        return False
    used, dropped = rearrange(head, "(p half c) d -> half (p c d)", p=pixels, half=2)
    return bool(used.any()) and not bool(dropped.any())


def _of_no_format(checkpoint: ForeignCheckpoint) -> str:
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
        f"its keys are of none of {', '.join(sorted(FORMATS))}; they begin with {first}. If it is one of these,"
        " --format NAME tells what is missing"
    )


def _settled(recipe: Recipe, chosen: PublishedFormat, registry: Registry) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with what the published code fixes, and what was changed for that."""
    changes = {f"backbone.{key}": value for key, value in chosen.settled(recipe).items()}
    if recipe.objective.path.type != chosen.path:
        changes["objective.path"] = chosen.path
    for section in ("backbone", "objective"):
        own = {key.partition(".")[2]: value for key, value in changes.items() if key.startswith(f"{section}.")}
        if own:
            recipe = change_section(recipe, section, own, registry)
    return recipe, changes


def _entries(recipe: Recipe, backbone: Backbone, chosen: PublishedFormat, refusal: str) -> list[Entry]:
    misfits = list(chosen.misfits(recipe, backbone.stages))
    if misfits:
        raise WeightsError(refusal, misfits)
    entries = list(chosen.entries(recipe, backbone.stages))
    homeless = list(without_place(backbone.state_dict(), entries))
    if homeless:
        raise WeightsError(refusal, homeless)
    return entries


def _hints(checkpoint: ForeignCheckpoint, chosen: PublishedFormat, recipe: Recipe) -> Iterator[str]:
    """What a checkpoint seems to be of, if that is not what it is read as."""
    names = recognised(checkpoint.tensors.keys())
    if names and chosen.name not in names:
        yield f"its keys are {' or '.join(names)}'s"
        return
    try:
        inferred = chosen.infer(Tensors(checkpoint.tensors, str(checkpoint.path)))
    except WeightsError:
        return
    given = recipe.backbone.resolved()
    for key in ("latent", "num_classes", "dim", "depth"):
        if inferred[key] != given[key]:
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
