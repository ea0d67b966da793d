"""zoo's own weight files: safetensors, with the recipe that they belong to in the metadata.

recipe        the resolved recipe, as JSON
fingerprint   SHA-256 of its backbone section
versions      of zoo, PyTorch, the plug-ins whose parts it has, and of these parts, as JSON
sha256        of all that follows the header, since safetensors does not notice a flipped bit
source, seed  what the weights are from, as JSON
classes       what the classes are called by label, as JSON; class_counts, how many samples each had in training
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from zoo.assembly import OtherParts, check_recorded
from zoo.classes import UNKNOWN, Classes, read_classes
from zoo.errors import RecipeError, WeightsError, ZooError
from zoo.files import did_you_mean_file, safetensors, write_whole
from zoo.json_files import parse_json
from zoo.mapped import named_in_text
from zoo.recipe import Made, Overrides, Recipe, Recorded, Versions, fingerprint, read_tree, run_of
from zoo.registry import Registry
from zoo.weights.state import Weights, backbone_fingerprint, initialised

HASH = "sha256"
NOTES = ("source", "seed")


def refuse_existing(path: Path) -> None:
    """Refuse to write over a file, or into a folder that is not there, before any work is done.

    Raises:
        ZooError: the file exists, or its folder does not.
    """
    if os.path.lexists(path):  # a link that leads nowhere, too
        raise ZooError(f"{path}: exists already, and is left as it is; choose another name, or remove it first")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ZooError(f"{path}: its folder does not exist; make it first")
    if not os.access(folder, os.W_OK):
        raise ZooError(f"{path}: no right to write into its folder; choose another")


def write_initialised(recipe: Recipe, path: Path, seed: int) -> None:
    """Write a recipe's freshly initialised weights, with the resolved recipe in the metadata.

    Args:
        recipe: a validated recipe.
        path: the safetensors file to write.
        seed: of the initialisation; the caller's random state is left as it was.

    Raises:
        WeightsError: the file cannot be written.
    """
    write_weights(path, initialised(recipe, path, seed).state_dict(), recipe, seed=seed)


def write_weights(
    path: Path,
    tensors: Mapping[str, Tensor],
    recipe: Recipe,
    *,
    source: Mapping[str, Any] | None = None,
    seed: int | None = None,
    classes: Classes = UNKNOWN,
    versions: Versions | None = None,
) -> None:
    """Write a weight file: the whole, or nothing. Equal arguments give equal files.

    Args:
        path: the safetensors file to write.
        tensors: the backbone's state.
        recipe: that builds the backbone.
        source: what the weights are from, as plain values.
        seed: of what was freshly initialised.
        classes: that they were trained on.
        versions: that they were made with; those of here if left out.

    Raises:
        WeightsError: the file cannot be written.
    """
    resolved = recipe.resolved()
    metadata = {
        "fingerprint": backbone_fingerprint(recipe),
        "format": "pt",
        "recipe": json.dumps(resolved),
        "versions": json.dumps((versions or recipe.versions()).to_plain()),
        HASH: "0" * 64,
        **{key: json.dumps(values) for key, values in classes.to_plain().items()},
    }
    if source is not None:
        metadata["source"] = json.dumps(source)
    if seed is not None:
        metadata["seed"] = str(seed)

    def write(file: BinaryIO) -> None:
        safetensors(_untied(tensors), metadata)(file)
        file.flush()
        _finish_header(Path(file.name))

    write_whole(path, write, WeightsError)


def _untied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors, each with memory of its own, as safetensors wants them."""
    own: dict[str, Tensor] = {}
    seen = set()
    for key, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        own[key] = tensor.clone(memory_format=torch.contiguous_format) if place in seen else tensor.contiguous()
        seen.add(place)
    return own


def read_weights(path: Path, registry: Registry, *, other_parts: OtherParts = "refused") -> Weights:
    """What a weight file holds; its tensors stay on the disk until they are used.

    Args:
        path: the safetensors file.
        registry: the parts to choose from.
        other_parts: see ``zoo.assembly.check_recorded``.

    Raises:
        WeightsError: it is none of zoo's, is damaged, or its recipe cannot be built here.
        PluginError: its backbone is of a plug-in that is not installed, or has a part in another version of itself.
    """
    recorded, metadata = recorded_recipe(path), _metadata(path)
    _verify(path, metadata)
    try:
        recipe = check_recorded(recorded, registry, needs=("backbone",), other_parts=other_parts)
    except RecipeError as error:
        raise WeightsError(f"{path}: its recipe cannot be built here", error.problems) from error
    with _reading(path), named_in_text(path) as named:
        tensors = load_file(named)
    source: dict[str, Any] = {"file": path.name, "weights_sha256": metadata.get(HASH)}
    source |= {key: _value(path, metadata, key) for key in NOTES if key in metadata}
    versions = None if recorded.made is None else recorded.made.versions
    return Weights(recipe, tensors, source, _classes(path, metadata), versions)


