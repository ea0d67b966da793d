"""Small layers that several parts share."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from zoo.parts.base import Affine

NORM_EPS = 1e-6


class Linear(nn.Linear):
    """``nn.Linear`` with the field's initialisation: zero bias, and xavier-uniform, zero or normal(0, 0.02) weights."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        init: Literal["xavier", "zero", "normal"] = "xavier",
    ) -> None:
        self.init = init
        super().__init__(in_features, out_features, bias=bias)

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        if self.init == "xavier":
            nn.init.xavier_uniform_(self.weight)
        elif self.init == "normal":
            nn.init.normal_(self.weight, std=0.02)
        else:
            nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Embedding(nn.Embedding):
    """``nn.Embedding`` that starts at normal(0, std)."""

    def __init__(self, num_embeddings: int, embedding_dim: int, *, std: float = 0.02) -> None:
        self.std = std
        super().__init__(num_embeddings, embedding_dim)

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        nn.init.normal_(self.weight, std=self.std)


class MLP(nn.Module):
    """Linear, tanh-GELU, Linear; the hidden width is ``int(dim * ratio)``."""

    def __init__(self, dim: int, ratio: float = 4.0) -> None:
        super().__init__()
        hidden = int(dim * ratio)
        if not hidden:
            raise ValueError(f"an MLP of {ratio} x {dim} has no hidden width; raise the ratio")
        self.fc1 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Apply to the last axis."""
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


def layer_norm(x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
    """LayerNorm over the last axis without affine parameters, eps 1e-6."""
    return F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)


def modulate(x: Float[Tensor, "B T D"], affine: Affine) -> Float[Tensor, "B T D"]:
    """``x * (1 + scale) + shift``, the same for all tokens of a sample (DiT, section 3.2)."""
    return x * (1 + affine.scale.unsqueeze(1)) + affine.shift.unsqueeze(1)
