"""An image is read in the colours that a viewer shows."""

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

from vqvae2.images import decode_image, image_info

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED = SRGB.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
"""A profile in which red is green, and green is red."""


def profile(kind: bytes, colours: bytes, connection: bytes, name: bytes, tag: bytes) -> bytes:
    """An ICC profile with one tag beside its white point, D50."""
    point = struct.pack(">3i", 63190, 65536, 54061)
    white = b"XYZ " + bytes(4) + point
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", 156, len(white), name, 156 + len(white), len(tag))
    body = tags + white + tag
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), bytes(4), 0x02400000, kind, colours, connection)
    return (head + bytes(12) + b"acsp" + bytes(28) + point).ljust(128, b"\0") + body


def linear_grey() -> bytes:
    """A profile of grey whose values are proportional to light."""
    return profile(b"mntr", b"GRAY", b"XYZ ", b"kTRC", b"curv" + bytes(8))


def green_cyan() -> bytes:
    """A profile of four inks, of which cyan is green and black is black."""
    white, black, green = (255, 128, 128), (0, 128, 128), (224, 42, 211)  # Lab, as bytes
    corners = [green if ink == (1, 0, 0, 0) else black if ink[3] else white for ink in np.ndindex(2, 2, 2, 2)]
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", *np.eye(3, dtype=int).ravel() * 65536)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + bytes(np.ravel(corners).tolist()) + ramp * 3
    return profile(b"prtr", b"CMYK", b"Lab ", b"A2B0", table)


def encode(image: Image.Image, icc_profile: bytes | None, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, icc_profile=icc_profile, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("size", [None, (5, 7)])
def test_the_colours_of_a_profile_become_srgb(file_format, size):
    data = encode(Image.new("RGB", (8, 8), RED), SWAPPED, file_format)
    for channels in (3, 4):
        pixels = decode_image(data, channels=channels, size=size).astype(int)
        assert pixels.shape == (*(size or (8, 8)), channels)
        assert abs(pixels[..., :3] - GREEN).max() < 12  # JPEG and WebP are lossy
    assert abs(decode_image(data, channels=1, size=size).astype(int) - 150).max() < 12
    assert abs(decode_image(data, channels=1, size=size, bit_depth=16) / 257 - 150).max() < 12


def test_palettes_and_transparency_keep_to_the_profile():
    data = encode(Image.new("RGB", (2, 2), RED).quantize(4), SWAPPED)
    assert (decode_image(data, channels=3) == GREEN).all()
    image = Image.new("RGBA", (2, 1), (*RED, 0))
    image.putpixel((1, 0), (*RED, 255))
    data = encode(image, SWAPPED)
    assert decode_image(data, channels=3).tolist() == [[[255, 255, 255], list(GREEN)]]
    assert decode_image(data, channels=4)[..., 3].tolist() == [[0, 255]]
    data = encode(Image.new("RGB", (2, 1), RED), SWAPPED, transparency=RED)
    assert (decode_image(data, channels=3) == 255).all()
    data = encode(Image.new("RGB", (2, 1), RED), SWAPPED, transparency=BLUE)
    assert (decode_image(data, channels=3) == GREEN).all()


def test_a_profile_of_grey_is_applied():
    data = encode(Image.new("L", (2, 2), 128), linear_grey())
    assert abs(decode_image(data, channels=1).astype(int) - 188).max() <= 1
    assert image_info(data).is_grey


def test_a_profile_of_inks_is_applied():
    image = Image.new("CMYK", (3, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 0))
    image.putpixel((2, 0), (0, 0, 0, 255))
    pixels = decode_image(encode(image, green_cyan(), "TIFF"), channels=3).astype(int)
    assert abs(pixels - [[(255, 255, 255), GREEN, (0, 0, 0)]]).max() < 12
    assert decode_image(encode(image, None, "TIFF"), channels=3)[0, 1].tolist() == [0, 255, 255]


def test_colours_that_are_srgb_are_not_touched():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    for given in (None, SRGB):
        assert np.array_equal(decode_image(encode(Image.fromarray(pixels), given), channels=3), pixels)


@pytest.mark.parametrize(  # a profile holds the second of its making, so names of its bytes would differ by process
    "damaged",
    [b"x", b"", SWAPPED[:300], linear_grey(), SRGB.replace(b"RGB ", b"CMYK")],
    ids=["one byte", "empty", "cut off", "of grey", "of another space"],
)
def test_a_profile_that_cannot_be_used_costs_no_image(damaged):
    pixels = decode_image(encode(Image.new("RGB", (2, 2), RED), damaged), channels=3)
    assert (pixels == RED).all()


def test_many_threads_read_the_same_colours():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(pixels), SWAPPED)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: decode_image(data, channels=3), range(50)))
    assert all(np.array_equal(result, results[0]) for result in results)
    assert np.abs(results[0].astype(int) - pixels[..., [1, 0, 2]]).max() <= 1
