"""Encode a folder of pictures into the latents that the dataset `latents` trains on.

    python tools/extract_latents.py IMAGES --vae stabilityai/sd-vae-ft-ema --out LATENTS --size 256

IMAGES has a folder of pictures for each class, or `train` and `held_out` with such folders; pictures are cropped, and
classes are numbered by the names of their folders (2 before 10), as the dataset `images` does. An extraction that was
interrupted goes on with --resume, and gives the same files. The VAE needs the package diffusers:
pip install 'diffusion-zoo[vae]'.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from shard_writing import encode_ids, shard_settings, write_shard
from torch import Tensor

from zoo.data.autoencoder import Autoencoder
from zoo.data.folders import ImageList, list_images, shown, split_folders
from zoo.data.latent_index import INDEX, Dtype, LatentIndex, Layout, ShardRecord, StatisticsRecord, VAERecord
from zoo.data.latent_shards import Shard, open_shard
from zoo.data.pictures import read_picture
from zoo.errors import DataError, ZooError
from zoo.files import write_whole

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Options:
    """How to encode, and how much at a time.

    Attributes:
        size: height and width to crop the pictures to.
        batch: pictures that the VAE sees at a time. Rounding depends on it.
        shard: samples of a file.
        dtype: of the stored numbers.
        flip: also encode the mirrored pictures.
        workers: threads that read pictures ahead.
    """

    size: tuple[int, int] = (256, 256)
    batch: int = 32
    shard: int = 4096
    dtype: Dtype = "float16"
    flip: bool = True
    workers: int = 4


class Moments:
    """Sums over posteriors, for the statistics of their samples: by the law of total variance, nothing is drawn."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean, self.square, self.variance = torch.zeros(3, channels, dtype=torch.float64)

    def add(self, moments: Tensor) -> None:
        """Take in ``[B, 2C, H, W]``, as stored."""
        for start in range(0, len(moments), 256):
            mean, logvar = moments[start : start + 256].double().chunk(2, dim=1)
            self.count += mean[:, 0].numel()
            self.mean += mean.sum((0, 2, 3))
            self.square += mean.square().sum((0, 2, 3))
            self.variance += logvar.exp().sum((0, 2, 3))

    def statistics(self) -> StatisticsRecord:
        """Mean and standard deviation of each channel."""
        mean = self.mean / self.count
        variance = (self.square + self.variance) / self.count - mean.square()
        return StatisticsRecord(
            of="samples", mean=tuple(mean.tolist()), std=tuple(variance.clamp(min=0).sqrt().tolist())
        )


def extract(
    listings: Mapping[Path, ImageList], vae: Autoencoder, options: Options, advance: Advance = lambda count: None
) -> None:
    """Encode lists of pictures, each into a folder of its own.

    Args:
        listings: what to encode, by the folder to write to.
        vae: what encodes it.
        options: how to go about it.
        advance: told how many pictures are done, as they are.

    Raises:
        DataError: a picture cannot be read or encoded, or what there is to resume was extracted otherwise.
    """
    with ThreadPoolExecutor(options.workers) as pool:
        for out, listing in listings.items():
            _extract(listing, vae, out, options, pool, advance)


