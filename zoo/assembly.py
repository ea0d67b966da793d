"""From a recipe to an assembly: what the backbone supplies to each part, and the building itself."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from zoo.backbone import Backbone
from zoo.devices import check_dtype, usable_device
from zoo.errors import KeyPath, OptionError, PluginError, RecipeError, dotted
from zoo.kinds import KINDS, key_of
from zoo.parts.base import PatchSchedule
from zoo.parts.initialise import faults
from zoo.parts.layers import Linear
from zoo.recipe import (
    SECTIONS,
    Draft,
    Node,
    Overrides,
    PartSpec,
    Recipe,
    Recorded,
    draft_recipe,
    read_tree,
)
from zoo.recipe.messages import in_one_line
from zoo.registry import PartEntry, Registry
from zoo.schedule import (
    Level,
    Stage,
    finest_patch_of,
    first_patches_of,
    grid_of,
    patches_of,
    schedule_problems,
    transitions_of,
)

Supplied = dict[str, Any]

Assembly = Recipe | nn.Module | str | Path | Mapping[str, Any]
"""A validated recipe, a backbone, or the path, name or plain values of a recipe."""


def load_recipe(
    source: str | Path | Mapping[str, Any],
    overrides: Overrides = (),
    registry: Registry | None = None,
    *,
    parts: Iterable[type[Any]] = (),
) -> Recipe:
    """Read and check a recipe; all of its problems are told at once, and nothing is allocated.

    Args:
        source: a path, a name that ``zoo recipes`` lists, or a recipe as plain values.
        overrides: values by key path, ``{"backbone.dim": 192}``, or ``key.path=value`` as for ``--set``.
        registry: the parts to choose from; all installed ones if left out.
        parts: more of them: classes marked by ``@zoo.part`` that are in no package.

    Raises:
        RecipeError: it cannot be read or built.
        PluginError: a class of ``parts`` that breaks the rules of its kind, or two parts of one name.
    """
    registry = (registry or Registry.installed()).with_parts(parts)
    return check_tree(read_tree(source, overrides, option=None), registry)


def check_tree(tree: Node, registry: Registry) -> Recipe:
    """Check a recipe that has been read.

    Raises:
        RecipeError: it cannot be built; the message has a line for every problem.
    """
    return _checked(draft_recipe(tree, registry))


def check_recorded(recorded: Recorded, registry: Registry, needs: Collection[str] = tuple(SECTIONS)) -> Recipe:
    """Check a recipe that zoo wrote.

    Args:
        recorded: of a run, a checkpoint or a weight file.
        registry: the parts to choose from.
        needs: the sections whose parts are needed; those of others are kept as they are written, where they are not
            installed.

    Raises:
        PluginError: a part that is needed is of a plug-in that is not here; the message says what to install.
        RecipeError: it cannot be built; the message has a line for every problem.
    """
    draft = draft_recipe(recorded.tree, registry, recorded, needs)
    source = recorded.tree.origin.source
    written = [part for path, part in draft.missing if recorded.tree.origin_of(path).source == source]
    if written and recorded.absent(registry):
        raise PluginError(recorded.refusal(written, registry))
    return _checked(draft)


def change_section(recipe: Recipe, section: str, values: Mapping[str, Any], registry: Registry) -> Recipe:
    """A validated recipe with other values, by key path, in one section; the others stay as they are.

    Raises:
        RecipeError: the section cannot be built so.
    """
    needed = {name: getattr(recipe, name).resolved() for name in ("backbone", section)}
    overrides = {f"{section}.{key}": value for key, value in values.items()}
    changed = load_recipe({"name": recipe.name, **needed}, overrides, registry)
    return recipe.model_copy(update={section: getattr(changed, section)})


def _checked(draft: Draft) -> Recipe:
    _probe(draft)
    return draft.recipe()


def build(
    recipe: Recipe | str | Path | Mapping[str, Any],
    overrides: Overrides = (),
    *,
    registry: Registry | None = None,
    parts: Iterable[type[Any]] = (),
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Backbone:
    """Build a backbone with freshly initialised weights.

    Args:
        recipe: a validated recipe, or the path, name or plain values of one.
        overrides: values by key path, ``{"backbone.dim": 192}``, or ``key.path=value`` as for ``--set``.
        registry: the parts to choose from; all installed ones if left out.
        parts: more of them: classes marked by ``@zoo.part`` that are in no package.
        device: where to build; ``meta`` allocates nothing. PyTorch's default if left out.
        dtype: of the parameters. PyTorch's default if left out.

    Raises:
        RecipeError: the recipe cannot be read or built.
        PluginError: a class of ``parts`` that breaks the rules of its kind, or two parts of one name.
        ZooError: there is no such device.
        ValueError: overrides or parts beside a validated recipe, which has its own, or what is no dtype.
    """
    check_dtype(dtype)
    recipe = as_recipe(recipe, overrides, registry, parts)
    with usable_device(device):
        backbone = _assemble(recipe)
    return backbone if dtype is None else backbone.to(dtype)


def as_recipe(
    given: Assembly,
    overrides: Overrides = (),
    registry: Registry | None = None,
    parts: Iterable[type[Any]] = (),
) -> Recipe:
    """The validated recipe that is given, or a backbone's, or the one that ``load_recipe`` makes of anything else.

    Raises:
        RecipeError: it cannot be read or built.
        PluginError: a class of ``parts`` that breaks the rules of its kind, or two parts of one name.
        ValueError: overrides or parts beside a validated recipe, which has its own, or a backbone that knows none.
    """
    if not isinstance(given, Recipe | nn.Module):
        return load_recipe(given, overrides, registry, parts=parts)
    for name, more in {"overrides": overrides, "parts": [parts] if isinstance(parts, type) else parts}.items():
        if list(more):
            raise ValueError(f"{name}: a validated recipe is frozen; give them to zoo.load_recipe, with its name")
    return given if isinstance(given, Recipe) else recipe_of(backbone_in(given))


def backbone_in(module: nn.Module) -> Backbone:
    """The backbone itself, without what PyTorch puts around it: DDP, ``torch.compile``, ``AveragedModel``.

    Raises:
        ValueError: it is another module.
    """
    inner: Any = module
    while not isinstance(inner, Backbone):
        inner = getattr(inner, "_orig_mod", getattr(inner, "module", None))
        if not isinstance(inner, nn.Module):
            name = f"{type(module).__module__}.{type(module).__qualname__}"
            raise ValueError(
                f"{name} is no backbone of zoo's; give what zoo.build or zoo.load returned (DDP, torch.compile and"
                " AveragedModel around it may stay)"
            )
    return inner


def recipe_of(backbone: Backbone) -> Recipe:
    """The recipe that it was built from.

    Raises:
        ValueError: it was put together by hand.
    """
    if backbone.recipe is None:
        raise ValueError("this backbone was put together by hand and knows no recipe; zoo.build makes one that does")
    return backbone.recipe


def create_parts(recipe: Recipe, kind: str) -> list[Any]:
    """The recipe's parts of a kind of which it holds several: ``metric``."""
    specs = getattr(getattr(recipe, KINDS[kind].section), key_of(kind))
    return [spec.create({}) for spec in specs]


