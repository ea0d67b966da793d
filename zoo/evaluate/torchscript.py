"""Features of any network in a TorchScript file or a program of torch.export, such as DINOv2's or CLIP's."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from pydantic import Field
from torch import Tensor

from zoo.errors import DataError, reason_of_network
from zoo.evaluate.base import FeatureSet
from zoo.evaluate.network_file import FeaturesOfFile, NetworkFile, open_network, prepared
from zoo.registry import part
from zoo.signature import PathText

Positive = Annotated[float, Field(gt=0)]


@part("features", "torchscript")
class TorchScriptFeatures(FeaturesOfFile):
    """Features of a network of your own, in a TorchScript file or a ``.pt2`` of ``torch.export.save``.

    The network takes RGB pictures [n, 3, size, size], normalised, and returns features [n, D], or maps [n, D, h, w],
    of which the means over places are taken. Grey pictures are repeated to RGB; all are resized, bicubic with
    antialiasing, in float32, whatever their shape was. ``fid`` of DINOv2's features is FD-DINOv2 (arXiv 2306.04675).

    Such a file is a program: use only one that you trust.

    Options:
        file: the file; a recipe may leave it out, and `--set evaluate.features.file=...` give it.
        size: height and width that pictures are resized to.
        mean: of pixels from 0 to 1, by channel, that is taken off (ImageNet's).
        std: that they are then divided by, likewise.
        batch: pictures that go through the network at once; a ``.pt2`` without a free first axis takes one number.
    """

    get = (
        "trace a network of yours, torch.jit.save(torch.jit.trace(network.eval(), torch.zeros(1, 3, 224, 224)),"
        ' "network.pt"), and set evaluate.features.file to network.pt'
    )

    def __init__(
        self,
        *,
        file: PathText | None = None,
        size: Annotated[int, Field(ge=1)] = 224,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225),
        batch: Annotated[int, Field(ge=1)] = 64,
    ) -> None:
        super().__init__(file, batch)
        self.size, self.mean, self.std = size, mean, std

    @torch.no_grad()
    def of(self, images: UInt8[np.ndarray, "n H W C"], labels: Int[np.ndarray, " n"] | None) -> FeatureSet:
        """``pooled``.

        Raises:
            DataError: the file is missing, is no such file, or gives something else.
        """
        self._file.network.to(self._device)
        batches = [images[first : first + self.batch] for first in range(0, len(images), self.batch)]
        return FeatureSet(torch.cat([self._pooled(each).cpu() for each in batches]).numpy(), labels)

    @cached_property
    def _file(self) -> NetworkFile:
        self.check()
        try:
            return open_network(self._path, torch.device("cpu"))
        except DataError as error:
            raise DataError(f"features torchscript: {error}") from error

    def _sha256(self) -> str:
        return self._file.sha256

    def _pooled(self, images: UInt8[np.ndarray, "n H W C"]) -> Float[Tensor, "n D"]:
        pictures = torch.tensor(images, device=self._device).movedim(-1, 1).float() / 255
        pictures = prepared(pictures, self.size, 3, self.mean, self.std)
        try:
            found: Any = self._file.network(pictures)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:  # of TorchScript, and of torch.export
            if isinstance(error, torch.OutOfMemoryError):
                raise
            problem = f"fails on pictures {list(pictures.shape)}: {reason_of_network(error)}"
            raise self._error(f"{problem}; what it takes is set by size and batch") from error
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        if not isinstance(found, Tensor) or found.ndim not in {2, 4} or len(found) != len(images) or not found.numel():
            wanted = f"[{len(images)}, features], or maps of such"
            raise self._error(f"gives {shape} in place of {wanted}; save it so")
        if not found.isfinite().all():
            raise self._error("gives features that are not finite; take another file, mean or std")
        return found.float() if found.ndim == 2 else found.float().mean((2, 3))
