"""Whatever is uploaded is read as the package reads images, or refused in one plain sentence."""

import io

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


def on_its_side():
    """A JPEG file of 6x4 pixels that is to be turned by a quarter."""
    turned, buffer = Image.Exif(), io.BytesIO()
    turned[274] = 6
    Image.new("RGB", (6, 4), (255, 0, 0)).save(buffer, "JPEG", exif=turned.tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (encode_png(np.full((4, 6, 4), 100, dtype=np.uint8)), (4, 6)),
        (encode_png(np.arange(20, dtype=np.uint16).reshape(4, 5, 1) * 3000), (4, 5)),
        (on_its_side(), (6, 4)),
    ],
    ids=["transparent", "16 bits", "lying on its side"],
)
def test_an_image_is_read_as_the_package_reads_it(upload, data, size):
    given = upload(data)
    assert given.image.shape == (3, *size)
    assert torch.equal(given.image, from_pixels(torch.from_numpy(decode_image(data, channels=3))[None])[0])
    assert (given.name, given.note) == ("upload", "")


def test_a_large_image_is_scaled_down_in_its_shape_and_this_is_said(upload):
    given = upload(encode_png(np.zeros((1000, 3000, 3), dtype=np.uint8)))
    height, width = given.image.shape[1:]
    assert 0.99 * MOST_PIXELS < height * width <= MOST_PIXELS
    assert width / height == pytest.approx(3.0, rel=0.01)
    assert given.note == f"The image has 3000x1000 pixels and was scaled down to {width}x{height}."


def test_an_image_is_cropped_to_a_size_where_one_is_needed(upload):
    given = upload(encode_png(np.zeros((4, 6, 3), dtype=np.uint8)), size=(16, 24))
    assert given.image.shape == (3, 16, 24)
    assert given.note == "The image has 6x4 pixels and was cropped and scaled to 24x16."
    assert upload(encode_png(to_pixels(given.image[None])[0].numpy()), size=(16, 24)).note == ""


@pytest.mark.parametrize("data", [b"", b"not an image", on_its_side()[:300]], ids=["empty", "text", "cut"])
def test_what_cannot_be_used_is_refused_in_a_sentence(upload, data):
    with pytest.raises(DataError, match=r"^this file cannot be used: .*; take a PNG, JPEG, WebP"):
        upload(data)
