"""Small layers that several parts share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from zoo.parts.values import Rotary

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


def layer_norm(x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
    """LayerNorm over the last axis without affine parameters, eps 1e-6."""
    return F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)


def modulate(
    x: Float[Tensor, "B T D"], shift: Float[Tensor, "B D"] | None, scale: Float[Tensor, "B D"]
) -> Float[Tensor, "B T D"]:
    """``x * (1 + scale) + shift``, the same for all tokens of a sample (DiT, section 3.2)."""
    scaled = x * (1 + scale.unsqueeze(1))
    return scaled if shift is None else scaled + shift.unsqueeze(1)


def rotate(x: Float[Tensor, "B heads T d"], rotary: Rotary, m: int) -> Float[Tensor, "B heads T d"]:
    """Queries or keys with each pair of components, 2i and 2i + 1, turned by its angle (RoFormer, section 3.4.2).

    Args:
        x: of all tokens.
        rotary: of the image tokens: [N, d], or [B, N, d] where they are other tokens in every sample.
        m: tokens in front, which have no angles and stay.
    """
    cos, sin = (each if each.ndim == 2 else each.unsqueeze(1) for each in rotary)
    image = x[:, :, m:]
    even, odd = image.unflatten(3, (-1, 2)).unbind(4)  # type: ignore[no-untyped-call]
    turned = image * cos + torch.stack([-odd, even], dim=-1).flatten(-2) * sin
    return torch.cat([x[:, :, :m], turned.to(x.dtype)], dim=2) if m else turned.to(x.dtype)


def joined(call: Callable[[Tensor], Tensor], tokens: Sequence[Float[Tensor, "_ _ D"]]) -> list[Float[Tensor, "_ _ D2"]]:
    """What comes of each token alone, in one call for several sequences of different lengths.

    Args:
        call: takes tokens [1, n, D], such as a Linear; called as it is, since its weights may be sharded or adapted.
        tokens: the sequences.
    """
    if len(tokens) == 1:
        return [call(tokens[0])]
    rows = call(torch.cat([each.flatten(0, 1) for each in tokens]).unsqueeze(0))[0]
    parts = torch.split(rows, [each.shape[0] * each.shape[1] for each in tokens])
    return [part.reshape(*each.shape[:2], -1) for part, each in zip(parts, tokens, strict=True)]
