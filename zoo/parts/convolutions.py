"""Convolutions over grids of one, two or three axes, with the field's initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Init = Literal["xavier", "flat", "zero"]


def convolution(
    channels: int,
    outputs: int,
    kernel: Sequence[int],
    *,
    stride: Sequence[int] | int = 1,
    padding: Sequence[int] | str = "same",
    groups: int = 1,
    bias: bool = True,
    init: Init = "xavier",
) -> Convolution:
    """A convolution over as many axes as its kernel has numbers; xavier-uniform or zero weights, zero bias.

    Args:
        channels: that come in.
        outputs: channels that go out.
        kernel: its window, a number for each axis.
        stride: steps of the window.
        padding: zeros around the map; so many that it keeps its size if left out.
        groups: of channels that do not see each other; as many as channels for a depthwise one.
        bias: whether it adds one.
        init: of the weights; ``flat`` is ``xavier`` of the matrix that they are flattened: each output goes out once,
            and not at every place of the window.
    """
    kind = (_Conv1d, _Conv2d, _Conv3d)[len(kernel) - 1]
    made: Convolution = kind(
        channels, outputs, tuple(kernel), stride=stride, padding=padding, groups=groups, bias=bias, init=init
    )
    return made


class _Initialised:
    """Starts as the field has it."""

    def __init__(self, *args: object, init: Init, **options: object) -> None:
        self.init = init
        super().__init__(*args, **options)

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        weight: Tensor = self.weight  # type: ignore[attr-defined]
        if self.init == "zero":
            nn.init.zeros_(weight)
        elif self.init == "flat":
            bound = (6 / (weight[0].numel() + len(weight))) ** 0.5
            nn.init.uniform_(weight, -bound, bound)
        else:
            nn.init.xavier_uniform_(weight)
        if self.bias is not None:  # type: ignore[attr-defined]
            nn.init.zeros_(self.bias)  # type: ignore[attr-defined]


class _Conv1d(_Initialised, nn.Conv1d): ...


class _Conv2d(_Initialised, nn.Conv2d): ...


class _Conv3d(_Initialised, nn.Conv3d): ...
