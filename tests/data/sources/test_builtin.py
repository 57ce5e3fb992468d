"""The built-in images are what the documentation says."""

import io
import re
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from vqvae2.data import (
    BUILTIN_GROUP_PATTERN,
    BuiltinImages,
    ImageFolder,
    survey_images,
    validation_mask,
)
from vqvae2.errors import DataError
from vqvae2.images import decode_image, encode_png


@pytest.fixture(scope="module")
def builtin():
    return BuiltinImages()


def test_there_are_1854_images_in_nine_classes(builtin):
    assert len(builtin) == len(builtin.names) == len(set(builtin.names)) == 1854
    assert len(builtin.classes) == 9
    assert builtin.given_validation is None
    assert {builtin[index].label for index in range(len(builtin))} == set(range(9))


def test_a_record_agrees_with_names_and_classes(builtin):
    for index in range(0, len(builtin), 100):
        record = builtin[index]
        assert record.name == builtin.names[index]
        assert record.name.startswith(f"{builtin.classes[record.label]}/")


def test_every_image_is_64_pixels_square_and_rgb(builtin):
    for index in range(len(builtin)):
        with Image.open(io.BytesIO(builtin[index].data)) as image:
            assert (image.size, image.mode) == ((64, 64), "RGB")


def test_images_decode(builtin):
    pixels = np.stack([decode_image(builtin[index].data, channels=3) for index in range(0, len(builtin), 50)])
    assert pixels.shape[1:] == (64, 64, 3)
    assert (pixels.std(axis=(1, 2, 3)) > 0).all()


def test_variants_of_an_emoji_share_a_group(builtin):
    def group(name: str) -> str:
        return re.search(BUILTIN_GROUP_PATTERN, name).group(1)

    assert group("people-and-body/1f468-200d-1f692.webp") == group("people-and-body/1f468.webp") == "1f468"
    assert group("people-and-body/1f468.webp") != group("people-and-body/1f469.webp")

    sides = defaultdict(set)
    mask = validation_mask(builtin.names, fraction=0.1, group_pattern=BUILTIN_GROUP_PATTERN)
    for name, side in zip(builtin.names, mask, strict=True):
        sides[name.split("/")[-1].split("-")[0].removesuffix(".webp")].add(bool(side))
    assert all(len(side) == 1 for side in sides.values())


def test_a_survey_finds_size_and_channels_of_the_images(builtin):
    assert survey_images(builtin) == (64, 3, 8)


@pytest.mark.parametrize(("channels", "suggested"), [(1, 1), (3, 3), (4, 3)])
def test_a_grey_folder_needs_one_channel(channels, suggested, tmp_path):
    for height, width in ((10, 30), (12, 12), (50, 14)):
        pixels = np.zeros((height, width, channels), dtype=np.uint8)
        (tmp_path / f"{height}.png").write_bytes(encode_png(pixels))
    assert survey_images(ImageFolder(tmp_path)) == (12, suggested, 8)


@pytest.mark.parametrize(
    ("others", "channels", "bit_depth"),
    [
        (np.zeros((8, 8, 1), np.uint16), 1, 16),
        (np.zeros((8, 8, 1), np.uint8), 1, 8),
        (np.zeros((8, 8, 3), np.uint8), 3, 8),
    ],
    ids=["16-bit grey", "8-bit grey", "RGB"],
)
def test_16_bits_are_found_only_if_all_images_have_them(others, channels, bit_depth, tmp_path):
    for index in range(5):
        pixels = others if index == 2 else np.zeros((8, 8, 1), dtype=np.uint16)
        (tmp_path / f"{index}.png").write_bytes(encode_png(pixels))
    survey = survey_images(ImageFolder(tmp_path))
    assert (survey.short_side, survey.channels, survey.bit_depth) == (8, channels, bit_depth)


def test_one_colored_image_makes_three_channels(tmp_path):
    for index in range(5):
        (tmp_path / f"{index}.png").write_bytes(encode_png(np.zeros((8, 8, 3 if index == 2 else 1), dtype=np.uint8)))
    assert survey_images(ImageFolder(tmp_path)) == (8, 3, 8)


def test_unreadable_images_say_nothing_about_size(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"broken")
    (tmp_path / "good.png").write_bytes(encode_png(np.zeros((8, 9, 1), dtype=np.uint8)))
    assert survey_images(ImageFolder(tmp_path)) == (8, 1, 8)


def test_nothing_can_be_suggested_without_a_readable_image(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"none of the images .* broken\.png: not a readable image"):
        survey_images(ImageFolder(tmp_path))