def create_part(recipe: Recipe, kind: str) -> Any:
    """The recipe's part of a kind that stands beside the backbone: ``dataset``, ``solver`` and the like.

    Raises:
        RecipeError: the part refuses its options.
        PluginError: the part is of a plug-in that is not here; the message says what to install.
    """
    section = getattr(recipe, KINDS[kind].section)
    spec = getattr(section, kind)
    values = {"latent": recipe.backbone.latent, "num_classes": recipe.backbone.num_classes}
    try:
        return spec.create(_supply(kind, values, ())[None])
    except PluginError:
        raise
    except ValueError as error:
        raise _refused(recipe, kind, spec.entry, error) from error


def _assemble(recipe: Recipe) -> Backbone:
    options = recipe.backbone
    values = {name: getattr(options, name) for name in type(options).model_fields}

    def create(kind: str, stages: tuple[Stage, ...] = ()) -> dict[Any, Any]:
        spec = getattr(options, kind)
        try:
            return {key: _create(spec, given) for key, given in _supply(kind, values, stages).items()}
        except ValueError as error:
            raise _refused(recipe, kind, spec.entry, error) from error

    schedule: PatchSchedule = create("patch_schedule")[None]
    stages = schedule.stages()
    latent = options.latent
    with_skip = options.skip == "linear"
    return Backbone(
        latent=(latent.channels, latent.height, latent.width),
        dim=options.dim,
        stages=stages,
        ties=schedule.ties,
        patch_embedders=create("patch_embedder", stages),
        positions=create("position", stages),
        time_embedder=create("time_embedder")[None],
        class_conditioner=create("class_conditioner")[None],
        stage_embedder=create("stage_embedder", stages)[None],
        modulation=create("modulation")[None],
        blocks=create("block").values(),
        upsamplers=create("upsampler", stages),
        skips={pair: Linear(options.dim, options.dim) for pair in transitions_of(stages)} if with_skip else {},
        heads=create("head", stages),
        prediction=options.prediction,
        recipe=recipe,
    )


