"""A part to be tested: how to build it, what to feed it, and what shape must come out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib import import_module
from math import prod
from typing import Any

import torch
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from zoo.assembly.supply import supplied
from zoo.attributes import said_by
from zoo.errors import PluginError, dotted
from zoo.kinds import KINDS
from zoo.parts.values import Condition, Group, Layout, Rotary
from zoo.recipe.parts import NestedError, PartSpec
from zoo.registry import PartEntry, Registry
from zoo.schedule import AXES, LevelShape, StageShape
from zoo.shape import Place, places_in
from zoo.sites import Site, Slot
from zoo.testing.strategies import GRIDS, head_dims, on_axes, options

BATCH = 3
FEW = 6
"""Examples of a law that is dear, or whose breach shows in almost any."""

Shape = tuple[int, ...]
Random = Callable[..., Tensor]


@dataclass(frozen=True)
class Case:
    """A part with the options that it is built from, and the site that it is built at.

    Attributes:
        entry: the part.
        options: those that hold values.
        site: what the backbone supplies.
        seed: of its weights and inputs.
        parts: options that hold parts; those that are left out are as the constructor says.
    """

    entry: PartEntry
    options: BaseModel
    site: Site
    seed: int
    parts: Mapping[str, PartSpec | None] = field(default_factory=dict)

    @property
    def supplied(self) -> dict[str, Any]:
        """What its constructor is given."""
        return supplied(self.entry.kind, self.site)

    def create(self, device: str = "cpu") -> Any:
        """The part as its constructor makes it, the same at every call."""
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.manual_seed(self.seed)
            return self._spec.create(self.supplied)

    def build(self, *, dtype: torch.dtype = torch.float64, device: str = "cpu") -> nn.Module:
        """A part with weights, every parameter randomised, the same at every call."""
        part: nn.Module = self.create(device).to(dtype).eval()
        randomise(part, self.seed)
        return part

    @property
    def written(self) -> dict[str, Any]:
        """The options that are not as they are by default, as a recipe would write them."""
        fields = type(self.options).model_fields
        chosen = self.options.model_dump(mode="json", exclude_unset=True)
        own = {name: value for name, value in chosen.items() if getattr(self.options, name) != fields[name].default}
        return {**own, **{name: spec and spec.resolved() for name, spec in self.parts.items()}}

    @property
    def place(self) -> dict[str, Any]:
        """What of the site the part asks for, with the grid and the number of tokens in front that it is called on."""
        grid = ("grid", "m") if KINDS[self.entry.kind].has_forward else ()
        return {name: getattr(self.site, name) for name in dict.fromkeys((*self.entry.signature.supplied, *grid))}

    def simpler(self) -> Iterator[Case]:
        """Others that the part does not refuse, each with one thing as it is by default."""
        others: list[Case] = []
        for name in self.written:
            parts = {each: spec for each, spec in self.parts.items() if each != name}
            values = self.options.model_dump(exclude_unset=True, exclude={name})
            if name not in self.entry.signature.required:
                others.append(replace(self, options=type(self.options).model_validate(values), parts=parts))
        others += [replace(self, site=replace(self.site, m=0))] * bool(self.m)
        return (case for case in others if case.refusal() is None)

    def refusal(self) -> str | None:
        """Why the part itself refuses these options, or this site; none where it fails, which any law comes upon."""
        try:
            part = self.create(device="meta")
        except Exception as error:
            inner = error.error if isinstance(error, NestedError) else error
            return str(error) if isinstance(inner, ValueError) and not isinstance(inner, PluginError) else None
        if self.site.axes not in getattr(part, "axes", (self.site.axes,)):
            return f"takes latents of {sorted(part.axes)} axes, not {self.site.axes}"
        if "prefix" in getattr(part, "refuses", ()) and self.m:
            return "takes no tokens in front"
        own: Callable[[Case, Any], str | None] | None = getattr(self._laws, "refusal", None)
        return None if own is None else own(self, part)

    def inputs(self, batch: int, *, dtype: torch.dtype = torch.float64, device: str = "cpu") -> tuple[Any, ...]:
        """Random inputs of the part; batched tensors have the batch first."""
        generator = torch.Generator().manual_seed(self.seed + 1)

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device, dtype)

        return self._laws.inputs(self, batch, random, device)

    def call(self, part: nn.Module, inputs: tuple[Any, ...]) -> Any:
        """What the part makes of inputs."""
        return self.caller(part)(*inputs)

    def caller(self, part: nn.Module) -> Callable[..., Any]:
        """What takes the inputs: the part itself, unless it is more than its ``forward``."""
        call = getattr(self._laws, "call", None)
        return part if call is None else lambda *inputs: call(self, part, inputs)

    def outputs(self, part: nn.Module, batch: int, *, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Any:
        """What the part makes of ``inputs``."""
        return self.call(part, self.inputs(batch, dtype=dtype, device=device))

    def shapes(self, part: nn.Module, batch: int) -> list[Shape]:
        """The shapes that a part of this kind promises for ``inputs(batch)``."""
        found: list[Shape] = self._laws.shapes(self, part, batch)
        return found

    @property
    def _spec(self) -> PartSpec:
        return PartSpec(entry=self.entry, options=self.options, parts=dict(self.parts))

    @property
    def _laws(self) -> Any:
        return import_module(KINDS[self.entry.kind].laws)

    @property
    def dim(self) -> int:
        """The width D of the tokens that come in."""
        return self.site.dim

    @property
    def m(self) -> int:
        """Tokens in front of the image's."""
        return self.site.m

    @property
    def count(self) -> int:
        """Tokens N of the grid."""
        return prod(self.site.grid)

    @property
    def size(self) -> tuple[int, ...]:
        """Of the latents that the grid is of."""
        return tuple(side * pixels for side, pixels in zip(self.site.grid, self.site.patch, strict=True))


