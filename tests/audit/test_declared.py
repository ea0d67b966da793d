"""What a part declares counts for what would be traced, and what cannot be names the part; convolutions count by
themselves."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tests.audit.small import (
    COARSE,
    DEPTH,
    DIM,
    FINE,
    RECIPE,
    TOKENS,
    WHERE,
    forward_macs,
    small,
    with_block,
)
from zoo.assembly import build, load_recipe
from zoo.audit import count_stage
from zoo.backbone import Backbone
from zoo.errors import AuditError
from zoo.parts.blocks import DiTBlock
from zoo.parts.grids import to_map, to_tokens
from zoo.parts.values import Declared, Group, Layout, Vectors
from zoo.registry import Registry


class Mixer(nn.Module):
    """Three convolutions: depthwise, by a function, and in a module further in."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 3, padding="same", padding_mode="circular", groups=dim)
        self.kernel = nn.Parameter(torch.empty(dim, dim, 3, 3))
        self.inner = nn.Sequential(nn.ConvTranspose2d(dim, dim, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.inner(F.conv2d(self.depthwise(image), self.kernel, padding=1))


class Convolves(DiTBlock):
    """A mixer of the image tokens before a usual block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.mixer = Mixer(dim)

    def forward_stage(
        self, tokens: Float[Tensor, "b T D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b T D"]
    ) -> Float[Tensor, "b T D"]:
        image = to_tokens(self.mixer(to_map(tokens[:, layout.m :], layout.grid)))
        return super().forward_stage(torch.cat([tokens[:, : layout.m], image], dim=1), vectors, layout)


class Declares(Convolves):
    """The same, with its count of all that it does."""

    def declare(self, groups: list[Group]) -> Declared:
        ((tokens, _, layout, _),) = groups
        _, count, dim = tokens.shape
        mixer = layout.grid[0] * layout.grid[1] * (9 * dim + 10 * dim * dim)
        block = count * (4 + 8) * dim * dim + 2 * count * count * dim
        attention = 2 * count * count * dim
        return Declared(self.forward(groups), mixer + block, 2 * count * dim * 4, attention)


def convolving(cls: type[Convolves], places: tuple[int, ...] = (WHERE,)) -> Backbone:
    backbone = small()
    for place in places:
        backbone.blocks[place] = cls(DIM, 2).to("meta")
    return backbone


@pytest.mark.parametrize("cls", [Convolves, Declares])
@pytest.mark.parametrize("places", [(2,), (0,), (0, 3), (0, 1, 2, 3)])
def test_convolutions_count_where_they_are_whether_traced_or_declared(
    cls: type[Convolves], places: tuple[int, ...]
) -> None:
    backbone = convolving(cls, places)
    counted = count_stage(backbone, 0)
    assert counted.macs == forward_macs(backbone)
    plain = count_stage(small(), 0)
    assert counted.norm_ops == plain.norm_ops
    assert counted.attention_macs == plain.attention_macs
    assert [counted.attention[f"blocks.{place}"] for place in range(DEPTH)] == [
        plain.attention[f"blocks.{place}"] for place in range(DEPTH)
    ]
    for place in range(DEPTH):
        image = COARSE if place < 2 else FINE
        more = image * (9 * DIM + 10 * DIM * DIM) if place in places else 0
        assert counted.modules[f"blocks.{place}"] == plain.modules[f"blocks.{place}"] + more
    assert counted.modules["blocks"] == sum(counted.modules[f"blocks.{place}"] for place in range(DEPTH))


def test_convolutions_in_modules_of_modules_count_for_each_of_them() -> None:
    modules = count_stage(convolving(Convolves), 0).modules
    mixer = f"blocks.{WHERE}.mixer"
    assert modules[f"{mixer}.depthwise"] == FINE * 9 * DIM
    assert modules[f"{mixer}.inner"] == modules[f"{mixer}.inner.0"] == FINE * DIM * DIM
    by_function = FINE * 9 * DIM * DIM
    assert modules[mixer] == modules[f"{mixer}.depthwise"] + by_function + modules[f"{mixer}.inner"]


def test_declaring_nothing_means_to_be_traced() -> None:
    class Undecided(DiTBlock):
        def declare(self, *inputs: Any) -> None:
            return None

    backbone = small()
    backbone.blocks[WHERE] = Undecided(DIM, 2).to("meta")
    assert count_stage(backbone, 0) == count_stage(small(), 0)


def declaring(answer: Callable[[Tensor], Any]) -> Backbone:
    class Answers(DiTBlock):
        def declare(self, groups: list[Group]) -> Any:
            own = answer(groups[0].tokens)
            if isinstance(own, Declared):
                object.__setattr__(own, "output", [own.output])
            return own

    return with_block(Answers(DIM, 2).to("meta"))


def unchecked(tokens: Tensor, **numbers: Any) -> Declared:
    """What a part may declare where nothing checks its types, as the tests do."""
    own = Declared(tokens.clone(), 4)
    for name, number in numbers.items():
        object.__setattr__(own, name, number)
    return own


NOT_A_COUNT: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "fraction": (lambda x: unchecked(x, macs=Fraction(3)), "declare's macs must be an int, not a Fraction"),
    "half of a size": (lambda x: unchecked(x, macs=x.shape[1] / 2), "declare's macs must be an int, not a float"),
    "tensor": (lambda x: unchecked(x, macs=x.sum()), "declare's macs must be an int, not a Tensor"),
    "no number": (lambda x: unchecked(x, norm_ops=None), "declare's norm_ops must be an int, not a NoneType"),
    "negative": (lambda x: Declared(x.clone(), -4), "declare's macs must not be negative, and is -4"),
    "attention": (lambda x: Declared(x.clone(), 4, 0, 5), "declare's attention_macs (5) are a part of its macs (4)"),
    "tuple": (lambda x: (x.clone(), 4), "declare must return a zoo.parts.Declared, or None to be traced, not a tuple"),
    "error": (lambda x: x.nonsense, "declare fails: AttributeError: 'Tensor' object has no attribute 'nonsense'"),
}


@pytest.mark.parametrize("case", NOT_A_COUNT)
def test_a_declaration_that_cannot_be_names_the_part(case: str) -> None:
    answer, told = NOT_A_COUNT[case]
    with pytest.raises(AuditError, match=rf"^blocks\.2 \(Answers\): {re.escape(told)}"):
        count_stage(declaring(answer), 0)


def test_sizes_are_ints_where_a_part_declares() -> None:
    """Inside the trace they would be tensors."""
    counted = count_stage(declaring(lambda x: Declared(torch.empty(x.shape, device="meta"), x.shape[1] * 7)), 0)
    assert counted.modules["blocks.2"] == TOKENS * 7


def test_what_goes_into_a_part_that_declares_is_counted() -> None:
    """Its output is its own, but what was computed for it did not come to nothing."""
    values = {**RECIPE, "backbone": {**RECIPE["backbone"], "modulation": "adaln_zero"}}
    backbone = build(load_recipe(values, registry=Registry()), registry=Registry(), device="meta")
    plain = count_stage(backbone, 0)
    backbone.blocks[WHERE] = declaring(lambda x: Declared(torch.empty_like(x), 7)).blocks[WHERE]
    counted = count_stage(backbone, 0)
    assert counted.modules["modulation"] == plain.modules["modulation"]
    assert counted.macs == plain.macs - plain.modules["blocks.2"] + 7
