"""MLPs of a block, and the built-in ones."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from zoo.parts.layers import Linear
from zoo.parts.module_part import ModulePart
from zoo.parts.values import Layout
from zoo.registry import part

Ratio = Annotated[float, Field(gt=0.0, le=64.0)]
Multiple = Annotated[int, Field(ge=1, le=1024)]
Rounding = Literal["down", "nearest", "up"]


class MLP(ModulePart, ABC):
    """What a block does to its tokens beside attention. Constructor: ``(dim, axes, *, options)``."""

    kind = "mlp"
    per_token: bool = False
    """Whether every token goes through alone, so that permuting tokens permutes the result."""

    @abstractmethod
    def forward(self, tokens: Float[Tensor, "B T D"], layout: Layout) -> Float[Tensor, "B T D"]:
        """Tokens of the same shape; the first ``layout.m`` are not the image's."""


@part("mlp", "gelu")
class GELUMLP(MLP):
    """Linear, GELU, Linear: DiT's (section 3.2).

    Options:
        ratio: hidden width over dim.
        multiple_of: the hidden width is rounded to a multiple of this.
        rounding: down, to the nearest one, or up.
        bias: whether its Linears have one.
        approximate: how GELU is computed, as PyTorch calls it.

    Raises:
        ValueError: no hidden width is left.
    """

    per_token = True

    def __init__(
        self,
        dim: int,
        *,
        ratio: Ratio = 4.0,
        multiple_of: Multiple = 1,
        rounding: Rounding = "down",
        bias: bool = True,
        approximate: Literal["tanh", "none"] = "tanh",
    ) -> None:
        super().__init__()
        hidden = hidden_width(dim * ratio, multiple_of, rounding)
        self.approximate = approximate
        self.fc1 = Linear(dim, hidden, bias=bias)
        self.fc2 = Linear(hidden, dim, bias=bias)

    def forward(self, tokens: Float[Tensor, "B T D"], layout: Layout | None = None) -> Float[Tensor, "B T D"]:
        """Every token alone."""
        return self.fc2(F.gelu(self.fc1(tokens), approximate=self.approximate))


@part("mlp", "swiglu")
class SwiGLU(MLP):
    """``(silu(x W_gate) * x W_value) W_out`` (Shazeer, GLU Variants Improve Transformer, 2020, equation 6).

    Rows of ``gate_value``: gate, value, each as many as the hidden width.

    Options:
        ratio: hidden width of the plain MLP that it stands in for, over dim; its own is 2/3 of that, as three matrices
            replace two.
        multiple_of: the hidden width is rounded to a multiple of this.
        rounding: down, to the nearest one, or up.
        bias: whether its Linears have one.

    Raises:
        ValueError: no hidden width is left.
    """

    per_token = True

    def __init__(
        self,
        dim: int,
        *,
        ratio: Ratio = 4.0,
        multiple_of: Multiple = 1,
        rounding: Rounding = "down",
        bias: bool = True,
    ) -> None:
        super().__init__()
        hidden = hidden_width(2 * dim * ratio / 3, multiple_of, rounding)
        self.gate_value = Linear(dim, 2 * hidden, bias=bias)
        self.out = Linear(hidden, dim, bias=bias)

    def forward(self, tokens: Float[Tensor, "B T D"], layout: Layout | None = None) -> Float[Tensor, "B T D"]:
        """Every token alone."""
        gate, value = self.gate_value(tokens).chunk(2, dim=-1)
        return self.out(F.silu(gate) * value)


def hidden_width(width: float, multiple_of: int, rounding: Rounding) -> int:
    """A width as a whole multiple.

    Raises:
        ValueError: it is 0.
    """
    whole = math.floor if rounding == "down" else math.ceil if rounding == "up" else round
    rounded = whole(width / multiple_of) * multiple_of
    if not rounded:
        raise ValueError(
            f"{width:g} hidden units, rounded {rounding} to a multiple of {multiple_of}, are none; raise the ratio"
        )
    return rounded
