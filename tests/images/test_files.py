"""Laws of image files: formats, modes, orientation, shapes."""

import io
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vqvae2.errors import DataError
from vqvae2.images import PIXEL_TYPES, decode_image, encode_png, from_pixels, image_info, save_png, to_pixels

SIDES = st.one_of(st.integers(1, 40), st.sampled_from([1, 200]))
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def two_halves(width: int, height: int) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def every_value(bit_depth: int) -> np.ndarray:
    """All values of a bit depth as one square image `(H, W, 1)`."""
    side = 2 ** (bit_depth // 2)
    return np.arange(side**2, dtype=PIXEL_TYPES[bit_depth]).reshape(side, side, 1)


@pytest.mark.parametrize("bit_depth", [8, 16])
def test_every_value_survives_the_round_trip_through_a_file(bit_depth, tmp_path):
    save_png(every_value(bit_depth), tmp_path / "image.png")
    data = (tmp_path / "image.png").read_bytes()
    assert image_info(data) == (2 ** (bit_depth // 2), 2 ** (bit_depth // 2), True, bit_depth)
    pixels = decode_image(data, channels=1, bit_depth=bit_depth)
    again = to_pixels(from_pixels(torch.from_numpy(pixels[None])), bit_depth=bit_depth)[0].numpy()
    assert again.dtype == PIXEL_TYPES[bit_depth]
    assert np.array_equal(again, every_value(bit_depth))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_is_read(file_format):
    pixels = decode_image(encode(Image.new("RGB", (5, 3), RED), file_format), channels=3)
    assert pixels.shape == (3, 5, 3)
    assert pixels.dtype == np.uint8
    assert abs(pixels.astype(int) - RED).max() < 8  # JPEG and WebP are lossy


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame(file_format):
    frames = [Image.new("RGB", (4, 4), color) for color in (RED, GREEN, BLUE)]
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:])
    assert abs(decode_image(data, channels=3).astype(int) - RED).max() < 8


def test_grey_becomes_rgb_and_rgb_becomes_grey_by_brightness():
    assert (decode_image(encode(Image.new("L", (2, 2), 77)), channels=3) == 77).all()
    pixels = decode_image(encode(Image.new("RGB", (2, 2), GREEN)), channels=1)
    assert pixels.shape == (2, 2, 1)
    assert pixels.flatten().tolist() == [150] * 4  # 0.587 of 255, ITU-R 601-2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_every_number_of_channels_and_16_bits(mode):
    image = Image.new(mode, (6, 4)) if mode == "I;16" else two_halves(6, 4).convert(mode)
    data = encode(image, "TIFF")
    for channels in (1, 3, 4):
        assert decode_image(data, channels=channels).shape == (4, 6, channels)
    pixels = decode_image(data, channels=1, bit_depth=16)
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, decode_image(data, channels=1).astype(np.uint16) * 257)


@pytest.mark.parametrize(
    ("transparency", "first"), [(0, WHITE), (bytes([0, 128]), WHITE), (bytes([128, 255]), (255, 127, 127))]
)
def test_transparent_palette_colors_are_laid_over_white(transparency, first):
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    second = [127, 127, 255] if transparency == bytes([0, 128]) else list(BLUE)
    assert decode_image(encode(image, transparency=transparency), channels=3).tolist() == [[list(first), second]]


def test_transparency_is_laid_over_white_or_kept():
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 255, 255))
    data = encode(image)
    assert decode_image(data, channels=3).tolist() == [[list(WHITE), list(BLUE)]]
    assert decode_image(data, channels=1).flatten().tolist() == [255, 29]
    assert decode_image(data, channels=1, bit_depth=16).flatten().tolist() == [65535, 29 * 257]
    assert decode_image(data, channels=4).tolist() == [[[255, 0, 0, 0], [0, 0, 255, 255]]]
    assert (decode_image(encode(Image.new("RGB", (2, 1), RED)), channels=4)[..., 3] == 255).all()


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled(file_format):
    image = Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype=np.uint16))
    assert decode_image(encode(image, file_format), channels=1).flatten().tolist() == [0, 1, 128, 255]
    assert decode_image(encode(image, file_format), channels=3)[0, 2].tolist() == [128, 128, 128]


