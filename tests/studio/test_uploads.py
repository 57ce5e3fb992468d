"""Whatever is uploaded is read as the package reads images, or refused in one plain sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from vqvae2.errors import DataError
from vqvae2.images import decode_image, encode_png, from_pixels, to_pixels
from vqvae2.studio.uploads import MOST_PIXELS, read_upload


@pytest.fixture
def upload(tmp_path, pipeline):
    """Read bytes that somebody uploaded."""

    def read(data, **options):
        path = tmp_path / "upload.png"
        path.write_bytes(data)
        return read_upload(path, pipeline, **options)

    return read


def encode(image, file_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def claim_size(width, height):
    """Make a PNG file without pixels that claims a size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [struct.pack(">I", len(data)) + kind + data for kind, data in ((b"IHDR", head), (b"IDAT", b""))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk + struct.pack(">I", zlib.crc32(chunk[4:])) for chunk in chunks)


def two_halves(mode="RGB"):
    image = Image.new("RGB", (6, 4), (255, 0, 0))
    image.paste((0, 0, 255), (3, 0, 6, 4))
    return image.convert(mode)


@pytest.mark.parametrize(
    "data",
    [
        encode(two_halves()),
        encode(two_halves("L")),
        encode(two_halves("RGBA")),
        encode(Image.new("RGBA", (5, 5), (10, 20, 30, 100))),
        encode_png(np.arange(20, dtype=np.uint16).reshape(4, 5, 1) * 3000),
        encode(two_halves(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    ],
    ids=["rgb", "grey", "opaque", "transparent", "16 bits", "lying on its side"],
)
def test_an_image_is_read_as_the_package_reads_it(upload, data):
    pixels = decode_image(data, channels=3)
    image, note = upload(data)
    assert torch.equal(image, from_pixels(torch.from_numpy(pixels)[None])[0])
    assert note == ""


def test_an_image_that_lies_on_its_side_is_turned(upload):
    turned = Image.Exif()
    turned[274] = 6
    assert upload(encode(two_halves(), "JPEG", exif=turned.tobytes())).image.shape == (3, 6, 4)


def test_a_large_image_is_made_smaller_in_its_shape_and_this_is_said(upload):
    image, note = upload(encode(Image.new("RGB", (3000, 1000), (255, 0, 0))))
    height, width = image.shape[1:]
    assert 0.99 * MOST_PIXELS < height * width <= MOST_PIXELS
    assert width / height == pytest.approx(3.0, rel=0.01)
    assert note == f"The image has 3000x1000 pixels and was scaled down to {width}x{height}."


def test_an_image_is_cut_to_a_size_where_one_is_needed(upload):
    image, note = upload(encode(two_halves()), size=(16, 24))
    assert image.shape == (3, 16, 24)
    assert note == "The image has 6x4 pixels and was cut and scaled to 24x16."
    assert upload(encode_png(to_pixels(image[None])[0].numpy()), size=(16, 24)).note == ""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the format is unknown"),
        (b"not an image", "the format is unknown"),
        (encode(two_halves())[:50], "truncated|broken"),
        (claim_size(100_000, 100_000), "decompression bomb"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "the format is unknown"),
    ],
    ids=["empty", "text", "cut", "too large", "a program"],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(upload, data, reason):
    with pytest.raises(DataError, match=rf"^this file cannot be used: .*({reason}).*; take a PNG, JPEG, WebP"):
        upload(data)


def test_no_file_is_said(pipeline):
    with pytest.raises(DataError, match=r"^there is no image yet; drop one, or pick an example$"):
        read_upload(None, pipeline)
