"""Pictures are decoded properly whatever their mode, turned upright, and cropped as ADM does; damage is told."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from zoo.data import pictures
from zoo.data.folders import ENDINGS
from zoo.data.pictures import centre_crop, read_picture
from zoo.errors import DataError

AVIF = pytest.param("avif", marks=pytest.mark.skipif(not features.check("avif"), reason="of this Pillow"))


def read(path, channels=3, size=None):
    if size is None:
        with Image.open(path) as image:
            size = (image.height, image.width)
    return read_picture(path, channels, *size)


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("ending", ["png", "bmp", "webp", "tif", "tiff", "ppm"])
def test_pixels_of_a_picture_that_fits_are_kept(tmp_path, noise, ending):
    Image.fromarray(noise).save(tmp_path / f"x.{ending}", **({"lossless": True} if ending == "webp" else {}))
    assert np.array_equal(read(tmp_path / f"x.{ending}"), noise)


@pytest.mark.parametrize("ending", ["JPEG", "jfif", "jpe", AVIF])
def test_pictures_with_losses(tmp_path, noise, ending):
    smooth = np.asarray(Image.fromarray(noise).resize((64, 48)))
    Image.fromarray(smooth).save(tmp_path / f"x.{ending}", quality=95)
    assert np.abs(read(tmp_path / f"x.{ending}").astype(int) - smooth).mean() < 3


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff(tmp_path, noise, compression):
    Image.fromarray(noise).save(tmp_path / "x.tif", compression=compression)
    assert np.array_equal(read(tmp_path / "x.tif"), noise)


def test_grey_and_colour_turn_into_each_other(tmp_path, noise):
    Image.fromarray(noise[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(noise).save(tmp_path / "rgb.png")
    assert np.array_equal(read(tmp_path / "grey.png", 1), noise[..., :1])
    assert np.array_equal(read(tmp_path / "grey.png", 3), noise[..., :1].repeat(3, axis=2))
    luma = noise @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read(tmp_path / "rgb.png", 1)[..., 0] - luma).max() <= 1


@pytest.mark.parametrize("ending", ["png", "gif", "tif"])
def test_palette(tmp_path, noise, ending):
    image = Image.fromarray(noise).quantize(16)
    image.save(tmp_path / f"x.{ending}")
    assert Image.open(tmp_path / f"x.{ending}").mode == "P"
    assert np.array_equal(read(tmp_path / f"x.{ending}"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_black_and_white(tmp_path, ending):
    image = Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8)).convert("1")
    image.save(tmp_path / f"x.{ending}")
    assert read(tmp_path / f"x.{ending}", 1)[..., 0].tolist() == [[0, 255], [255, 0]]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_what_is_transparent_shows_white(tmp_path, noise, ending):
    alpha = np.zeros((6, 8, 1), dtype=np.uint8)
    alpha[:3] = 255
    Image.fromarray(np.concatenate([noise, alpha], axis=2)).save(tmp_path / f"rgba.{ending}")
    found = read(tmp_path / f"rgba.{ending}")
    assert np.array_equal(found[:3], noise[:3])
    assert (found[3:] == 255).all()
    Image.fromarray(np.concatenate([noise[..., :1], alpha], axis=2), "LA").save(tmp_path / f"la.{ending}")
    found = read(tmp_path / f"la.{ending}", 1)
    assert np.array_equal(found[:3], noise[:3, :, :1])
    assert (found[3:] == 255).all()
    half = np.full((2, 2, 4), (0, 0, 0, 128), dtype=np.uint8)
    Image.fromarray(half).save(tmp_path / f"half.{ending}")
    assert np.abs(read(tmp_path / f"half.{ending}").astype(int) - 127).max() <= 1


def test_a_palette_with_a_transparent_colour(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "x.png", transparency=1)
    assert read(tmp_path / "x.png").tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_grey_of_16_bits_is_scaled_and_not_clipped(tmp_path, ending):
    values = np.array([[0, 257, 0x8000, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"x.{ending}")
    assert Image.open(tmp_path / f"x.{ending}").mode.startswith("I")
    assert read(tmp_path / f"x.{ending}", 1)[..., 0].tolist() == [[0, 1, 128, 255]]
    assert read(tmp_path / f"x.{ending}", 3)[0, 2].tolist() == [128] * 3


def test_grey_of_16_bits_in_which_0_is_white(tmp_path):
    Image.fromarray(np.array([[0, 0x8000, 65535]], dtype=np.uint16)).save(tmp_path / "x.tif", tiffinfo={262: 0})
    content = (tmp_path / "x.tif").read_bytes()
    entry = struct.pack("<HHI", 262, 3, 1)  # Pillow writes 1, whatever it is told
    (tmp_path / "x.tif").write_bytes(content.replace(entry + b"\1", entry + b"\0"))
    assert read(tmp_path / "x.tif", 1)[..., 0].tolist() == [[255, 127, 0]]


def test_grey_of_12_bits(tmp_path):
    pixels = bytes([0x00, 0x0F, 0xFF])  # 0 and 4095
    entries = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 3)]
    tags = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    header = b"II*\0" + struct.pack("<I", 12)
    (tmp_path / "x.tif").write_bytes(header + pixels + b"\0" + struct.pack("<H", len(entries)) + tags + b"\0" * 4)
    assert read(tmp_path / "x.tif", 1)[..., 0].tolist() == [[0, 255]]


def test_of_floating_point_numbers_0_is_black_and_1_is_white(tmp_path):
    Image.fromarray(np.array([[0, 0.25, 1]], dtype=np.float32)).save(tmp_path / "x.tif")
    assert read(tmp_path / "x.tif", 1)[..., 0].tolist() == [[0, 64, 255]]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.array([[0, 200]], dtype=np.float32), "holds numbers from 0 to 200, of which 1 would be white"),
        (np.array([[-0.5, 1]], dtype=np.float32), "holds numbers from -0.5 to 1, of which 1 would be white"),
        (np.array([[np.nan, 1]], dtype=np.float32), "holds numbers from nan to nan, of which 1 would be white"),
        (np.array([[0, 255]], dtype=np.int32), "holds signed numbers of 32 bits, of which none is white"),
    ],
)
def test_numbers_of_which_nobody_knows_what_is_white(tmp_path, values, problem):
    Image.fromarray(values).save(tmp_path / "x.tif")
    assert message(tmp_path / "x.tif", values.shape) == f"{tmp_path}/x.tif: {problem}; convert it to 8 or 16 bits"


def test_colour_of_16_bits(tmp_path):
    def chunk(name, content):
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    pixels = b"\0" + struct.pack(">6H", 0, 0x8000, 65535, 257, 514, 771)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(png)
    assert read(tmp_path / "x.png").tolist() == [[[0, 128, 255], [1, 2, 3]]]


@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_cmyk(tmp_path, ending):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / f"x.{ending}")
    found = read(tmp_path / f"x.{ending}")
    assert Image.open(tmp_path / f"x.{ending}").mode == "CMYK"
    assert np.abs(found.astype(int) - [255, 0, 0]).max() < 20


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (6, -1), (3, 2), (8, 1)])
def test_pictures_are_turned_as_their_exif_tag_says(tmp_path, noise, orientation, turns, ending):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise).save(tmp_path / f"x.{ending}", exif=exif)
    upright = np.rot90(noise, turns)
    assert np.array_equal(read(tmp_path / f"x.{ending}", size=upright.shape[:2]), upright)


@pytest.mark.parametrize("ending", ["webp", "tif"])
def test_the_first_frame_of_several(tmp_path, noise, ending):
    frames = [Image.fromarray(noise), Image.fromarray(255 - noise)]
    options = {"lossless": True} if ending == "webp" else {}
    frames[0].save(tmp_path / f"x.{ending}", save_all=True, append_images=frames[1:], **options)
    assert np.array_equal(read(tmp_path / f"x.{ending}"), noise)


def test_the_first_frame_of_an_animated_gif_whose_background_is_transparent(tmp_path):
    first = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    first.putpixel((1, 0), (0, 0, 0, 0))
    first.save(tmp_path / "x.gif", save_all=True, append_images=[Image.new("RGBA", (2, 1), "red")], duration=100)
    assert Image.open(tmp_path / "x.gif").n_frames == 2
    assert read(tmp_path / "x.gif").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_the_crop_is_adms_for_a_square(noise):
    image = Image.fromarray(noise).resize((150, 101))
    found = centre_crop(image, 16, 16)
    by_hand = image.resize((75, 50), Image.Resampling.BOX).resize((37, 25), Image.Resampling.BOX)
    by_hand = by_hand.resize((24, 16), Image.Resampling.BICUBIC)  # 37 * 16 / 25 = 23.7
    assert np.array_equal(np.asarray(found), np.asarray(by_hand)[:, 4:20])


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.integers(1, 20))
def test_the_crop_has_the_size_and_is_centred(width, height, crop_width, crop_height):
    across = np.linspace(0, 255, width)[None, :] if width > 1 else np.full((1, 1), 127.5)
    image = Image.fromarray(np.repeat(across, height, axis=0).astype(np.uint8))
    found = np.asarray(centre_crop(image, crop_height, crop_width)).astype(float)
    assert found.shape == (crop_height, crop_width)
    step = 255 / min(width, crop_width)  # a pixel off the centre, where widths are odd
    assert abs(found.mean() - 127.5) <= step + 1


def test_a_wide_crop_takes_the_middle_of_the_height():
    rows = np.repeat(np.arange(12, dtype=np.uint8)[:, None], 8, axis=1)
    found = np.asarray(centre_crop(Image.fromarray(rows), 4, 8))
    assert found[:, 0].tolist() == [4, 5, 6, 7]


def message(path, size=(4, 4)):
    with pytest.raises(DataError) as error:
        read_picture(path, 3, *size)
    return str(error.value)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_picture(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    found = message(tmp_path / "x.png")
    assert found.startswith(f"{tmp_path}/x.png: ")
    if not content.startswith(b"\x89"):
        assert "is no picture, or one that is damaged" in found


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp", "gif", "tif", "ppm", AVIF])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_pictures(tmp_path, noise, ending, share):
    path = tmp_path / f"x.{ending}"
    Image.fromarray(noise).resize((64, 48)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    found = message(path)
    assert found.startswith(f"{path}: ")


def test_a_decompression_bomb(tmp_path, monkeypatch):
    Image.new("L", (40, 40)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert message(tmp_path / "x.png").startswith(f"{tmp_path}/x.png: is too large to be a picture for training: ")


def test_a_file_that_has_gone(tmp_path):
    path = tmp_path / "new\nline.png"
    expected = f"{tmp_path}/new\\nline.png: cannot be read as a picture: "
    assert message(path).startswith(expected)
    assert "No such file" in message(path)


@pytest.mark.parametrize(("head", "name"), [(b"\0\0\0 ftypavif", "AVIF"), (b"RIFF\0\0\0\0WEBP", "WEBP")])
def test_a_pillow_that_was_built_without(tmp_path, monkeypatch, head, name):
    path = tmp_path / "x.jpg"
    path.write_bytes(head + bytes(50))
    monkeypatch.setattr(features, "get_supported", lambda: ["jpg", "zlib"])
    pictures._formats.cache_clear()
    try:
        assert message(path) == (
            f"{path}: is {name}, which the Pillow that is installed cannot read; pip install --upgrade pillow, or"
            " convert it"
        )
    finally:
        pictures._formats.cache_clear()


def test_every_ending_is_of_a_format_that_is_read():
    formats = {ending: Image.registered_extensions()[ending] for ending in ENDINGS}
    assert set(formats.values()) <= {*pictures.FORMATS, *pictures.OPTIONAL_FORMATS}
