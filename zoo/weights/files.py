"""Writing zoo's own weight files."""

from __future__ import annotations

import json
import os
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
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ZooError(f"{path}: its folder does not exist; make it first")
    if not os.access(folder, os.W_OK):
        raise ZooError(f"{path}: no right to write into its folder; choose another")


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
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            state = build(recipe, registry=registry, device="cpu").state_dict()
    except (MemoryError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else "out of memory"
        raise WeightsError(f"{path}: the weights cannot be made: {reason}; take a smaller assembly") from error
    metadata = {
        "format": "pt",
        "plugins": json.dumps(registry.versions(recipe)),
        "recipe": json.dumps(recipe.resolved()),
        "seed": str(seed),
    }
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        save_file(state, unfinished, metadata=metadata)
        _sort_metadata(unfinished)
        unfinished.chmod(0o666 & ~_umask())  # safetensors writes for its owner alone
        unfinished.replace(path)
    except (SafetensorError, OSError, RuntimeError) as error:  # a RuntimeError where parts share a tensor
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{path}: cannot be written: {reason}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a file in order, so that equal weights give equal files: safetensors shuffles it."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
        assert len(text) == size, "the same header in another order has the same length"
        file.seek(8)
        file.write(text)