def _supply(kind: str, values: Mapping[str, Any], stages: tuple[Stage, ...]) -> dict[Hashable, Supplied]:
    """What each instance of a kind is constructed with: by patch, by pair of patches, by block, or (None) just one.

    Raises:
        KeyError: a value that the kind needs is not among ``values``.
    """
    if kind == "patch_schedule":
        return {None: {"depth": values["depth"]}}
    if KINDS[kind].section != "backbone":
        return {None: {name: _of_latent(name, values) for name in KINDS[kind].supplied}}
    dim = values["dim"]
    if kind == "time_embedder":
        return {None: {"dim": dim}}
    if kind == "class_conditioner":
        return {None: {"dim": dim, "num_classes": values["num_classes"]}}
    if kind == "modulation":
        return {None: {"dim": dim, "depth": values["depth"]}}
    if kind == "block":
        depth, heads = values["depth"], values["heads"]
        return {index: {"dim": dim, "heads": heads, "depth": depth, "index": index} for index in range(depth)}
    if kind == "stage_embedder":
        return {None: {"dim": dim, "stages": len(stages)}}
    if kind == "upsampler":
        pairs = transitions_of(stages)
        return {pair: {"dim": dim, "coarse_patch": pair[0], "fine_patch": pair[1]} for pair in pairs}
    if kind == "position":
        latent, heads = values["latent"], values["heads"]
        return {
            patch: {
                "dim": dim,
                "heads": heads,
                "grid": grid_of(latent.height, latent.width, patch),
                "patch": patch,
                "finest_patch": finest_patch_of(stages),
            }
            for patch in patches_of(stages)
        }
    channels = values["latent"].channels
    if kind == "head":
        patches = first_patches_of(stages, last=True)
    else:
        skipped = [fine for _, fine in transitions_of(stages)] if values["skip"] == "linear" else []
        patches = tuple(dict.fromkeys([*first_patches_of(stages), *skipped]))
    return {patch: {"dim": dim, "channels": channels, "patch": patch} for patch in patches}


def _of_latent(name: str, values: Mapping[str, Any]) -> Any:
    return values["num_classes"] if name == "num_classes" else getattr(values["latent"], name)


def _probe(draft: Draft) -> None:
    """Construct every valid part once on the meta device, and put down what the constructors refuse."""
    values = draft.values["backbone"]
    with torch.device("meta"):
        schedule = _try("patch_schedule", draft, ())
        stages: tuple[Stage, ...] = ()
        if schedule:
            latent = values.get("latent")
            height, width = (latent.height, latent.width) if latent else (0, 0)  # which every patch divides
            found: list[tuple[KeyPath, str]] = []
            try:
                stages = schedule[0].stages()
                found = [
                    (("backbone", "patch_schedule", *schedule[0].key_path(stage, level)), message)
                    for stage, level, message in schedule_problems(stages, values["depth"], height, width)
                ]
            except Exception as error:
                _put_down(draft, "patch_schedule", draft.parts["patch_schedule"][0], error)
            draft.problems.extend(found)
            if stages and not found:
                draft.problems.extend(_sampling_problems(draft, len(stages)))
            if found:
                stages = _each_patch_alone(stages, height, width)
        built = {
            kind: _try(kind, draft, stages)
            for kind in draft.parts
            if kind != "patch_schedule" and (stages or kind not in _NEED_STAGES)
        }
    for several in draft.lists.values():
        for index, (entry, spec) in enumerate(several):
            try:
                entry.create(spec.options, {})
            except Exception as error:
                _put_down(draft, entry.kind, entry, error, index)
    blocks, positions = built.get("block"), built.get("position")
    if blocks and positions and blocks[0].uses_rotary != positions[0].gives_rotary:
        block, position = draft.parts["block"][1].type, draft.parts["position"][1].type
        draft.problems.append(
            (
                ("backbone", "position"),
                f"block {block!r} turns queries and keys by rotary angles, and position {position!r} gives none"
                if blocks[0].uses_rotary
                else f"position {position!r} gives rotary angles, and block {block!r} does not use them",
            )
        )


