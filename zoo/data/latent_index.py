"""``index.json``: what a folder of extracted latents holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, PositiveInt, ValidationError

from zoo.data.folders import shown
from zoo.errors import DataError, printable
from zoo.json_files import parse_json, read_text
from zoo.signature import Options

INDEX = "index.json"
Dtype = Literal["float16", "float32"]
Flip = Literal["stored", "none"]
Variance = Literal["stored", "none"]
Printable = Annotated[str, AfterValidator(printable)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Layout(NamedTuple):
    """Shape and type of the latents, and whether the encodings of the mirrored pictures are stored too, and variances
    beside means."""

    channels: int
    height: int
    width: int
    dtype: Dtype
    flip: Flip
    variance: Variance = "stored"

    @property
    def planes(self) -> int:
        """Of a sample: its means, and then its log-variances, where these are stored."""
        return self.channels * (2 if self.variance == "stored" else 1)


class ShardRecord(Options):
    """A shard: its file beside the index, how many samples it holds, and the hash of its bytes."""

    file: Annotated[str, Field(pattern=r"^[\w-][\w.-]*$")]
    count: PositiveInt
    sha256: Sha256


class VAERecord(Options):
    """The VAE that encoded the latents.

    Attributes:
        source: its path or hub id.
        sha256: over the bytes of its float32 weights, tensors in the order of their names.
        scaling_factor: as published with it; not applied to the stored latents.
        shift_factor: likewise.
    """

    source: str
    sha256: Sha256
    scaling_factor: float | None = None
    shift_factor: float | None = None


class StatisticsRecord(Options):
    """Mean and standard deviation of each latent channel, unscaled; of posterior samples, or of their means."""

    of: Literal["samples", "means"]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class LatentIndex(Options):
    """What a folder of latents holds.

    Attributes:
        channels: of a latent; the shards hold as many means, and then as many log-variances, where these are stored.
        height: of a latent.
        width: of a latent.
        image_size: height and width of the pictures that were encoded.
        dtype: of the stored numbers.
        flip: whether the encodings of the mirrored pictures are stored too.
        variance: whether log-variances are stored; of a VAE without a posterior there are none.
        classes: names by label, printable; empty if the pictures have no classes, or these no names.
        num_classes: how many classes without names there are; None where they have names, or there are none.
        statistics: of all that is stored, flips included.
    """

    format: Literal["zoo latents"] = "zoo latents"
    version: Literal[1] = 1
    channels: PositiveInt
    height: PositiveInt
    width: PositiveInt
    image_size: tuple[PositiveInt, PositiveInt]
    dtype: Dtype
    flip: Flip
    variance: Variance = "stored"
    vae: VAERecord
    statistics: StatisticsRecord
    classes: tuple[Printable, ...]
    num_classes: PositiveInt | None = None
    shards: Annotated[tuple[ShardRecord, ...], Field(min_length=1)]

    @property
    def layout(self) -> Layout:
        """What every shard must be like."""
        return Layout(self.channels, self.height, self.width, self.dtype, self.flip, self.variance)


def read_index(folder: Path) -> LatentIndex:
    """Read the index of a folder of latents.

    Raises:
        DataError: there is none, or it is not one that this version reads.
    """
    path = folder / INDEX
    try:
        text = read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{shown(path)}: there is no such file; give a folder that `zoo latents` has finished"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{shown(path)}: cannot be read: {error}") from error
    try:
        values: Any = parse_json(text)
    except ValueError as error:
        raise DataError(f"{shown(path)}: is not JSON: {error}") from error
    if not isinstance(values, dict) or values.get("format") != "zoo latents":
        raise DataError(
            f"{shown(path)}: is not an index of latents (no format 'zoo latents'); give a folder of `zoo latents`"
        )
    if values.get("version") != 1:
        raise DataError(
            f"{shown(path)}: has version {values.get('version')!r}, and this zoo reads version 1; extract the"
            " latents again"
        )
    try:
        index = LatentIndex.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in first["loc"])
        raise DataError(f"{shown(path)}: is not an index of latents: {where}: {first['msg']}") from error
    for name, numbers in (("mean", index.statistics.mean), ("std", index.statistics.std)):
        if len(numbers) != index.channels:
            raise DataError(
                f"{shown(path)}: is not an index of latents: statistics.{name} has {len(numbers)} numbers"
                f" for {index.channels} channels; extract the latents again"
            )
    return index
