"""Blocks as they are usually written, on timm's layers: what zoo's are measured beside on a GPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainBlock(nn.Module):
    """A DiT block (Peebles and Xie, section 3.2) on timm's attention and MLP."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        from timm.models.vision_transformer import Attention, Mlp

        self.norm1, self.norm2 = (nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6) for _ in range(2))
        self.attention = Attention(dim, num_heads=heads, qkv_bias=True)
        self.mlp = Mlp(dim, 4 * dim, act_layer=lambda: nn.GELU(approximate="tanh"))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Tokens [B, T, D] of the same shape, by a vector of each sample [B, D]."""
        vectors = self.modulation(condition).unsqueeze(1).chunk(6, dim=2)
        x = x + vectors[2] * self.attention(self.norm1(x) * (1 + vectors[1]) + vectors[0])
        return x + vectors[5] * self.mlp(self.norm2(x) * (1 + vectors[4]) + vectors[3])


class PlainStack(nn.Module):
    """Patches of 2 of latents of 32, a condition of two vectors, blocks, and a Linear at the end."""

    def __init__(self, dim: int, heads: int, depth: int) -> None:
        super().__init__()
        self.embed, self.head = nn.Conv2d(4, dim, 2, 2), nn.Linear(dim, 16)
        self.time, self.classes = nn.Linear(1, dim), nn.Embedding(1001, dim)
        self.position = nn.Parameter(torch.zeros(256, dim))
        self.blocks = nn.ModuleList(PlainBlock(dim, heads) for _ in range(depth))

    def forward(self, z: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Velocities [B, 4, 32, 32]."""
        condition = self.time(t.unsqueeze(1)) + self.classes(labels)
        x = self.embed(z).flatten(2).mT + self.position
        for block in self.blocks:
            x = block(x, condition)
        x = F.layer_norm(x, x.shape[-1:])
        return F.pixel_shuffle(self.head(x).mT.unflatten(2, (16, 16)), 2)
