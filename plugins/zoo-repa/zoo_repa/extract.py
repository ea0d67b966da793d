"""Store the features that a frozen encoder has of a dataset's pictures, for the dataset `with_features`.

    python -m zoo_repa.extract -r sit_b --pictures imagenet/train --encoder facebook/dinov2-base --out F
    python -m zoo_repa.extract -r digits_dit --encoder teacher.pt --side 16 --channels 1 --mean .5 --std .5 --out F

The samples are those of the recipe's dataset, in its order, never mirrored. Their pictures are read from --pictures,
by the names that the dataset has for them, and cropped from the centre to --size; without --pictures they are what
the dataset itself shows. The encoder is a TorchScript file, a .pt2 of torch.export.save, or a folder or hub id for
transformers' AutoModel (pip install transformers), of whose tokens those in front of the picture's are left out.
An extraction that was interrupted goes on with --resume.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import zoo
from zoo.data import Dataset, Source, Split
from zoo.errors import DataError, MissingSplitError, ZooError, first_line
from zoo.evaluate import prepared
from zoo_repa.dataset import WithFeatures
from zoo_repa.encoders import Encoder, load_encoder
from zoo_repa.stored import INDEX, Index, Record, finite, names_of, open_shard, sha256_of

SETTINGS = "zoo-repa"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, which DINOv2 was trained with."""

NUMBERS = {"mean": "finite numbers", "std": "finite numbers above 0, by which pixels are divided"}


def pictures_of(
    dataset: Dataset, source: Source, split: Split, folder: Path | None, size: int
) -> Callable[[range], Tensor]:
    """What reads some samples' pictures, in [0, 1] [B, C, height, width], never mirrored.

    Args:
        dataset: whose samples they are.
        source: these.
        split: what part of it they are; pictures are of the same where they are divided.
        folder: where pictures of the same names are; None to have the dataset show them.
        size: height and width to crop those of the folder to.

    Raises:
        DataError: a sample has no picture there.
        ZooError: the dataset shows none.
    """
    shown, at = dataset, None
    if folder is not None:
        shown = zoo.dataset(
            {
                "name": "pictures",
                "backbone": {
                    "latent": {"channels": 3, "height": size, "width": size},
                    "num_classes": 0,
                    "class_conditioner": "none",
                    "dim": 8,
                    "depth": 1,
                    "heads": 1,
                    "patch_schedule": {"type": "uniform", "patch": 1},
                },
                "data": {"dataset": {"type": "images", "folder": str(folder.resolve()), "flip": False}},
            }
        )
        try:
            other = shown.open(split)
        except MissingSplitError:  # its own pictures, in a folder that is not divided
            other = shown.open()
        places = {name: place for place, name in enumerate(other.ids())}
        missing = next((name for name in source.ids() if name not in places), None)
        if missing is not None:
            raise DataError(
                f"{folder}: has no picture {missing!r}, which is a sample's name; give the pictures' folder"
            )
        source, at = other, np.array([places[name] for name in source.ids()])
    elif not dataset.makes_images or dataset.preview is not None:
        raise ZooError("--pictures is missing: the dataset by itself shows no pictures; give the folder that has them")

    def read(rows: range) -> Tensor:
        indices = np.arange(rows.start, rows.stop) if at is None else at[rows.start : rows.stop]
        samples = source.read(indices, [np.random.default_rng(0) for _ in indices])
        if samples.flipped is not None:
            samples = samples.mirrored(samples.flipped, maps=())
        return shown.to_images(samples.latents).permute(0, 3, 1, 2).float() / 255

    return read


def extract(source: Source, pictures: Callable[[range], Tensor], encoder: Encoder, given: argparse.Namespace) -> Index:
    """Store the features of all samples in shards, and then their index.

    Args:
        source: the samples.
        pictures: of some, as ``pictures_of`` reads them.
        encoder: whose features these are.
        given: of the command line: out, shard, batch, dtype, and what else decides what is stored.

    Raises:
        DataError: features are not finite, or what there is to resume was extracted otherwise.
        ZooError: the encoder fails.
    """

    def features(rows: range) -> Tensor:
        shown = pictures(rows).to(given.device)
        return encoder(prepared(shown, given.side, given.channels, given.mean, given.std))

    names = names_of(source.ids())
    settings = {name: str(getattr(given, name)) for name in ("size", "side", "channels", "mean", "std", "dtype")}
    settings |= {"encoder": encoder.sha256, "names": names, "shard": str(given.shard)}
    starts = range(0, len(source), given.shard)
    parts = [range(start, min(start + given.shard, len(source))) for start in starts]
    given.out.mkdir(parents=True, exist_ok=True)
    records = []
    width, grid = 0, (1, 1)
    console = Console(stderr=True)
    for number, rows in enumerate(track(parts, "extracting", console=console, disable=not console.is_terminal)):
        path = given.out / f"features_{number:05}.safetensors"
        if not _is_whole(path, settings):
            _write(path, _features_of(source, rows, features, given), settings)
        with safe_open(path, "pt") as file:
            _, width, *sides = file.get_slice("features").get_shape()
        grid = (sides[0], sides[1])
        records.append(Record(file=path.name, count=len(rows), sha256=sha256_of(path)))
    index = Index(width=width, grid=grid, dtype=given.dtype, encoder=encoder.name, names=names, shards=tuple(records))
    for record in records:
        open_shard(given.out / record.file, index, record.count)
    temporary = given.out / f".{INDEX}"
    temporary.write_text(index.model_dump_json(indent=2) + "\n", "utf-8")
    temporary.replace(given.out / INDEX)
    return index