def cases(
    entry: PartEntry,
    drawn: st.SearchStrategy[dict[str, Any]] | None = None,
    given: Mapping[str, Any] | None = None,
) -> st.SearchStrategy[Case]:
    """Cases of a part: options from its schema or from ``drawn``, a small site, or what of it is ``given``.

    Raises:
        TypeError: zoo supplies no such value, or an option is of a type that cannot be drawn.
    """
    known = [each.name for each in fields(Site)]
    unknown = [name for name in given or () if name not in known]
    if unknown:
        raise TypeError(f"supplied: zoo supplies no {', '.join(unknown)} to any part (only {', '.join(known)})")
    return _cases(entry, options(entry, _built_in()) if drawn is None else drawn, given or {})


@cache
def _built_in() -> Registry:
    return Registry()


def _spec_of(kind: str, written: Mapping[str, Any]) -> PartSpec:
    """A built-in part as a recipe writes it."""
    entry = _built_in().get(kind, written["type"])
    inside = entry.signature.parts
    parts = {name: written[name] and _spec_of(inside[name].kind, written[name]) for name in inside if name in written}
    values = {name: value for name, value in written.items() if name != "type" and name not in inside}
    return PartSpec(entry=entry, options=entry.signature.options.model_validate(values), parts=parts)


@st.composite
def _cases(
    draw: st.DrawFn, entry: PartEntry, drawn: st.SearchStrategy[dict[str, Any]], given: Mapping[str, Any]
) -> Case:
    axes = given.get("axes", len(given["size"]) if "size" in given else None)
    site = replace(draw(sites(entry, axes)), **given)
    chosen, inside = draw(drawn), entry.signature.parts
    values = {name: on_axes(entry, name, value, site.axes) for name, value in chosen.items() if name not in inside}
    parts = {name: _spec_of(inside[name].kind, value) for name, value in chosen.items() if name in inside}
    return Case(entry, _validated(entry, values), site, draw(st.integers(0, 2**31)), parts)


def _validated(entry: PartEntry, values: dict[str, Any]) -> BaseModel:
    """Options as a recipe writes them.

    Raises:
        TypeError: the part has no such options.
    """
    try:
        return entry.signature.options.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        raise TypeError(f"options: {entry.kind} {entry.name}: {dotted(first['loc'])}: {first['msg']}") from None


