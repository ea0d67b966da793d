"""Parts tried on the meta device, so that all of a recipe's problems are told before anything is allocated."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any

from zoo.assembly.crossings import crossings
from zoo.assembly.reach import unmet
from zoo.assembly.refusals import refusals
from zoo.assembly.supply import OF_SHAPE, Supplied, create_whole, once, shape_of, supplied_at, supplied_beside
from zoo.attributes import mistakes, said_by
from zoo.devices import meta_device
from zoo.errors import KeyPath, PluginError, dotted, text_of
from zoo.kinds import HELD_KINDS, KINDS, in_order_of_building, path_of
from zoo.parts.base import PatchSchedule
from zoo.parts.facts import Member, disagreements, facts_of, other_axes
from zoo.parts.module_part import ModulePart
from zoo.parts.returned import described
from zoo.recipe import Draft, NestedError
from zoo.recipe.draft import SUPPLIED_FROM
from zoo.recipe.latent import SizeRecipe
from zoo.recipe.messages import Problem
from zoo.schedule import AXES, Level, Stage, on_all_axes
from zoo.schedule_problems import schedule_problems
from zoo.shape import Shape
from zoo.sites import Key

STAND_INS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "latent": (
        SizeRecipe(channels=1, size=(1, 1)),
        ("axes", "channels", "size", "latent", "patch", "next_patch", "grid", "stride"),
    ),
    "num_classes": (1, ("num_classes",)),
    "dim": (
        1,
        ("dim", "next_dim", "kept_dim", "condition_dim", "heads", "blocks", "heads_by_width", "widths", "block_dims"),
    ),
    "depth": (1, ("depth", "index", "places", "block_dims")),
    "heads": (1, ("heads",)),
    "condition": ("per_width", ()),
}
"""What stands in for a value that is not valid, and what sites then say that no part is to be tried with."""

SCHEDULE: KeyPath = path_of("patch_schedule")

OF_STAGES = frozenset(
    {"patch", "next_patch", "kept_dim", "grid", "stride", "stages", "ranges", "scales", "places", "m", "block_dims"}
)

TOLD_BY = {
    "class_conditioner": ("m", "has_label"),
    "modulation": ("m",),
    "block": ("blocks",),
    "head": ("heads_by_width",),
}
"""What sites say once parts of a kind are there; a skip adds but places where a patch embedder stands."""


EXAMPLES = 2
"""Labels that a dataset is to show."""

NO_LEVEL: Mapping[str, KeyPath] = MappingProxyType({})


def probe(draft: Draft) -> None:
    """Construct every valid part once on the meta device, and put down what the constructors refuse."""
    values = dict(draft.values["backbone"])
    unsure: set[str] = set()
    for name, (stand_in, names) in STAND_INS.items():
        if name not in values:
            values[name] = stand_in
            unsure.update(names)
    with meta_device():
        stages, fitting = _stages(draft, values, unsure)
        unsure.update(() if fitting is not None else OF_STAGES)
        shape = shape_of(values, fitting or (_alone(1, values),))
        built = _built(draft, shape, unsure)
    unsure.update(() if stages else OF_SHAPE)
    made: dict[KeyPath, Any] = {}
    for path, spec in draft.parts.items():
        asked, written = spec.entry.signature.supplied, draft.tree.holds(path[:2])
        if path[0] == "backbone" or path[0] not in draft.needs or not (written or asked) or unsure & set(asked):
            continue
        given = supplied_beside(spec.entry.kind, values["latent"], values["num_classes"], shape)
        try:
            with meta_device() if issubclass(spec.entry.cls, ModulePart) else nullcontext():
                made[path] = create_whole(spec, given)
        except Exception as error:
            if not written and isinstance(error, ValueError):  # the backbone can be built and counted without
                draft.unfit.add(path[:2])
            else:
                _put_down(draft, path, error, given)
    router = built.get("router", {}).get(None)
    _put_down_losses(draft, made, values["depth"] if "depth" not in unsure else None, router)
    _put_down_labels(draft, made, built)
    if stages and not unsure and len(built) == len(HELD_KINDS):
        _put_down_together(draft, shape, built)


def _stages(
    draft: Draft, values: dict[str, Any], unsure: set[str]
) -> tuple[tuple[Stage, ...], tuple[Stage, ...] | None]:
    """The stages, none if they do not fit; and some to try other parts with, None if no patch is known."""
    spec = draft.parts.get(SCHEDULE)
    if spec is None or unsure & {"depth", *spec.entry.signature.supplied}:
        return (), None
    latent, found = values["latent"], []
    known = "axes" not in unsure
    given = {"depth": values["depth"], "axes": len(latent.size)}
    try:
        schedule: PatchSchedule = spec.create(given)
        for mistake in mistakes(schedule, "patch_schedule"):
            raise PluginError(mistake)
        stages = _returned(schedule)
        size = latent.size if known else None
        problems = schedule_problems(stages, values["depth"], size, values["dim"], values["heads"])
        found = [
            Problem((*SCHEDULE, *schedule.key_path(stage, level, field)), message, SUPPLIED_FROM.get(about or "", ()))
            for stage, level, field, message, about in problems
        ]
    except Exception as error:
        _put_down(draft, SCHEDULE, error, given)
        return (), None
    draft.problems.extend(found)
    if not known:
        return (), None
    if not found:
        return stages, stages
    patches = [on_all_axes(level.patch, len(latent.size)) for stage in stages for level in stage.levels]
    fitting = dict.fromkeys(
        patch
        for patch in patches
        if len(patch) == len(latent.size) and all(a <= b for a, b in zip(patch, latent.size, strict=True))
    )
    return (), tuple(_alone(patch, values) for patch in fitting) or None


def _returned(schedule: PatchSchedule) -> tuple[Stage, ...]:
    stages = schedule.stages()
    if not isinstance(stages, tuple | list) or not all(isinstance(stage, Stage) for stage in stages):
        raise PluginError(f"stages() returned {described(stages)} in place of a tuple of Stages")
    return tuple(stages)


def _alone(patch: int | tuple[int, ...], values: dict[str, Any]) -> Stage:
    """A stage of one patch, to hear what other parts refuse where the patches do not go together."""
    return Stage(noise_above=0.0, levels=(Level(patch=patch, blocks=values["depth"]),))


def _built(draft: Draft, shape: Shape, unsure: set[str]) -> dict[str, dict[Key, Any]]:
    """One instance of every part that can be tried, under all keys at which it is the same."""
    built: dict[str, dict[Key, Any]] = {}
    for kind in in_order_of_building():
        untold = {name for other in KINDS[kind].after if other not in built for name in TOLD_BY.get(other, ())}
        found = _try(kind, draft, shape, built, unsure | untold)
        if found is not None:
            built[kind] = found
    return built


def _try(
    kind: str, draft: Draft, shape: Shape, built: dict[str, dict[Key, Any]], unsure: set[str]
) -> dict[Key, Any] | None:
    """The parts of a kind, or None where one is not there; each path is put down once at most."""
    made: dict[Hashable, Any] = {}
    found: dict[Key, Any] = {}
    whole, failed = True, set()
    for key, given in supplied_at(kind, shape, built):
        path = draft.at(kind, key)
        if path is None or path in failed or unsure & set(draft.parts[path].entry.signature.supplied):
            whole = False
            continue
        spec = draft.parts[path]
        alike = once(given, spec)
        if alike not in made:
            try:
                made[alike] = create_whole(spec, given)
            except Exception as error:
                _put_down(draft, path, error, given, _of_level(draft, shape, given))
                failed.add(path)
                whole = False
                continue
        found[key] = made[alike]
    return found if whole else None


def _put_down_losses(draft: Draft, made: Mapping[KeyPath, Any], depth: int | None, router: Any) -> None:
    """What losses ask for that the backbone, or the dataset, has not; a depth or a router of None is not known."""
    dataset = made.get(path_of("dataset"))
    for path, part in made.items():
        if path[:2] != path_of("loss"):
            continue
        beyond = [tap for tap in part.taps if depth is not None and not 0 <= tap < depth]
        if beyond:
            told = f"taps block {beyond[0]}, and there are blocks 0 to {depth - 1 if depth else 0}"
            draft.put_down(path, told, (("backbone", "depth"),))
        elif part.routed and router is not None and not set(part.taps) & set(range(router.first, router.stop)):
            draft.put_down(path, _unrouted(part.taps, router), (path_of("router"),))
        missing = [name for name in part.extra if dataset is not None and name not in dataset.extra]
        if dataset is not None and missing:
            source = f"dataset {draft.parts[path_of('dataset')].type}"
            given = f"{', '.join(dataset.extra)} alone" if dataset.extra else "nothing beside latents and labels"
            draft.put_down(path, f"asks for {', '.join(missing)} of each sample, and {source} gives {given}")


def _put_down_labels(draft: Draft, made: Mapping[KeyPath, Any], built: Mapping[str, Mapping[Key, Any]]) -> None:
    """Labels that a dataset of the recipe's says it has, and the class conditioner does not take.

    The default one is not held against it: a recipe that leaves it out says so too once it is written as resolved, and
    may be there to be counted. Training refuses it before the first step.
    """
    path, kind = path_of("dataset"), "class_conditioner"
    if path not in made or kind not in built or draft.parts[path].type == KINDS["dataset"].default:
        return
    try:
        labels = made[path].example_labels(EXAMPLES)
    except Exception as error:
        _put_down(draft, path, error, {})
        return
    key, conditioner = next(iter(built[kind].items()))
    try:
        if labels is not None:
            conditioner.check_labels(labels, EXAMPLES)
    except ValueError as error:
        own, dataset = draft.at(kind, key) or path_of(kind), draft.parts[path].type
        told = f"{draft.parts[own].type} does not take the labels of dataset {dataset}: {text_of(error)}"
        draft.put_down(own, f"{told}; set this or data.dataset to what go together", (path,))
    except Exception:  # a part that has no weights here may fail at what it takes elsewhere
        return


def _unrouted(taps: Sequence[int], router: Any) -> str:
    if router.first == router.stop:
        return "asks which tokens a router leaves out, and there is none; take backbone.router, or a loss of all tokens"
    last = router.stop - 1
    where = f"block {last} alone" if router.first == last else f"blocks {router.first} to {last} alone"
    tapped = f"taps block {taps[0]}" if taps else "taps no block"
    return f"asks which tokens a router leaves out, which it does in {where}, and {tapped}; tap one of these"


def _put_down_together(draft: Draft, shape: Shape, built: dict[str, dict[Key, Any]]) -> None:
    """What parts that are each right cannot be together."""
    members = []
    for kind, parts in built.items():
        for key, part in parts.items():
            path = draft.at(kind, key)
            assert path is not None
            members.append(Member(kind, draft.parts[path].type, facts_of(part), path, unmet(shape, built, kind, key)))
    found = [(member.path, message) for member, message in disagreements(members, len(shape.size))]
    found += [(draft.at(kind, key) or path_of(kind), message) for kind, key, message in crossings(shape, built)]
    alike: dict[tuple[KeyPath, str], list[str]] = {}
    for path, message in dict.fromkeys(found):  # a part stands in many places, and may be at fault in each
        alike.setdefault((path, re.sub(r"-?\d+", "", message)), []).append(message)
    for (path, _), (first, *others) in alike.items():
        draft.put_down(path, f"{first} (and {len(others)} more like this)" if others else first)


def _put_down(
    draft: Draft, path: KeyPath, error: Exception, given: Supplied, of_level: Mapping[str, KeyPath] = NO_LEVEL
) -> None:
    """What a part raises with what it is given; told at the level, where it is about what that says of it."""
    where, entry, cause = path, draft.parts[path].entry, error
    while isinstance(cause, NestedError):
        where, entry, cause = (*where, cause.option), cause.entry, cause.error
    values = draft.values["backbone"]
    if path[0] == "backbone" and "latent" in values:
        axes, taken = len(values["latent"].size), said_by(entry.cls, "axes", AXES)
        if axes not in taken:  # nor need its constructor stand others
            draft.put_down(where, other_axes(f"{entry.kind} {entry.name!r}", taken, axes))
            return
    if isinstance(cause, PluginError) or not isinstance(cause, ValueError):
        draft.fault = cause
    known = {**values, "size": values["latent"].size} if "latent" in values else values
    written = {name: keys for name, keys in SUPPLIED_FROM.items() if name in known and given.get(name) == known[name]}
    written |= {name: (key,) for name, key in of_level.items()}
    for problem in refusals(path, draft.parts[path].entry, error, written):
        keys = [key for key in of_level.values() if key in problem.about]
        if keys:
            mend = "; give the level other heads, or another dim" if re.search(r"by heads \d+", problem.message) else ""
            problem = Problem(keys[0], f"{dotted(problem.path[1:])}: {problem.message}{mend}")
        draft.problems.append(problem)


def _of_level(draft: Draft, shape: Shape, given: Supplied) -> dict[str, KeyPath]:
    """Where a level says what a part is given, and the backbone says otherwise."""
    dim, heads = given.get("dim", shape.dim), given.get("heads")
    if dim == shape.dim and heads in (None, shape.heads):
        return {}
    field = "heads" if dim == shape.dim else "dim"
    schedule: PatchSchedule = draft.parts[SCHEDULE].create({"depth": shape.depth, "axes": len(shape.size)})
    for number, stage in enumerate(shape.stages):
        for place, level in enumerate(stage.levels):
            if level.dim == dim and heads in (None, level.heads):
                return {field: (*SCHEDULE, *schedule.key_path(number, place, field))}
    return {}
