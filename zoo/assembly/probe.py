"""Parts tried on the meta device, so that all of a recipe's problems are told before anything is allocated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from zoo.assembly.refusals import refusals
from zoo.assembly.supply import create_whole, supply
from zoo.errors import KeyPath, PluginError
from zoo.parts.base import Block, PatchSchedule, PositionEmbedding
from zoo.parts.returned import described
from zoo.recipe import Draft, NestedError
from zoo.registry import PartEntry
from zoo.schedule import Level, Stage, patches_of, schedule_problems


def probe(draft: Draft) -> None:
    """Construct every valid part once on the meta device, and put down what the constructors refuse."""
    values = draft.values["backbone"]
    with torch.device("meta"):
        schedule = _try("patch_schedule", draft, ())
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
                    (("backbone", "patch_schedule", *schedule[0].key_path(stage, level)), message)
                    for stage, level, message in schedule_problems(stages, values["depth"], height, width)
                ]
            except Exception as error:
                _put_down(draft, "patch_schedule", draft.parts["patch_schedule"].entry, error)
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
        for index, spec in enumerate(several):
            try:
                spec.create({})
            except Exception as error:
                _put_down(draft, spec.entry.kind, spec.entry, error, index)
    blocks, positions = built.get("block"), built.get("position")
    if blocks and positions:
        draft.problems.extend(_misfits(draft, blocks[0], positions[0]))


def _misfits(draft: Draft, built: Block, positions: PositionEmbedding) -> Iterator[tuple[KeyPath, str]]:
    """What a block needs and no part gives, and the other way round."""
    block, position = draft.parts["block"].type, draft.parts["position"].type
    needs, uses = (
        {fact for module in built.modules() for fact in getattr(module, which, ())} for which in ("needs", "uses")
    )
    if built.uses_rotary:
        needs.add("rotary")
    if "rotary" in needs and not positions.gives_rotary:
        yield (
            ("backbone", "position"),
            f"block {block!r} turns queries and keys by rotary angles, and position {position!r} gives none",
        )
    if positions.gives_rotary and "rotary" not in needs | uses:
        yield (
            ("backbone", "position"),
            f"position {position!r} gives rotary angles, and block {block!r} does not use them",
        )
    for fact in sorted(needs - {"rotary"}):
        yield ("backbone", "block"), f"block {block!r} needs {fact}, which no part gives"


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


def _try(kind: str, draft: Draft, stages: tuple[Stage, ...]) -> list[Any] | None:
    """The distinct instances of a kind, or None where a value that they need is not valid."""
    if kind not in draft.parts:
        return None
    spec = draft.parts[kind]
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
            _put_down(draft, kind, spec.entry, error)
            return None
    return built


def _put_down(draft: Draft, kind: str, entry: PartEntry, error: Exception, index: int | None = None) -> None:
    cause = error
    while isinstance(cause, NestedError):
        cause = cause.error
    if isinstance(cause, PluginError) or not isinstance(cause, ValueError):
        draft.fault = cause
    draft.problems.extend(refusals(kind, entry, error, index))