@st.composite
def sites(draw: st.DrawFn, entry: PartEntry, axes: int | None = None) -> Site:
    """Sites of a part, of small sizes, on as many axes; on any that its class says it takes, if left out."""
    axes = axes or draw(st.sampled_from(sorted(said_by(entry.cls, "axes", AXES), key=lambda each: (each != 2, each))))
    sides = st.integers(1, 3)
    heads = draw(st.integers(1, 2))
    dim = heads * draw(head_dims(axes))
    next_dim = draw(st.sampled_from([dim, 2 * dim]))
    fine = tuple(draw(sides) for _ in range(axes))
    coarse = tuple(side * draw(sides) for side in fine)
    down = KINDS[entry.kind].per == "downs"
    widths = draw(st.sampled_from([(dim,), (dim, 2 * dim)]))
    vectors = st.integers(0, 6)
    shape = [(each, draw(st.integers(1, 3))) for each in draw(st.sampled_from([(1,), (1, 2, 1)]))]  # also down and up
    depth = sum(count for _, count in shape)
    index, stages = draw(st.integers(0, depth - 1)), draw(st.integers(1, 3))
    places = tuple(
        _places(shape, dim, heads, tuple(side << stage for side in coarse))[index] for stage in range(stages)
    )
    return Site(
        axes=axes,
        channels=draw(st.integers(1, 16)),
        num_classes=draw(st.integers(1, 5)),
        depth=depth,
        stages=stages,
        dim=dim,
        next_dim=next_dim,
        kept_dim=draw(st.sampled_from([next_dim, dim, *([None] if "kept" in said_by(entry.cls, "uses", ()) else [])])),
        condition_dim=draw(st.sampled_from([dim, 2 * dim])),
        heads=heads,
        patch=fine if down else coarse,
        next_patch=coarse if down else fine,
        grid=(grid := draw(st.sampled_from(GRIDS[axes]))),
        size=tuple(side * pixels for side, pixels in zip(grid, fine if down else coarse, strict=True)),
        stride=tuple(a / b for a, b in zip(coarse, fine, strict=True)),
        m=draw(st.integers(0, 3)),
        index=index,
        places=places,
        blocks=tuple(
            Slot(width, width, draw(vectors)) for width in (draw(st.sampled_from(widths)) for _ in range(depth))
        ),
        heads_by_width={width: Slot(width, width, draw(st.sampled_from([0, 2]))) for width in widths},
        widths=widths,
        has_label=draw(st.booleans()),
    )


def _places(shape: list[tuple[int, int]], dim: int, heads: int, patch: Shape) -> list[Place]:
    """Of all blocks of a stage, whose levels have so many times the patch, and so many blocks."""
    levels = (LevelShape(tuple(each * side for side in patch), count, dim, heads) for each, count in shape)
    return places_in(StageShape(0.0, tuple(levels), (1,) * len(patch)))


def randomise(module: nn.Module, seed: int, std: float = 0.5) -> None:
    """Draw every parameter anew: with zero gates and heads, most laws hold whatever the code does.

    No matrix makes what goes through it larger, or softmax saturates, and no gradient comes through that.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.device.type != "meta":
                values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                fan_in = parameter.numel() // len(parameter) if parameter.ndim > 1 else 1
                parameter.copy_(values * min(std, fan_in**-0.5))


def sample_of(value: Any, index: int) -> Any:
    """Batched inputs for one sample alone."""
    if isinstance(value, Tensor):
        return value[index : index + 1]
    if isinstance(value, Layout):
        angles = () if value.index is None else ("rotary",)  # else those of all samples
        names = ("context", "context_mask", "index", *angles)
        return replace(value, **{name: sample_of(getattr(value, name), index) for name in names})
    if isinstance(value, Group | Condition | Rotary):
        return type(value)(*(sample_of(each, index) for each in value))
    if isinstance(value, Mapping):
        return {key: sample_of(each, index) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(sample_of(each, index) for each in value)
    return value
