"""A part to be tested: how to build it, what to feed it, and what shape must come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from hypothesis import strategies as st
from pydantic import BaseModel
from torch import Tensor, nn

from zoo.labels import rows
from zoo.parts.base import Affine, BlockModulation, ClassConditioner, Layout, PositionEmbedding, Rotary
from zoo.registry import PartEntry
from zoo.testing.strategies import options

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A part with the options and the supplied values that it is built from."""

    entry: PartEntry
    options: BaseModel
    supplied: Mapping[str, Any]
    m: int
    seed: int

    def create(self, device: str = "cpu") -> Any:
        """The part as its constructor makes it, the same at every call."""
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.manual_seed(self.seed)
            return self.entry.create(self.options, self.supplied)

    def build(self, *, dtype: torch.dtype = torch.float64, device: str = "cpu") -> nn.Module:
        """A part with weights, every parameter randomised, the same at every call."""
        part: nn.Module = self.create(device).to(dtype).eval()
        randomise(part, self.seed)
        return part

    def refusal(self) -> str | None:
        """Why the part itself refuses these options, where they do not go together."""
        try:
            self.create(device="meta")
        except ValueError as error:
            return str(error)
        return None

    def inputs(self, batch: int, *, dtype: torch.dtype = torch.float64, device: str = "cpu") -> tuple[Any, ...]:
        """Random inputs of ``forward``; batched tensors have the batch first."""
        generator = torch.Generator().manual_seed(self.seed + 1)

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device, dtype)

        return _INPUTS[self.entry.kind](self, batch, random, device)

    def outputs(self, part: nn.Module, batch: int, *, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Any:
        """What ``forward`` returns for ``inputs``."""
        inputs = self.inputs(batch, dtype=dtype, device=device)
        if self.entry.kind == "stage_embedder":  # not batched: all of its stages
            return [part(stage) for stage in range(self.supplied["stages"])]
        return part(*inputs)

    @property
    def dim(self) -> int:
        """The width D."""
        return int(self.supplied["dim"])

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens per side (gh, gw)."""
        rows, columns = self.supplied["grid"]
        return rows, columns


def cases(
    entry: PartEntry,
    drawn: st.SearchStrategy[dict[str, Any]] | None = None,
    supplied: Mapping[str, Any] | None = None,
) -> st.SearchStrategy[Case]:
    """Cases of a part: options from its schema or from ``drawn``, small sizes or those that are ``supplied``."""
    return _cases(entry, options(entry) if drawn is None else drawn, supplied or {})


@st.composite
def _cases(
    draw: st.DrawFn, entry: PartEntry, drawn: st.SearchStrategy[dict[str, Any]], fixed: Mapping[str, Any]
) -> Case:
    sides = st.integers(1, 3)
    heads = draw(st.integers(1, 2))
    depth = draw(st.integers(1, 3))
    fine = (draw(sides), draw(sides))
    coarse = (fine[0] * draw(sides), fine[1] * draw(sides))
    supplied = {
        "dim": 8 * heads * draw(st.integers(1, 2)),
        "heads": heads,
        "depth": depth,
        "index": draw(st.integers(0, depth - 1)),
        "channels": draw(st.integers(1, 16)),
        "num_classes": draw(st.integers(1, 5)),
        "stages": draw(st.integers(1, 3)),
        "grid": draw(st.sampled_from([(1, 2), (2, 1), (2, 3), (3, 2), (2, 2)])),
        "patch": coarse,
        "finest_patch": fine,
        "coarse_patch": coarse,
        "fine_patch": fine,
        "axes": 2,
        "condition_dim": 8 * draw(st.integers(1, 2)),
    }
    unknown = [name for name in fixed if name not in supplied]
    if unknown:
        raise TypeError(f"supplied: zoo supplies no {', '.join(unknown)} to any part (only {', '.join(supplied)})")
    supplied |= fixed
    chosen = entry.signature.options.model_validate(draw(drawn))
    return Case(entry, chosen, supplied, m=draw(st.integers(0, 3)), seed=draw(st.integers(0, 2**31)))


def randomise(module: nn.Module, seed: int, std: float = 0.5) -> None:
    """Draw every parameter anew: with zero gates and heads, most laws hold whatever the code does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.device.type != "meta":
                values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * std
                parameter.copy_(values)


def sample_of(value: Any, index: int) -> Any:
    """Batched inputs for one sample alone."""
    if isinstance(value, Tensor | Mapping):
        return rows(value, slice(index, index + 1))
    if isinstance(value, BlockModulation | Affine):
        return type(value)(*(sample_of(each, index) for each in value))
    if isinstance(value, Layout):
        return replace(
            value, context=sample_of(value.context, index), context_mask=sample_of(value.context_mask, index)
        )
    return value


def expected_shapes(case: Case, part: nn.Module, batch: int) -> list[Shape]:
    """The shapes that a part of this kind promises for ``case.inputs(batch)``."""
    dim, kind, n = case.dim, case.entry.kind, prod(case.grid)
    pixels = prod(case.supplied["patch"]) * case.supplied["channels"]
    vector: Shape = (batch, dim)
    if kind == "position":
        assert isinstance(part, PositionEmbedding)
        head_dim = dim // case.supplied["heads"]
        position = part()
        table: list[Shape] = [] if position.add is None else [(n, dim)]
        return table + [(n, head_dim)] * 2 * part.gives_rotary
    if kind == "class_conditioner":
        assert isinstance(part, ClassConditioner)
        condition = part(*case.inputs(batch))
        tokens: list[Shape] = [(batch, part.class_tokens, dim)] if part.class_tokens else []
        return ([] if condition.vector is None else [vector]) + tokens
    if kind == "stage_embedder":
        return [(dim,) for stage in range(case.supplied["stages"]) if part(stage) is not None]
    if kind == "upsampler":
        ratio = prod(c // f for c, f in zip(case.supplied["coarse_patch"], case.supplied["fine_patch"], strict=True))
        return [(batch, case.m + n * ratio, dim)]
    shapes: dict[str, list[Shape]] = {
        "patch_embedder": [(batch, n, dim)],
        "time_embedder": [vector],
        "modulation": [vector] * (6 * case.supplied["depth"] + 2),
        **{kind: [(batch, case.m + n, dim)] for kind in ("block", "attention", "mlp", "norm")},
        "head": [(batch, n, pixels)],
    }
    return shapes[kind]


Random = Callable[..., Tensor]


def _latents(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    (rows, columns), patch = case.grid, case.supplied["patch"]
    return (random(batch, case.supplied["channels"], rows * patch[0], columns * patch[1]),)


def _block(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    vector = (batch, case.dim)
    modulation = BlockModulation(
        Affine(random(*vector), random(*vector)),
        random(*vector),
        Affine(random(*vector), random(*vector)),
        random(*vector),
    )
    tokens, layout = _inside_block(case, batch, random, device)
    return tokens, modulation, layout


def _inside_block(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    n = prod(case.grid)
    layout = Layout(m=case.m, grid=case.grid, patch=case.supplied["patch"], rotary=None, level_index=0, level_blocks=1)
    part = case.build(device="meta")
    facts = {*getattr(part, "uses", ()), *getattr(part, "needs", ())}
    if "rotary" in facts or getattr(part, "uses_rotary", False):
        angles = random(n, case.dim // case.supplied["heads"] // 2).repeat_interleave(2, dim=1)
        layout = replace(layout, rotary=Rotary(angles.cos(), angles.sin()))
    if "context" in facts:
        mask = torch.arange(5, device=device) <= torch.arange(batch, device=device).unsqueeze(1)
        layout = replace(layout, context=random(batch, 5, case.supplied["condition_dim"]), context_mask=mask)
    return random(batch, case.m + n, case.dim), layout


_INPUTS: dict[str, Callable[[Case, int, Random, str], tuple[Any, ...]]] = {
    "patch_embedder": _latents,
    "position": lambda case, batch, random, device: (),
    "time_embedder": lambda case, batch, random, device: (random(batch).sigmoid(),),
    "class_conditioner": lambda case, batch, random, device: (
        case.build(device="meta").example_labels(batch, device=device),  # type: ignore[operator]
    ),
    "modulation": lambda case, batch, random, device: (random(batch, case.dim),),
    "block": _block,
    "attention": _inside_block,
    "mlp": _inside_block,
    "norm": lambda case, batch, random, device: _inside_block(case, batch, random, device)[:1],
    "upsampler": lambda case, batch, random, device: (
        random(batch, case.m + prod(case.grid), case.dim),
        case.m,
        case.grid,
    ),
    "stage_embedder": lambda case, batch, random, device: (0,),
    "head": lambda case, batch, random, device: (
        random(batch, prod(case.grid), case.dim),
        Affine(random(batch, case.dim), random(batch, case.dim)),
    ),
}