def recorded_classes(path: Path) -> Classes:
    """The classes that a weight file names.

    Raises:
        WeightsError: it is no weight file.
    """
    return _classes(path, _metadata(path))


def recorded_recipe(path: Path, overrides: Overrides = ()) -> Recorded:
    """The recipe of a weight file, overridden; not yet checked.

    Raises:
        WeightsError: there is none in it.
        RecipeError: an override of no such form.
    """
    metadata = _metadata(path)
    if "recipe" not in metadata:
        if (run := run_of(path)) is not None:
            raise WeightsError(f"{path}: holds no recipe, but is of a run; give that run, {run}")
        raise WeightsError(
            f"{path}: holds no recipe, so it is none of zoo's weight files; `zoo import` reads published checkpoints"
        )
    values = _value(path, metadata, "recipe")
    if not isinstance(values, dict):
        raise WeightsError(f"{path}: 'recipe' in its metadata is not what zoo wrote: no mapping; copy the file again")
    if metadata.get("fingerprint") != fingerprint({"backbone": values.get("backbone")}):
        raise WeightsError(
            f"{path}: the recipe in its metadata is not what zoo wrote: the backbone's fingerprint differs; to load the"
            " weights into another backbone, give `zoo inflate` its recipe"
        )
    return Recorded(str(path), read_tree(values, overrides), _made(path, metadata))


def _made(path: Path, metadata: Mapping[str, str]) -> Made | None:
    if "versions" not in metadata:
        return None
    try:
        return Made(str(path), str(path), Versions.read(_value(path, metadata, "versions")))
    except ValueError as error:
        raise WeightsError(f"{path}: 'versions' in its metadata is not what zoo wrote; copy the file again") from error


def _classes(path: Path, metadata: Mapping[str, str]) -> Classes:
    return read_classes({key: _value(path, metadata, key) for key in ("classes", "class_counts") if key in metadata})


def _value(path: Path, metadata: Mapping[str, str], key: str) -> Any:
    try:
        return parse_json(metadata[key])
    except ValueError as error:
        raise WeightsError(f"{path}: {key!r} in its metadata is not what zoo wrote: {error}") from error


def _metadata(path: Path) -> dict[str, str]:
    with _reading(path), named_in_text(path) as named, safe_open(named, "pt") as file:
        return file.metadata() or {}


def _verify(path: Path, metadata: Mapping[str, str]) -> None:
    with _reading(path), path.open("rb") as file:
        if HASH in metadata and _hash_of_tensors(file) != metadata[HASH]:
            raise WeightsError(
                f"{path}: its tensors are not what zoo wrote: their SHA-256 differs; copy the file again"
                f" (if you changed them on purpose, take {HASH!r} out of its metadata)"
            )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    if path.is_dir():
        raise WeightsError(f"{path}: is a folder; give a weight file")
    try:
        yield
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: there is no such file{did_you_mean_file(path, ('.safetensors',))}") from error
    except (OSError, SafetensorError, UnicodeDecodeError) as error:
        if _start(path) in (b"PK", b"\x80\x02"):
            raise WeightsError(
                f"{path}: is a pickle; `zoo import` makes a weight file of a published one, and zoo.save of a"
                " backbone that has loaded its own state dict"
            ) from error
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{path}: is no safetensors file, damaged or cut off: {reason}") from error


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2)


def _hash_of_tensors(file: Any) -> str:
    """The SHA-256 of all that follows the header of a safetensors file that has been opened."""
    file.seek(0)
    file.seek(8 + int.from_bytes(file.read(8), "little"))
    digest = hashlib.sha256()
    for chunk in iter(partial(file.read, 2**20), b""):
        digest.update(chunk)
    return digest.hexdigest()


def _finish_header(path: Path) -> None:
    """Put the hash in, and the metadata in order, so that equal weights give equal files: safetensors shuffles it."""
    with path.open("r+b") as file:
        digest = _hash_of_tensors(file)
        file.seek(0)
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted({**header["__metadata__"], HASH: digest}.items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
        assert len(text) == size, "the same header in another order has the same length"
        file.seek(8)
        file.write(text)