def _each_patch_alone(stages: tuple[Stage, ...], height: int, width: int) -> tuple[Stage, ...]:
    """A stage for every patch that fits, to hear what other parts refuse where the patches do not go together."""
    fitting = [patch for patch in patches_of(stages) if patch[0] <= height and patch[1] <= width]
    return tuple(Stage(noise_above=0.0, levels=(Level(patch=patch, blocks=1),)) for patch in fitting)


def _sampling_problems(draft: Draft, stages: int) -> Iterator[tuple[KeyPath, str]]:
    """What ``sample`` asks for that this backbone cannot give."""
    values, latent = draft.values["sample"], draft.values["backbone"].get("latent")
    scales = values.get("guidance", 1.0)
    if isinstance(scales, tuple) and len(scales) != stages:
        count = f"{len(scales)} scale{'s' * (len(scales) != 1)}"
        yield ("sample", "guidance"), f"{count} for {stages} stages; give one for every stage, noisiest first, or one"
    channels = values.get("guided_channels")
    if channels is not None and latent and channels > latent.channels:
        yield ("sample", "guided_channels"), f"{channels}, but the latents have {latent.channels} channels"
    low, high = values.get("guidance_interval", (0.0, 1.0))
    if low > high:
        yield ("sample", "guidance_interval"), f"goes from lowest to highest noise level, not from {low} to {high}"


_NEED_STAGES = ("patch_embedder", "position", "upsampler", "stage_embedder", "head")


def _try(kind: str, draft: Draft, stages: tuple[Stage, ...]) -> list[Any] | None:
    """The distinct instances of a kind, or None where a value that they need is not valid."""
    if kind not in draft.parts:
        return None
    entry, spec = draft.parts[kind]
    try:
        supplied = list(_supply(kind, draft.values["backbone"], stages).values())
    except KeyError:
        return None
    if kind == "block":  # they differ in their index alone
        supplied = supplied[:1]
    built = []
    for given in supplied:
        try:
            built.append(_create(spec, given))
        except Exception as error:
            _put_down(draft, kind, entry, error)
            return None
    return built


def _create(spec: PartSpec, supplied: Supplied) -> Any:
    """A part of the backbone.

    Raises:
        ValueError: it refuses its options.
        PluginError: weights of it would be garbage after building on the meta device.
    """
    part = spec.create(supplied)
    for fault in faults(part) if isinstance(part, nn.Module) else ():
        raise PluginError(fault)
    return part


def _put_down(draft: Draft, kind: str, entry: PartEntry, error: Exception, index: int | None = None) -> None:
    if isinstance(error, PluginError) or not isinstance(error, ValueError):
        draft.fault = error
    draft.problems.extend(_refusals(kind, entry, error, index))


def _refused(recipe: Recipe, kind: str, entry: PartEntry, error: ValueError) -> RecipeError:
    return RecipeError([f"{recipe.name}: {dotted(path)}: {text}" for path, text in _refusals(kind, entry, error)])


def _refusals(kind: str, entry: PartEntry, error: Exception, index: int | None = None) -> list[tuple[KeyPath, str]]:
    path: KeyPath = (KINDS[kind].section, key_of(kind), *(() if index is None else (index,)))
    plugin = f"{entry.name}, of {entry.plugin.words}"
    if isinstance(error, OptionError):
        return [((*path, *below), text) for below, text in error.problems]
    if isinstance(error, PluginError):
        return [(path, f"{plugin}: {error}")]
    if isinstance(error, ValueError):
        return [(path, f"{entry.name}: {in_one_line(error) if isinstance(error, ValidationError) else error}")]
    if "overflow" in str(error).lower():
        return [(path, f"{entry.name}: has more numbers than any machine holds; take smaller ones in the recipe")]
    if entry.plugin.name == "zoo":
        raise error
    return [(path, f"{plugin}, failed: {type(error).__name__}: {error}")]