@pytest.mark.parametrize(
    ("mode", "order", "file_format"),
    [("I;16", "<u2", "PNG"), ("I;16", "<u2", "TIFF"), ("I;16B", ">u2", "TIFF"), ("I", "<i4", "TIFF")],
)
def test_sixteen_bit_grey_keeps_every_value(mode, order, file_format):
    values = every_value(16)[..., 0]
    data = encode(Image.frombytes(mode, (256, 256), values.astype(order).tobytes()), file_format)
    assert np.array_equal(decode_image(data, channels=1, bit_depth=16)[..., 0], values)
    assert image_info(data) == (256, 256, True, 16)


def tiff(values: np.ndarray, *, black: int = 1) -> bytes:
    """A grey TIFF of any type; `black` says whether the smallest value is black."""
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    height, width = values.shape
    tags = {256: width, 257: height, 258: values.itemsize * 8, 259: 1, 262: black, 273: 8, 277: 1}
    tags |= {278: height, 279: values.nbytes, 339: kind}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + values.nbytes) + values.tobytes()
    return head + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([0.0, 0.25, 0.5, 1.0], "<f4"), [0, 16384, 32768, 65535]),
        (np.array([0, 300, 65535], "<i4"), [0, 300, 65535]),
        (np.array([0, 300, 32767], "<i2"), [0, 300, 32767]),
        (np.array([0, 300, 65535], "<u4"), [0, 300, 65535]),
    ],
)
def test_values_of_every_type_in_their_range_are_scaled(values, wanted):
    data = tiff(values[None])
    assert decode_image(data, channels=1, bit_depth=16).flatten().tolist() == wanted
    assert decode_image(data, channels=3)[0, :, 1].tolist() == [(value + 128) // 257 for value in wanted]
    assert image_info(data) == (1, len(values), True, 16)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([-5, 300], "<i4"), r"its integers reach from -5 to 300, and must be in 0\.\.65535; scale them first"),
        (np.array([-5, 300], "<i2"), "its integers reach from -5 to 300"),
        (np.array([0, 70_000], "<i4"), "its integers reach from 0 to 70000"),
        (np.array([0, 4_000_000_000], "<u4"), "its integers reach"),
        (np.array([0, 255], "<f4"), r"its floats reach from 0 to 255, and must be in 0\.\.1; scale them first"),
        (np.array([-0.1, 0.5], "<f4"), "its floats reach from -0.1 to 0.5"),
        (np.array([0, np.nan], "<f4"), "its floats reach from nan to nan"),
        (np.array([0, np.inf], "<f4"), "its floats reach from 0 to inf"),
        (np.array([-1, 5], "i1"), "some of its signed values of 8 bits are negative"),
        (np.array([0, 0.5], "<f8"), "a variant of TIFF that is not read; convert it to PNG"),
    ],
)
def test_values_beyond_the_range_are_refused_and_never_clipped(values, message):
    for options in ({}, {"bit_depth": 16}):
        with pytest.raises(DataError, match=message) as caught:
            decode_image(tiff(values[None]), channels=1, **options)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("type_", "white"), [("u1", 255), ("<u2", 65535), ("<f4", 1)])
def test_a_tiff_whose_smallest_value_is_white_is_inverted(type_, white):
    data = tiff(np.array([[0, white]], type_), black=0)
    assert decode_image(data, channels=1).flatten().tolist() == [255, 0]
    assert decode_image(data, channels=1, bit_depth=16).flatten().tolist() == [65535, 0]