def _features_of(source: Source, rows: range, features: Callable[[range], Tensor], given: argparse.Namespace) -> Tensor:
    found = []
    for start in range(rows.start, rows.stop, given.batch):
        some = range(start, min(start + given.batch, rows.stop))
        stored = features(some).cpu().to(getattr(torch, given.dtype))
        wrong = ~finite(stored)
        if bool(wrong.any()):
            name = source.id(some[int(wrong.nonzero()[0])])
            raise DataError(f"{name}: its features are not finite in {given.dtype}; take --dtype float32")
        found.append(stored)
    return torch.cat(found).contiguous()


def _is_whole(path: Path, settings: dict[str, str]) -> bool:
    """Whether a shard is there, as it would be written now.

    Raises:
        DataError: it is another one.
    """
    try:
        with safe_open(path, "pt") as file:
            found = json.loads((file.metadata() or {}).get(SETTINGS, "{}"))
    except (SafetensorError, OSError, ValueError):
        return False
    if found != settings:
        other = ", ".join(name for name in settings if found.get(name) != settings[name])
        raise DataError(f"{path}: was extracted with other {other}; go on with the same, or choose another folder")
    return True


def _write(path: Path, features: Tensor, settings: dict[str, str]) -> None:
    temporary = path.with_name(f".{path.name}")
    try:
        save_file({"features": features}, temporary, {SETTINGS: json.dumps(settings, sort_keys=True)})
    except (SafetensorError, OSError) as error:
        temporary.unlink(missing_ok=True)
        raise DataError(
            f"{path}: cannot be written: {first_line(error)}; files before it stay: go on with --resume"
        ) from error
    temporary.replace(path)


def run(given: argparse.Namespace) -> None:
    """Extract as the command line says.

    Raises:
        ZooError: what is given does not go together, or cannot be read.
    """
    for name, numbers in (("mean", given.mean), ("std", given.std)):
        if len(numbers) != given.channels:
            raise ZooError(f"--{name}: has {len(numbers)} numbers; give one for each of --channels {given.channels}")
        if not all(map(math.isfinite, numbers)) or (name == "std" and min(numbers) <= 0):
            raise ZooError(f"--{name}: {' '.join(map(str, numbers))}: give {NUMBERS[name]}")
    if given.out.is_file():
        raise ZooError(f"--out {given.out}: is a file; choose another name for the folder")
    if given.out.is_dir() and any(given.out.iterdir()) and not given.resume:
        raise ZooError(f"--out {given.out}: is not empty; choose another folder, or go on in it with --resume")
    dataset = zoo.dataset(given.recipe, given.set)
    if isinstance(dataset, WithFeatures):
        dataset = dataset.of
    source = dataset.open(given.split)
    pictures = pictures_of(dataset, source, given.split, given.pictures, given.size)
    encoder = load_encoder(given.encoder, given.side, given.device)
    index = extract(source, pictures, encoder, given)
    print(f"{given.out}: {index.samples} samples, features of {index.width} x {' x '.join(map(str, index.grid))}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    assert __doc__ is not None
    found = argparse.ArgumentParser(
        "python -m zoo_repa.extract", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--recipe", "-r", required=True, help="whose dataset has the samples: a name, or a file")
    found.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the recipe")
    found.add_argument("--split", choices=["train", "held_out"], default="train", help="of the samples (train)")
    found.add_argument("--encoder", required=True, help="TorchScript or .pt2 file, or folder or hub id")
    found.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where to write")
    found.add_argument("--pictures", type=Path, metavar="FOLDER", help="pictures under the samples' names")
    found.add_argument("--size", type=_positive, default=256, help="height and width that these are cropped to (256)")
    found.add_argument("--side", type=_positive, default=224, help="to which they are resized for the encoder (224)")
    found.add_argument("--channels", type=_positive, default=3, help="that the encoder takes (3)")
    found.add_argument("--mean", type=float, nargs="+", default=MEAN, help="of pixels, by channel (ImageNet's)")
    found.add_argument("--std", type=float, nargs="+", default=STD, help="likewise")
    found.add_argument("--batch", type=_positive, default=64, help="pictures that the encoder sees at a time (64)")
    found.add_argument("--shard", type=_positive, default=4096, help="samples of a file (4096)")
    found.add_argument("--dtype", choices=["float16", "float32"], default="float16", help="of what is stored")
    found.add_argument("--device", type=_device, default="cuda" if torch.cuda.is_available() else "cpu")
    found.add_argument("--resume", action="store_true", help="go on after the files that are whole")
    return found


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _device(text: str) -> torch.device:
    try:
        found = torch.zeros(1, device=text)
        found.item()  # not of "meta"
        return found.device
    except Exception as error:  # torch's backends raise many kinds
        raise argparse.ArgumentTypeError(f"{text!r} is not a device that works here") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Extract; the exit code is 0, 2 (usage), 3 (data), or 130 (interrupted)."""
    given = parser().parse_args(arguments)
    try:
        run(given)
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(
            f"error: {given.out}: {error.strerror or error}; what was written stays: go on with --resume",
            file=sys.stderr,
        )
        return 3
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        print("error: out of memory; go on with --resume and a smaller --batch", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("interrupted; go on with --resume", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