def _extract(
    listing: ImageList, vae: Autoencoder, out: Path, options: Options, pool: ThreadPoolExecutor, advance: Advance
) -> None:
    height, width = (side // vae.factor for side in options.size)
    layout = Layout(vae.channels, height, width, options.dtype, "stored" if options.flip else "none")
    record = VAERecord(
        source=vae.source,
        sha256=vae.sha256(),
        scaling_factor=vae.scaling_factor,
        shift_factor=vae.shift_factor,
    )
    settings = {"vae": record.sha256, "size": _times(options.size), "dtype": layout.dtype, "flip": layout.flip}
    starts = range(0, len(listing), options.shard)
    plan = {
        out / f"shard_{number:05}.safetensors": range(start, min(start + options.shard, len(listing)))
        for number, start in enumerate(starts)
    }
    complete = {path for path, rows in plan.items() if _is_complete(path, listing, rows, layout, settings)}
    make_folder(out)
    if len(complete) < len(plan):
        (out / INDEX).unlink(missing_ok=True)  # of an extraction that has lost shards since
    sums, records = Moments(vae.channels), []
    for path, rows in plan.items():
        if path in complete:
            advance(len(rows))
        else:
            write_shard(path, _encode(listing, rows, vae, options, pool, advance), settings)
        shard = open_shard(path, len(rows), layout)
        sums.add(shard.moments)
        if shard.moments_flipped is not None:
            sums.add(shard.moments_flipped)
        records.append(ShardRecord(file=path.name, count=len(rows), sha256=_sha256(path)))
    index = LatentIndex(
        **layout._asdict(),
        image_size=options.size,
        vae=record,
        statistics=sums.statistics(),
        classes=listing.classes,
        shards=tuple(records),
    )
    write_whole(out / INDEX, index.model_dump_json(indent=2) + "\n", DataError)


def _is_complete(path: Path, listing: ImageList, rows: range, layout: Layout, settings: Mapping[str, str]) -> bool:
    """Whether a shard is there, whole, and the same as it would be written now.

    Raises:
        DataError: it is whole, but another one.
    """
    found = shard_settings(path)
    if found is None:
        return False
    if not found:
        raise DataError(f"{shown(path)}: was not written by this tool; remove it, or choose another folder")
    if found != settings:
        differing = ", ".join(f"{key} {found.get(key)}" for key in settings if found.get(key) != settings[key])
        raise DataError(f"{shown(path)}: was extracted with {differing}; resume with that, or choose another folder")
    try:
        shard = open_shard(path, len(rows), layout)
    except DataError:
        shard = None
    labels, ids = _names(listing, rows)
    if shard is None or not (torch.equal(shard.labels, labels) and torch.equal(shard.ids, ids)):
        raise DataError(
            f"{shown(path)}: holds other pictures than are to be there now: the image folder has changed, or --shard;"
            " choose another folder"
        )
    return True


def _encode(
    listing: ImageList, rows: range, vae: Autoencoder, options: Options, pool: ThreadPoolExecutor, advance: Advance
) -> Shard:
    """Some pictures' moments, with their labels and ids."""
    moments: list[Tensor] = []
    flipped: list[Tensor] = []
    for piece, pixels in _read(listing, rows, vae.image_channels, options, pool):
        for results, view in ((moments, pixels), (flipped, pixels.flip(2)))[: 1 + options.flip]:
            stored = vae.encode(view).to(getattr(torch, options.dtype))
            finite = stored.isfinite().flatten(1).all(dim=1)
            if not finite.all():
                path = listing.path(piece[int((~finite).nonzero()[0])])
                raise DataError(
                    f"{shown(path)}: its latent is not finite in {options.dtype}; take --dtype float32, or another VAE"
                )
            results.append(stored)
        advance(len(piece))
    labels, ids = _names(listing, rows)
    return Shard(torch.cat(moments), torch.cat(flipped) if options.flip else None, labels, ids)


def _read(
    listing: ImageList, rows: range, channels: int, options: Options, pool: ThreadPoolExecutor
) -> Iterator[tuple[range, Tensor]]:
    """Batches of pictures ``[B, height, width, C]``, the next one being read while one is used."""

    def read(row: int) -> UInt8[np.ndarray, "height width C"]:
        try:
            return read_picture(listing.path(row), channels, *options.size)
        except DataError as error:
            raise DataError(f"{error}; replace or remove it") from error

    pieces = [rows[start : start + options.batch] for start in range(0, len(rows), options.batch)]
    ahead = pool.map(read, pieces[0])
    for piece, following in zip(pieces, [*pieces[1:], range(0)], strict=True):
        ready, ahead = ahead, pool.map(read, following)
        yield piece, torch.from_numpy(np.stack(list(ready)))


def _names(listing: ImageList, rows: range) -> tuple[Tensor, Tensor]:
    """Labels and encoded ids."""
    labels = torch.from_numpy(listing.labels[rows.start : rows.stop].copy())
    return labels, encode_ids([listing.id(row) for row in rows])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plan_folders(images: Path, out: Path, *, resume: bool) -> dict[Path, ImageList]:
    """What to encode, by the folder to write to: a sub-folder for each split if the pictures are divided.

    Raises:
        ZooError: ``out`` is in use, and this is not to resume.
        DataError: the pictures cannot be listed.
    """
    if out.exists() and not out.is_dir():
        raise ZooError(f"{shown(out)}: is a file; choose another name for the folder")
    if out.exists() and any(out.iterdir()) and not resume:
        raise ZooError(f"{shown(out)}: is not empty; choose another folder, or go on in it with --resume")
    folders = split_folders(images)
    return {
        out if below == images else out / split: list_images(images, split, flat=True)
        for split, below in folders.items()
    }


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        DataError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be made: {error.strerror}") from error


def run(given: argparse.Namespace) -> None:
    """Extract as the command line says.

    Raises:
        ZooError: what is given does not go together.
        DataError: pictures, VAE or what was written before cannot be used.
    """
    size = (given.size[0], given.size[-1])
    options = Options(size, given.batch, given.shard, given.dtype, given.flip, given.workers)
    listings = plan_folders(given.images, given.out, resume=given.resume)
    vae = Autoencoder(given.vae, given.device)
    if any(side % vae.factor for side in size):
        raise ZooError(
            f"--size {_times(size)}: a latent pixel of this VAE is {vae.factor} image pixels wide and high;"
            f" give multiples of {vae.factor}"
        )
    for note in filter(None, (listing.note for listing in listings.values())):
        print(f"note: {note}", file=sys.stderr)
    total = sum(map(len, listings.values()))
    console = Console(stderr=True)
    columns = (TextColumn("encoding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("encoding", total=total)
        extract(listings, vae, options, lambda count: progress.advance(task, count))
    for out, listing in listings.items():
        print(f"{shown(out)}: {len(listing)} latents of {len(listing.classes) or 'no'} classes")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    assert __doc__ is not None
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("images", type=Path, metavar="IMAGES", help="folder of pictures")
    found.add_argument("--vae", required=True, help="folder or hub id of a diffusers AutoencoderKL")
    found.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where to write")
    found.add_argument(
        "--size", nargs="+", type=_positive, default=[256], metavar="PIXELS", help="side, or height and width (256)"
    )
    found.add_argument("--batch", type=_positive, default=32, help="pictures that the VAE sees at a time (32)")
    found.add_argument("--shard", type=_positive, default=4096, help="samples of a file (4096)")
    found.add_argument("--dtype", choices=["float16", "float32"], default="float16", help="of what is stored")
    found.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, default=True, help="also encode the mirrored pictures"
    )
    found.add_argument("--device", type=_device, default="cuda" if torch.cuda.is_available() else "cpu")
    found.add_argument("--workers", type=_positive, default=os.cpu_count() or 1, help="threads that read pictures")
    found.add_argument("--resume", action="store_true", help="go on after the files that are complete")
    return found


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _device(text: str) -> torch.device:
    try:
        return torch.empty(0, device=text).device
    except Exception as error:  # torch's backends raise many kinds
        raise argparse.ArgumentTypeError(f"{text!r} is not a device that works here") from error


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Extract; the exit code is 0, 2 (usage), 3 (data), or 130 (interrupted)."""
    command = parser()
    given = command.parse_args(arguments)
    if len(given.size) > 2:
        command.error("argument --size: give one number, or height and width")
    try:
        run(given)
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except torch.OutOfMemoryError:
        print("error: out of memory; go on with --resume and a smaller --batch", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("interrupted; go on with --resume", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