@pytest.mark.parametrize("type_", [np.float32, np.float64, np.int32, np.int16, bool])
def test_pixels_of_other_types_are_not_encoded(type_):
    with pytest.raises(ValueError, match=r"`pixels` must be uint8 or uint16, got .*; scale them to the whole range"):
        encode_png(np.zeros((2, 2, 1), dtype=type_))


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(5, 12), (40, 18)])
def test_resizing_keeps_fine_differences_of_16_bits(size, resize):
    ramp = np.linspace(1000, 1400, 20 * 30).round().astype(np.uint16).reshape(20, 30, 1)  # 2 grey values at 8 bits
    pixels = decode_image(encode_png(ramp), channels=1, size=size, resize=resize, bit_depth=16)
    assert pixels.shape == (*size, 1)
    inside = pixels[pixels < 60_000]  # without a border
    assert 990 < inside.min() < 1100
    assert 1300 < inside.max() < 1410
    assert len(np.unique(inside)) > 20


def test_resizing_clips_what_swings_beyond_black_and_white():
    stripes = np.zeros((16, 16, 1), dtype=np.uint16)
    stripes[:, 8:] = 65535
    pixels = decode_image(encode_png(stripes), channels=1, size=(40, 40), bit_depth=16)[..., 0]
    assert (pixels[:, :10] < 6000).all()  # had it wrapped round, black would be white here
    assert (pixels[:, 30:] > 59_000).all()


def test_pad_is_white_at_16_bits():
    pixels = decode_image(encode_png(every_value(16)), channels=1, size=(16, 20), resize="pad", bit_depth=16)
    assert (pixels[:, [0, 1, 18, 19]] == 65535).all()
    assert (pixels[0, 2:18] < 65535).all()


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bits_are_grey_only(channels):
    data = encode(two_halves(4, 4))
    with pytest.raises(ValueError, match=f"`channels` must be 1 where `bit_depth` is 16, got {channels}; read 8 bits"):
        decode_image(data, channels=channels, bit_depth=16)
    with pytest.raises(ValueError, match=r"`pixels` must be \(H, W, 1\) where they are uint16"):
        encode_png(np.zeros((2, 2, channels), dtype=np.uint16))


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        *((1, [[1, 2, 3], [4, 5, 6]]), (2, [[3, 2, 1], [6, 5, 4]]), (3, [[6, 5, 4], [3, 2, 1]])),
        *((4, [[4, 5, 6], [1, 2, 3]]), (5, [[1, 4], [2, 5], [3, 6]]), (6, [[4, 1], [5, 2], [6, 3]])),
        *((7, [[6, 3], [5, 2], [4, 1]]), (8, [[3, 6], [2, 5], [1, 4]])),
    ],
)
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_exif_orientation_is_applied(orientation, upright, bit_depth):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.array([[1, 2, 3], [4, 5, 6]], dtype=PIXEL_TYPES[bit_depth])
    data = encode(Image.fromarray(pixels), exif=exif)
    assert decode_image(data, channels=1, bit_depth=bit_depth)[..., 0].tolist() == upright
    assert image_info(data) == (len(upright), len(upright[0]), True, bit_depth)


def test_damaged_exif_data_do_not_cost_the_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x011A] = 72.0  # x resolution, a fraction
    data = bytearray(encode(two_halves(16, 8), "JPEG", exif=exif))
    entry = data.index(b"\x01\x1a\x00\x05")
    data[entry + 3] = 2  # now it claims to be text
    assert image_info(bytes(data))[:2] == (16, 8) == decode_image(bytes(data), channels=3).shape[:2]


