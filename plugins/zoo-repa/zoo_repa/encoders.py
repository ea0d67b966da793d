"""Frozen encoders: files of TorchScript or torch.export, and models of transformers."""

from __future__ import annotations

import hashlib
import math
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ZooError, first_line, shortened
from zoo_repa.stored import sha256_of


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
                f" {reason(error)}; what it takes is set by --channels, --side and --batch"
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
    exported = path.suffix == ".pt2"
    try:
        if not zipfile.is_zipfile(path):  # torch.export.load would log a traceback
            raise zipfile.BadZipFile("it is no zip archive, or not whole")
        if exported:
            network = torch.export.load(path).module().to(device)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch's, of TorchScript as a whole
                network = torch.jit.load(path, map_location=device).eval()  # type: ignore[no-untyped-call]
        return Encoder(str(path), sha256_of(path), network)
    except Exception as error:  # of zip archives, pickles and two loaders of PyTorch
        kind = "program of torch.export.save" if exported else "file of torch.jit.save"
        raise ZooError(f"--encoder {path}: is no {kind}: {reason(error)}") from error


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
        raise ZooError(f"--encoder {name}: transformers cannot load it: {reason(error)}") from error
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


def reason(error: Exception) -> str:
    """What an error of somebody's code says, on one line: TorchScript's says it last, behind a listing of the code."""
    first = first_line(error)
    if "TorchScript" in first:
        return shortened(str(error).strip().splitlines()[-1])
    return first or type(error).__name__
