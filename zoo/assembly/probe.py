"""Parts tried on the meta device, so that all of a recipe's problems are told before anything is allocated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from zoo.assembly.refusals import refusals
from zoo.assembly.supply import create_whole, supply
from zoo.errors import KeyPath, PluginError
from zoo.kinds import path_of
from zoo.parts.base import Block, PatchSchedule, PositionEmbedding
from zoo.parts.returned import described
from zoo.recipe import Draft, NestedError
from zoo.schedule import Level, Stage, patches_of, schedule_problems


def probe(draft: Draft) -> None:
    """Construct every valid part once on the meta device, and put down what the constructors refuse."""
    values = draft.values["backbone"]
    with torch.device("meta"):
        schedule = _try(_SCHEDULE, draft, ())
        stages: tuple[Stage, ...] = ()
        if schedule:
            latent = values.get("latent")
            if latent and len(latent.size) != 2:
                draft.problems.append((("backbone", "latent", "size"), "should have 2 items: parts take two axes"))
                return
            height, width = latent.size if latent else (0, 0)  # which every patch divides
            found: list[tuple[KeyPath, str]] = []
            try:
                stages = _stages(schedule[0])
                found = [
                    ((*_SCHEDULE, *schedule[0].key_path(stage, level)), message)
                    for stage, level, message in schedule_problems(stages, values["depth"], height, width)
                ]
            except Exception as error:
                _put_down(draft, _SCHEDULE, error)
            draft.problems.extend(found)
            if stages and not found:
                draft.problems.extend(_sampling_problems(draft, len(stages)))
            if found:
                stages = _each_patch_alone(stages, height, width)
        built = {
            path: _try(path, draft, stages)
            for path, spec in draft.parts.items()
            if path != _SCHEDULE and (stages or spec.entry.kind not in _NEED_STAGES)
        }
    blocks = {path: found[0] for path, found in built.items() if found and path[:2] == _BLOCK}
    positions = built.get(_POSITION)
    if blocks and positions:
        draft.problems.extend(_misfits(draft, blocks, positions[0]))


def _misfits(
    draft: Draft, blocks: Mapping[KeyPath, Block], positions: PositionEmbedding
) -> Iterator[tuple[KeyPath, str]]:
    """What blocks need and no part gives, and what a part gives and no block uses."""
    position = draft.parts[_POSITION].type
    used = False
    for path, block in blocks.items():
        name = draft.parts[path].type
        needs, uses = (
            {fact for module in block.modules() for fact in getattr(module, which, ())} for which in ("needs", "uses")
        )
        if block.uses_rotary:
            needs.add("rotary")
        used |= "rotary" in needs | uses
        if "rotary" in needs and not positions.gives_rotary:
            yield (
                _POSITION,
                f"block {name!r} turns queries and keys by rotary angles, and position {position!r} gives none",
            )
        for fact in sorted(needs - {"rotary"}):
            yield path, f"block {name!r} needs {fact}, which no part gives"
    if positions.gives_rotary and not used:
        names = " or ".join(dict.fromkeys(repr(draft.parts[path].type) for path in blocks))
        yield _POSITION, f"position {position!r} gives rotary angles, and block {names} does not use them"


def _stages(schedule: PatchSchedule) -> tuple[Stage, ...]:
    stages = schedule.stages()
    if not isinstance(stages, tuple | list) or not all(isinstance(stage, Stage) for stage in stages):
        raise PluginError(f"stages() returned {described(stages)} in place of a tuple of Stages")
    return tuple(stages)


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
        of = f"{stages} stage{'s' * (stages != 1)}"
        yield ("sample", "guidance"), f"{count} for {of}; give one for every stage, noisiest first, or one"
    channels = values.get("guided_channels")
    if channels is not None and latent and channels > latent.channels:
        yield ("sample", "guided_channels"), f"{channels}, but the latents have {latent.channels} channels"
    low, high = values.get("guidance_interval", (0.0, 1.0))
    if low > high:
        yield ("sample", "guidance_interval"), f"goes from lowest to highest noise level, not from {low} to {high}"


_NEED_STAGES = ("patch_embedder", "position", "upsampler", "stage_embedder", "head")


_SCHEDULE: KeyPath = path_of("patch_schedule")
_POSITION: KeyPath = path_of("position")
_BLOCK: KeyPath = path_of("block")


def _try(path: KeyPath, draft: Draft, stages: tuple[Stage, ...]) -> list[Any] | None:
    """The distinct instances of a part, or None where a value that they need is not valid."""
    if path not in draft.parts:
        return None
    spec = draft.parts[path]
    kind = spec.entry.kind
    try:
        supplied = list(supply(kind, draft.values["backbone"], stages).values())
    except KeyError:
        return None
    if kind == "block":  # they differ in their index alone
        supplied = supplied[:1]
    built = []
    for given in supplied:
        try:
            built.append(create_whole(spec, given))
        except Exception as error:
            _put_down(draft, path, error)
            return None
    return built


def _put_down(draft: Draft, path: KeyPath, error: Exception) -> None:
    cause = error
    while isinstance(cause, NestedError):
        cause = cause.error
    if isinstance(cause, PluginError) or not isinstance(cause, ValueError):
        draft.fault = cause
    draft.problems.extend(refusals(path, draft.parts[path].entry, error))
