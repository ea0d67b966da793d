"""Shards of latents, as the dataset ``latents`` reads them: written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zoo.data.latent_shards import Shard
from zoo.errors import DataError
from zoo.files import safetensors, write_whole
from zoo.json_files import parse_json
from zoo.mapped import named_in_text

SETTINGS = "zoo latents"


def encode_ids(ids: list[str]) -> UInt8[Tensor, "n L"]:
    """Names as bytes of equal length."""
    encoded = [name.encode() for name in ids]
    length = max(map(len, encoded))
    return torch.frombuffer(bytearray(b"".join(name.ljust(length, b"\0") for name in encoded)), dtype=torch.uint8).view(
        len(ids), length
    )


def shard_settings(path: Path) -> dict[str, str] | None:
    """What a shard was written with; {} if that is not said, None where nothing whole is there."""
    try:
        with named_in_text(path) as named, safe_open(named, "pt") as file:
            settings = parse_json((file.metadata() or {}).get(SETTINGS, "{}"))
            return settings if isinstance(settings, dict) else {}
    except (SafetensorError, OSError, RuntimeError, ValueError):
        return None


def write_shard(path: Path, shard: Shard, settings: Mapping[str, str]) -> None:
    """Write a shard; equal tensors and settings give equal bytes.

    Raises:
        DataError: it cannot be written.
    """
    tensors = {"moments": shard.moments, "labels": shard.labels, "ids": shard.ids}
    if shard.moments_flipped is not None:
        tensors["moments_flipped"] = shard.moments_flipped
    write_whole(path, safetensors(tensors, {SETTINGS: json.dumps(settings, sort_keys=True)}), DataError)
