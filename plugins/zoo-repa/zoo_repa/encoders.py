"""Frozen encoders: files of TorchScript or torch.export, and models of transformers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import DataError, ZooError, reason_of_network
from zoo.evaluate import open_network


class Encoder:
    """What gives features of pictures.

    Args:
        name: what users call it.
        sha256: of its file, or of its weights.
        network: of pictures [B, C, side, side], normalised: a map [B, z, gh, gw], or the tokens [B, N, z] of a square.
    """

    def __init__(self, name: str, sha256: str, network: Callable[[Tensor], Any]) -> None:
        self.name, self.sha256, self._network = name, sha256, network

    @torch.no_grad()
    def __call__(self, pictures: Float[Tensor, "B C side side"]) -> Float[Tensor, "B z gh gw"]:
        """The map of features of each picture.

        Raises:
            ZooError: the network fails, or gives something else.
        """
        try:
            found = self._network(pictures)
        except Exception as error:  # any network's
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                raise
            raise ZooError(
                f"--encoder {self.name}: fails on pictures {list(pictures.shape)} of {pictures.dtype}:"
                f" {reason_of_network(error)}; what it takes is set by --channels, --side and --batch"
            ) from error
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        if isinstance(found, Tensor) and len(found) == len(pictures):
            if found.ndim == 4:
                return found
            if found.ndim == 3 and math.isqrt(found.shape[1]) ** 2 == found.shape[1]:
                side = math.isqrt(found.shape[1])
                return found.mT.reshape(len(found), -1, side, side)
        raise ZooError(
            f"--encoder {self.name}: gives {shape} of {len(pictures)} pictures, and is to give a map [B, z, gh, gw], or"
            " tokens [B, N, z] of a square"
        )


def load_encoder(name: str, side: int, device: torch.device) -> Encoder:
    """A file of TorchScript or torch.export, or a model of transformers.

    Args:
        name: the file, or folder or hub id.
        side: of the pictures that it will be given.
        device: where it is to run.

    Raises:
        ZooError: it cannot be loaded.
    """
    return _from_file(Path(name), device) if Path(name).is_file() else _of_transformers(name, side, device)


def _from_file(path: Path, device: torch.device) -> Encoder:
    try:
        found = open_network(path, device)
    except DataError as error:
        raise ZooError(f"--encoder {error}") from error
    return Encoder(str(path), found.sha256, found.network)


def _of_transformers(name: str, side: int, device: torch.device) -> Encoder:
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise ZooError(
            f"--encoder {name}: there is no such file, and hub ids need transformers: pip install transformers"
        ) from error
    try:
        model: Any
        model, loaded = AutoModel.from_pretrained(name, output_loading_info=True)
        model = model.to(device, torch.float32).eval()
    except Exception as error:  # of transformers, huggingface_hub, the network, safetensors, json
        raise ZooError(f"--encoder {name}: transformers cannot load it: {reason_of_network(error)}") from error
    missing = sorted(key for key in loaded["missing_keys"] if not key.startswith("pooler"))  # which gives no tokens
    if missing:  # transformers only warns, and leaves them as they were initialised
        raise ZooError(f"--encoder {name}: its file lacks {len(missing)} weights, such as {missing[0]}")
    patch = getattr(model.config, "patch_size", None)
    if not isinstance(patch, int):
        raise ZooError(f"--encoder {name}: is no encoder of patches; take one of which its config says patch_size")
    if side % patch:
        raise ZooError(f"--side {side}: a token of {name} is {patch} pixels wide; give a multiple of it")
    count = (side // patch) ** 2
    weights = hashlib.sha256()
    for key, weight in sorted(model.state_dict().items()):
        weights.update(f"{key}\0".encode() + weight.cpu().numpy().tobytes())
    return Encoder(
        name, weights.hexdigest(), lambda pictures: model(pixel_values=pictures).last_hidden_state[:, -count:]
    )
