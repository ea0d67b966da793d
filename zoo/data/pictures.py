"""One picture from a file: decoded, upright, and cropped to size."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from zoo.data.folders import shown
from zoo.errors import DataError

if TYPE_CHECKING:  # half of this package does without Pillow
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "PPM")  # nothing that starts other programs, as EPS does
OPTIONAL_FORMATS = {"WEBP": "webp", "AVIF": "avif"}
"""What Pillow reads only where it was built with it, by the name of its feature."""

MODES = {1: "L", 3: "RGB"}
CONVERT = "convert it to 8 or 16 bits"

BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
WHITE_IS_ZERO, SIGNED = 0, 2


def read_picture(
    path: Path, channels: int, height: int, width: int, content: bytes | None = None
) -> UInt8[np.ndarray, "height width channels"]:
    """A picture's pixels, cropped to ``height`` x ``width`` from its centre.

    Of several frames or pages it is the first. It is turned as its EXIF tag says, 16 bits become 8, of floating-point
    numbers 0 is black and 1 is white, and what is transparent shows white.

    Args:
        path: of the file.
        channels: 1 (grey) or 3 (RGB).
        height: of the crop, in pixels.
        width: of the crop.
        content: of the file, where it is no file of its own; its path is then what it is called.

    Raises:
        DataError: it is no picture, or one that is damaged, absurdly large, or of a kind that is not read here.
    """
    return np.asarray(centre_crop(_decode(path, MODES[channels], content), height, width)).reshape(
        height, width, channels
    )


def read_whole_picture(path: Path, channels: int) -> UInt8[np.ndarray, "height width channels"]:
    """A picture's pixels as they are, neither cropped nor resized; else as ``read_picture`` has them.

    Args:
        path: of the file.
        channels: 1 (grey) or 3 (RGB).

    Raises:
        DataError: as of ``read_picture``.
    """
    found = np.asarray(_decode(path, MODES[channels]))
    return found.reshape(*found.shape[:2], channels)


def centre_crop(image: Image, height: int, width: int) -> Image:
    """The largest centred part of the target's shape, resized to it: ADM's recipe, and DiT's.

    Halved with a box filter while it is at least twice too large, then resized by bicubic interpolation until it just
    covers the target, then cropped.
    """
    from PIL.Image import Resampling

    while image.width >= 2 * width and image.height >= 2 * height:
        image = image.resize((image.width // 2, image.height // 2), Resampling.BOX)
    scale = max(width / image.width, height / image.height)
    covering = (max(round(image.width * scale), width), max(round(image.height * scale), height))
    image = image.resize(covering, Resampling.BICUBIC)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _decode(path: Path, mode: str, content: bytes | None = None) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path if content is None else BytesIO(content), formats=_formats()) as file:
            return _plain(ImageOps.exif_transpose(file), file).convert(mode)
    except DataError as error:
        raise DataError(f"{shown(path)}: {error}") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{shown(path)}: is too large to be a picture for training: {error}") from error
    except UnidentifiedImageError:
        raise DataError(f"{shown(path)}: {_why_unknown(path, content)}") from None
    except Exception as error:  # decoders raise many kinds where a file is damaged
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{shown(path)}: cannot be read as a picture: {reason}") from error


@cache
def _formats() -> tuple[str, ...]:
    from PIL import features

    there = features.get_supported()
    return (*FORMATS, *(name for name, feature in OPTIONAL_FORMATS.items() if feature in there))


def _why_unknown(path: Path, content: bytes | None) -> str:
    with path.open("rb") if content is None else BytesIO(content) as file:
        head = file.read(12)
    found = "AVIF" if head[4:] in (b"ftypavif", b"ftypavis") else "WEBP" if head[8:] == b"WEBP" else None
    if found is None or found in _formats():
        return "is no picture, or one that is damaged"
    return f"is {found}, which the Pillow that is installed cannot read; pip install --upgrade pillow, or convert it"


def _plain(image: Image, file: Image) -> Image:
    """The image with 8 bits a channel and without transparency; ``file`` knows what its numbers mean."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):  # convert() would clip the numbers, not scale them
        return Image.fromarray((_brightness(image, file) * 255 + 0.5).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


def _brightness(image: Image, file: Image) -> Float[np.ndarray, "height width"]:
    """Of grey that has more than 8 bits: from 0, which is black, to 1.

    Raises:
        DataError: nobody can tell which number is white.
    """
    tags = getattr(file, "tag_v2", {})
    bits, signed = tags.get(BITS_PER_SAMPLE, (16,))[0], tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED
    white = 1 if image.mode == "F" else 2**bits - 1
    values = np.asarray(image).astype(np.float64)
    if image.mode != "F" and (bits > 16 or signed):
        raise DataError(f"holds {'signed ' * signed}numbers of {bits} bits, of which none is white; {CONVERT}")
    if not (values.min() >= 0 and values.max() <= white):  # also where one is not a number
        raise DataError(
            f"holds numbers from {values.min():g} to {values.max():g}, of which 1 would be white; {CONVERT}"
        )
    return 1 - values / white if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else values / white