@pytest.mark.parametrize(
    ("mode", "grey", "bit_depth"),
    [*(("1", True, 8), ("L", True, 8), ("LA", True, 8), ("I;16", True, 16)), *(("RGB", False, 8), ("P", False, 8))],
)
def test_image_info_tells_grey_from_color_and_8_bits_from_16(mode, grey, bit_depth):
    assert image_info(encode(Image.new(mode, (3, 2)))) == (2, 3, grey, bit_depth)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_a_truncated_file_is_an_error(file_format):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), file_format)
    with pytest.raises(DataError, match="not a readable image"):
        decode_image(data[: len(data) // 2], channels=3)


def test_what_pil_takes_for_a_decompression_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(DataError, match="decompression bomb"):
        image_info(encode(Image.new("RGB", (10, 10))))


@pytest.mark.parametrize("data", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_image_is_an_error(data):
    for read in (image_info, lambda data: decode_image(data, channels=3)):
        with pytest.raises(DataError, match="not a readable image" + ": the format is unknown" * (data[:2] == b"no")):
            read(data)


@pytest.mark.parametrize("size", [(6, 15), (15, 6), (9, 9), (30, 60)])
def test_crop_cuts_only_what_the_wanted_shape_cannot_hold(size):
    height, width = size
    scale = max(height / 12, width / 12)
    kept = Image.new("RGB", (12, 12), RED)  # blue where the middle of the wanted shape lies
    top, left = round((12 - height / scale) / 2), round((12 - width / scale) / 2)
    kept.paste(BLUE, (left, top, 12 - left, 12 - top))
    pixels = decode_image(encode(kept), channels=3, size=size, resize="crop").astype(int)
    assert abs(pixels[1:-1, 1:-1] - BLUE).mean() < 8  # the edge of the blue part may lie between pixels


def test_pad_adds_transparent_borders_with_four_channels():
    alpha = decode_image(encode(two_halves(32, 16)), channels=4, size=(16, 16), resize="pad")[..., 3]
    assert (alpha[:4] == 0).all()
    assert (alpha[5:11] == 255).all()


@pytest.mark.parametrize("turned", [False, True])
def test_pad_puts_borders_where_the_shape_is_longer(turned):
    image, size = (two_halves(16, 16), (8, 20)) if not turned else (two_halves(16, 16).rotate(-90), (20, 8))
    pixels = decode_image(encode(image), channels=3, size=size, resize="pad")
    assert pixels.shape == (*size, 3)
    pixels = pixels.swapaxes(0, 1) if turned else pixels
    assert (pixels[:, :6] == 255).all()
    assert (pixels[:, 14:] == 255).all()
    assert (pixels[:, 6] == RED).all()
    assert (pixels[:, 13] == BLUE).all()


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(12, 30), (30, 12), (24, 31), (31, 24)])
def test_the_middle_stays_in_the_middle(size, resize):
    image = Image.new("RGB", (27, 18), RED)
    image.paste(BLUE, (9, 6, 18, 12))
    pixels = decode_image(encode(image), channels=3, size=size, resize=resize)
    middle = pixels[(size[0] - 1) // 2 : size[0] // 2 + 1, (size[1] - 1) // 2 : size[1] // 2 + 1].astype(int)
    assert abs(middle - BLUE).max() < 32  # a Lanczos filter swings beyond edges
    blue_rows, blue_columns = np.nonzero(pixels[..., 2] > pixels[..., 0])
    blue = [(blue_rows.min() + blue_rows.max()) / 2, (blue_columns.min() + blue_columns.max()) / 2]
    assert blue == pytest.approx([(size[0] - 1) / 2, (size[1] - 1) / 2], abs=0.5)


def test_stretch_keeps_everything_without_borders():
    pixels = decode_image(encode(two_halves(32, 8)), channels=3, size=(8, 8), resize="stretch")
    assert (pixels[:, 0] == RED).all()
    assert (pixels[:, 7] == BLUE).all()


@given(
    st.tuples(SIDES, SIDES),
    st.tuples(SIDES, SIDES),
    st.sampled_from([1, 3, 4]),
    st.sampled_from(["crop", "pad", "stretch"]),
)
@settings(max_examples=30, deadline=None)
def test_every_shape_becomes_the_wanted_one(sides, size, channels, resize):
    pixels = decode_image(encode(Image.new("RGB", sides, RED)), channels=channels, size=size, resize=resize)
    assert pixels.shape == (*size, channels)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("sides", [(200, 1), (1, 200)])
def test_padding_keeps_a_line_visible(sides):
    pixels = decode_image(encode(Image.new("RGB", sides, RED)), channels=3, size=(8, 8), resize="pad")
    assert (pixels == RED).all(2).sum() == 8


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize(("size", "channels"), [((8, 8), 3), ((5, 11), 1), ((5, 11), 4)])
def test_an_image_of_the_wanted_size_is_not_touched(size, resize, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, channels), dtype=np.uint8)
    assert np.array_equal(decode_image(encode_png(pixels), channels=channels, size=size, resize=resize), pixels)
