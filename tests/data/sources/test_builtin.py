"""The built-in images are what the documentation says, and surveys find what images are like."""

import io
import re
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from vqvae2.config import BUILTIN_GROUP_PATTERN, ImageConfig
from vqvae2.data import BuiltinImages, ImageFolder, survey_images, validation_mask
from vqvae2.errors import DataError
from vqvae2.images import encode_png


@pytest.fixture(scope="module")
def builtin():
    return BuiltinImages()


def test_there_are_4044_rgb_images_of_64_pixels_in_25_classes(builtin):
    assert len(builtin) == len(builtin.names) == len(set(builtin.names)) == 4044
    assert builtin.given_validation is None
    for index, (name, label) in enumerate(zip(builtin.names, builtin.labels, strict=True)):
        with Image.open(io.BytesIO(builtin.read(index))) as image:
            assert (image.size, image.mode) == ((64, 64), "RGB")
        assert name.startswith(f"{builtin.classes[label]}/")
    assert set(builtin.labels) == set(range(25)) == set(range(len(builtin.classes)))
    assert survey_images(builtin) == (64, 3, 8)


def test_heads_of_the_same_shapes_share_a_group(builtin):
    def group(name: str) -> str:
        return re.search(BUILTIN_GROUP_PATTERN, name).group(1)

    assert group("micah-long/0a1b2c3d4e-17.webp") == group("micah-long/0a1b2c3d4e-170.webp") == "0a1b2c3d4e"
    assert group("micah-long/0a1b2c3d4e-17.webp") != group("micah-long/0a1b2c3d4f-17.webp")
    sides = defaultdict(set)
    mask = validation_mask(builtin.names, ImageConfig(group_pattern=BUILTIN_GROUP_PATTERN))
    for name, side in zip(builtin.names, mask, strict=True):
        sides[name.split("/")[-1].split("-")[0]].add(bool(side))
    assert all(len(side) == 1 for side in sides.values())
    assert mask.mean() == pytest.approx(0.1, abs=0.02)


GREY, DEEP, RGB, RGBA = ((1, np.uint8), (1, np.uint16), (3, np.uint8), (4, np.uint8))


@pytest.mark.parametrize(
    ("kinds", "channels", "bit_depth"),
    [
        *(([GREY] * 3, 1, 8), ([RGB] * 3, 3, 8), ([RGBA] * 3, 3, 8), ([DEEP] * 3, 1, 16)),
        *(([DEEP, GREY, DEEP], 1, 8), ([DEEP, RGB, DEEP], 3, 8), ([GREY, RGB, GREY], 3, 8)),
    ],
)
def test_a_survey_finds_what_suits_all_images_and_passes_over_broken_ones(kinds, channels, bit_depth, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"broken")
    for (height, width), (count, dtype) in zip(((10, 30), (12, 12), (50, 14)), kinds, strict=True):
        (tmp_path / f"{height}.png").write_bytes(encode_png(np.zeros((height, width, count), dtype=dtype)))
    assert survey_images(ImageFolder(tmp_path)) == (12, channels, bit_depth)


def test_a_survey_needs_a_readable_image(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"none of .* broken\.png: not a readable image"):
        survey_images(ImageFolder(tmp_path))
