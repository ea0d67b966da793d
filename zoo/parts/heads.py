"""Built-in heads: tokens to latent pixels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from zoo.parts.base import Affine, Head
from zoo.parts.layers import Linear, layer_norm, modulate
from zoo.registry import part
from zoo.schedule import Grid


@part("head", "linear")
class LinearHead(Head):
    """Modulated LayerNorm and a Linear that starts at zero: DiT.

    Row order of ``proj.weight``: (row in patch, column in patch, channel).

    Options:
        learn_sigma: 2C output channels, the second half dropped, as in the published DiT and SiT.
    """

    def __init__(self, dim: int, channels: int, patch: Grid, *, learn_sigma: bool = False) -> None:
        super().__init__()
        self.channels = channels
        self.outputs = 2 * channels if learn_sigma else channels
        self.proj = Linear(dim, patch[0] * patch[1] * self.outputs, init="zero")

    def forward(self, tokens: Float[Tensor, "B N D"], modulation: Affine) -> Float[Tensor, "B N P"]:
        """Pixels of every image token, P = ph * pw * C."""
        pixels = self.proj(modulate(layer_norm(tokens), modulation))
        if self.outputs == self.channels:
            return pixels
        return pixels.unflatten(2, (-1, self.outputs))[..., : self.channels].flatten(2)
