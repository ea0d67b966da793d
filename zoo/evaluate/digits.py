"""A fixed measuring instrument for digits: a network that is the same for every run."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch.nn import functional as F

from zoo.data.digits import CLASSES
from zoo.data.fingerprint import sha256_of
from zoo.data.pixels import to_latents
from zoo.errors import DataError
from zoo.evaluate.base import BATCH, Features, FeatureSet, Images
from zoo.evaluate.digits_cache import cached_network
from zoo.evaluate.digits_network import SIZE, TRAINING, DigitsNetwork, held_out_accuracy
from zoo.registry import part


@part("features", "digits")
class DigitsFeatures(Features):
    """Features of a small network that has learnt scikit-learn's digits; the classes must be the digits 0 to 9.

    It is trained in seconds when it is first used, always in the same way, on the digits that are not held out, and
    kept in ``~/.cache/zoo``: the same for every run. Pictures of any size become 16 x 16 and grey.
    """

    def fit(self, real: Images) -> None:
        """Read or train the network, which is the same whatever the images.

        Raises:
            DataError: they are of other classes than digits.
        """
        labels = real.in_memory().labels
        if labels is not None and labels.max() >= CLASSES:
            raise DataError(
                f"features digits: the real images are of classes up to {labels.max()}, and digits are 0 to"
                f" {CLASSES - 1}; choose other features, such as pca"
            )
        _ = self._network

    def record(self) -> dict[str, Any]:
        """The hash of the weights, and the share of held-out digits that the network reads rightly."""
        accuracy = round(held_out_accuracy(self._network), 4)
        return {"weights_sha256": sha256_of(self._network.state_dict()), "held_out_accuracy": accuracy}

    @torch.no_grad()
    def of(self, images: UInt8[np.ndarray, "n H W C"], labels: Int[np.ndarray, " n"] | None) -> FeatureSet:
        """64 features as ``pooled``, the last feature map as ``spatial``, and the network's opinion of the class."""
        grey = to_latents(torch.tensor(images)).mean(dim=1, keepdim=True)
        sized = F.interpolate(grey, SIZE, mode="bilinear", antialias=True, align_corners=False)
        pictures = torch.split(sized, BATCH)
        pooled, maps, logits = (torch.cat(each) for each in zip(*map(self._network, pictures), strict=True))
        return FeatureSet(
            pooled.numpy(),
            labels,
            spatial=maps.flatten(1).numpy(),
            probabilities=logits.softmax(dim=1).numpy(),
            verdicts=logits.argmax(dim=1).numpy(),
        )

    @cached_property
    def _network(self) -> DigitsNetwork:
        return cached_network(TRAINING)
