"""One picture from a file: decoded, upright, and cropped to size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from zoo.data.folders import shown
from zoo.errors import DataError

if TYPE_CHECKING:  # half of this package does without Pillow
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")  # GIF, since many are misnamed; nothing that starts other programs
MODES = {1: "L", 3: "RGB"}


def read_picture(path: Path, channels: int, height: int, width: int) -> UInt8[np.ndarray, "height width channels"]:
    """A picture's pixels, cropped to ``height`` x ``width`` from its centre.

    It is turned as its EXIF tag says, 16 bits become 8, and what is transparent shows white.

    Args:
        path: of the file.
        channels: 1 (grey) or 3 (RGB).
        height: of the crop, in pixels.
        width: of the crop.

    Raises:
        DataError: it is no picture, or one that is damaged or absurdly large.
    """
    return np.asarray(centre_crop(_decode(path, MODES[channels]), height, width)).reshape(height, width, channels)


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


def _decode(path: Path, mode: str) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path, formats=FORMATS) as file:
            return _plain(ImageOps.exif_transpose(file)).convert(mode)
    except Image.DecompressionBombError as error:
        raise DataError(f"{shown(path)}: is too large to be a picture for training: {error}") from error
    except UnidentifiedImageError:
        raise DataError(f"{shown(path)}: is no picture, or one that is damaged; replace or remove it") from None
    except Exception as error:  # decoders raise many kinds where a file is damaged
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{shown(path)}: cannot be read as a picture: {reason}; replace or remove it") from error


def _plain(image: Image) -> Image:
    """The image with 8 bits a channel and without transparency."""
    from PIL import Image

    if image.mode.startswith("I"):  # convert() would clip 16 bits, not scale them
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image
