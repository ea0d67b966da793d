"""Writing zoo's own weight files."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from zoo.assembly import build
from zoo.errors import WeightsError, ZooError
from zoo.recipe import Recipe
from zoo.registry import Registry


def refuse_existing(path: Path) -> None:
    """Refuse to write over a file, or into a folder that is not there, before any work is done.

    Raises:
        ZooError: the file exists, or its folder does not.
    """
    if path.exists():
        raise ZooError(f"{path}: exists already, and is left as it is; choose another name, or remove it first")
    if not path.absolute().parent.is_dir():
        raise ZooError(f"{path}: its folder does not exist; make it first")


def write_initialised(recipe: Recipe, registry: Registry, path: Path, seed: int) -> None:
    """Write a recipe's freshly initialised weights, with the resolved recipe in the metadata.

    Args:
        recipe: a validated recipe.
        registry: the parts to choose from.
        path: the safetensors file to write.
        seed: of the initialisation; the caller's random state is left as it was.

    Raises:
        WeightsError: the file cannot be written.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = build(recipe, registry=registry, device="cpu")
    plugins = {
        entry.plugin.name: entry.plugin.version
        for kind, spec in recipe.backbone.parts()
        for entry in [registry.get(kind, spec.type)]
    }
    metadata = {
        "format": "pt",
        "zoo.recipe": json.dumps(recipe.resolved()),
        "zoo.plugins": json.dumps(plugins),
        "zoo.seed": str(seed),
    }
    try:
        save_file(backbone.state_dict(), path, metadata=metadata)
        _sort_metadata(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cannot be written: {error}") from error


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a file in order, so that equal weights give equal files: safetensors shuffles it."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        file.seek(8)
        file.write(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size))
