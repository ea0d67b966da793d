"""Features on disk: written once by ``python -m zoo_repa.extract``, and read beside the samples in training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zoo.errors import DataError

INDEX = "features.json"
DTYPES = {"float16": "F16", "float32": "F32"}
EXTRACT = "python -m zoo_repa.extract"


class Record(BaseModel):
    """A shard: its file beside the index, samples in it, and the SHA-256 of its bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, Field(pattern=r"^[\w-][\w.-]*$")]
    count: PositiveInt
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Index(BaseModel):
    """What a folder of features holds.

    Attributes:
        width: of a feature, z.
        grid: features along each axis of a picture.
        dtype: of the stored numbers.
        encoder: whose they are, as it was named.
        names: digest of what the samples are called, in order.
        shards: the files, in order, each with ``features`` [n, z, *grid].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["zoo-repa features"] = "zoo-repa features"
    version: Literal[1] = 1
    width: PositiveInt
    grid: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=3)]
    dtype: Literal["float16", "float32"]
    encoder: str
    names: str
    shards: Annotated[tuple[Record, ...], Field(min_length=1)]

    @property
    def samples(self) -> int:
        """In all shards."""
        return sum(each.count for each in self.shards)


def names_of(ids: Iterable[str]) -> str:
    """A digest of what samples are called, in order."""
    found = hashlib.sha256()
    for each in ids:
        found.update(f"{each}\0".encode(errors="surrogatepass"))
    return found.hexdigest()


def read_index(folder: Path) -> Index:
    """The index of a folder of features.

    Raises:
        DataError: there is none, or it is none of this version.
    """
    path = folder / INDEX
    try:
        return Index.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: there is no such file; `{EXTRACT}` writes it, when all features are there") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise DataError(f"{path}: is no index of features: {where}: {first['msg']}; extract them again") from error


def open_shard(path: Path, index: Index, count: int) -> Tensor:
    """The features of a shard [n, z, *grid], mapped into memory: read where they are touched.

    Raises:
        DataError: it is missing, cannot be read, or is not what the index says.
    """
    wanted = (DTYPES[index.dtype], [count, index.width, *index.grid])
    again = f"extract it again by `{EXTRACT} --resume`"
    try:
        with safe_open(path, "pt") as file:
            held = file.get_slice("features")
            found = (held.get_dtype(), held.get_shape())
            if found != wanted:
                raise DataError(
                    f"{path}: features are {found[0]} {found[1]}, and the index says {wanted[0]} {wanted[1]}; {again}"
                )
            tensor: Tensor = file.get_tensor("features")
    except FileNotFoundError:
        raise DataError(f"{path}: is missing, and the index lists it; {again}") from None
    except (SafetensorError, OSError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read: {' '.join(str(error).split())}; {again}") from error
    return tensor


def sha256_of(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def finite(features: Tensor) -> Tensor:
    """Which rows hold no NaN and nothing infinite."""
    return torch.isfinite(features).flatten(1).all(dim=1)
