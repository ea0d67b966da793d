"""A part to be tested: how to build it, what to feed it, and what shape must come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from math import prod
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from zoo.assembly.supply import supplied
from zoo.attributes import said_by
from zoo.devices import cast_weights, meta_device
from zoo.errors import PluginError
from zoo.kinds import KINDS, laws_module
from zoo.part_entries import PartEntry
from zoo.parts.values import Condition, Group, Layout, Rotary
from zoo.recipe.parts import NestedError, PartSpec
from zoo.schedule import AXES
from zoo.sites import Site
from zoo.testing.generators import seeded, torch_seeded

BATCH = 3
MODES = ("eval", "train")
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
        there = nullcontext() if device == "cpu" else meta_device() if device == "meta" else torch.device(device)
        with torch_seeded(self.seed), there:
            return self._spec.create(self.supplied)

    @cached_property
    def unmade(self) -> Any:
        """The part on the meta device, to be asked what it is, and not to be run or changed."""
        return self.create("meta")

    def build(self, *, dtype: torch.dtype = torch.float64, device: str = "cpu") -> nn.Module:
        """A part with weights, every parameter randomised, the same at every call.

        It is cast as in a backbone, whose weights are of PyTorch's default dtype, also where the part has none.
        """
        part: nn.Module = cast_weights(self.create(device), dtype, torch.get_default_dtype()).eval()
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
            part = self.unmade
        except Exception as error:
            entry, inner = self.entry, error
            while isinstance(inner, NestedError):
                entry, inner = inner.entry, inner.error
            axes = said_by(entry.cls, "axes", AXES)
            if self.site.axes not in axes:  # nor need its constructor stand others
                return f"takes latents of {sorted(axes)} axes, not {self.site.axes}"
            return str(error) if isinstance(inner, ValueError) and not isinstance(inner, PluginError) else None
        if self.site.axes not in getattr(part, "axes", (self.site.axes,)):
            return f"takes latents of {sorted(part.axes)} axes, not {self.site.axes}"
        if "prefix" in getattr(part, "refuses", ()) and self.m:
            return "takes no tokens in front"
        if "prefix" in getattr(part, "needs", ()) and not self.m:
            return "needs tokens in front"
        own: Callable[[Case, Any], str | None] | None = getattr(self._laws, "refusal", None)
        return None if own is None else own(self, part)

    def inputs(self, batch: int, *, dtype: torch.dtype = torch.float64, device: str = "cpu") -> tuple[Any, ...]:
        """Random inputs of the part; batched tensors have the batch first."""
        generator = torch.Generator().manual_seed(self.seed + 1)

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device, dtype)

        with seeded(self.seed):  # a part may draw its example labels
            return self._laws.inputs(self, batch, random, device)

    def occasions(self) -> Iterator[tuple[Any, ...]]:
        """``inputs``, and after them those on which a part may compute what it leaves out on these, if its kind has
        such."""
        yield self.inputs(BATCH)
        more: Callable[[Case], Iterator[tuple[Any, ...]]] | None = getattr(self._laws, "occasions", None)
        yield from () if more is None else more(self)

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
        """The shapes that a part of this kind promises for ``inputs(batch)``: where it says none, the tokens'."""
        own: Callable[[Case, Any, int], list[Shape]] | None = getattr(self._laws, "shapes", None)
        return [(batch, self.m + self.count, self.dim)] if own is None else own(self, part, batch)

    @property
    def links(self) -> Callable[[Case, Any], Iterator[Any]] | None:
        """What tells which of ``inputs`` has to be seen where, if the kind says that: see ``place_laws``."""
        return getattr(self._laws, "links", None)

    @property
    def _spec(self) -> PartSpec:
        return PartSpec(entry=self.entry, options=self.options, parts=dict(self.parts))

    @property
    def _laws(self) -> Any:
        return import_module(laws_module(self.entry.kind))

    @property
    def dim(self) -> int:
        """The width D of the tokens that come in."""
        return self.site.dim

    @property
    def m(self) -> int:
        """Tokens in front of the image's."""
        return self.site.m

    @property
    def m_passing(self) -> int:
        """Those of them that pass by where a level ends: none to another width, which has its own."""
        return self.m if self.site.next_dim == self.dim else 0

    @property
    def count(self) -> int:
        """Tokens N of the grid."""
        return prod(self.site.grid)

    @property
    def size(self) -> tuple[int, ...]:
        """Of the latents that the grid is of."""
        return tuple(side * pixels for side, pixels in zip(self.site.grid, self.site.patch, strict=True))


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
    return samples_of(value, slice(index, index + 1))


def samples_of(value: Any, some: slice) -> Any:
    """Batched inputs for some of the samples."""
    if isinstance(value, Tensor):
        return value[some]
    if isinstance(value, Layout):
        angles = () if value.index is None else ("rotary",)  # else those of all samples
        names = ("context", "context_mask", "index", *angles)
        return replace(value, **{name: samples_of(getattr(value, name), some) for name in names})
    if isinstance(value, Group | Condition | Rotary):
        return type(value)(*(samples_of(each, some) for each in value))
    if isinstance(value, Mapping):
        return {key: samples_of(each, some) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(samples_of(each, some) for each in value)
    return value
