"""Whatever is given as an image, it gives pixels of the wanted shape or a `DataError`, and takes bounded memory."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from vqvae2.config import MAX_DECODED_PIXELS
from vqvae2.errors import DataError
from vqvae2.images import decode_image, image_info
from vqvae2.images.png_texts import without_long_texts

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),  # PIL tells what is wrong with EXIF data and TIFF tags
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),  # what it warns of, we refuse
]

FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]


def encode(image, file_format="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def picture(mode="RGB", size=(24, 18)):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *, depth=8, colour=0, before=b"", rows=1) -> bytes:
    """A PNG that claims a size, of which a few rows are there."""
    channels = {0: 1, 2: 3, 6: 4}[colour]
    row = bytes(1 + (min(width, 2**17) * channels * depth + 7) // 8)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(row * rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def read_or_refuse(data: bytes) -> bool:
    outcomes = []
    for read in (image_info, decode_small):
        try:
            outcomes.append(read(data))
        except DataError as error:
            outcomes.append(error)
    return not isinstance(outcomes[1], DataError)


def decode_small(data: bytes):
    pixels = decode_image(data, channels=3, size=(4, 5))
    assert (pixels.shape, pixels.dtype) == ((4, 5, 3), np.uint8)
    return pixels


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_changed_bytes_give_pixels_or_an_error(file_format, mode, mutator):
    if mode == "P" and file_format in ("JPEG", "WEBP"):
        mode = "L" if file_format == "JPEG" else "RGBA"
    data = encode(picture(mode), file_format)
    assert read_or_refuse(data)
    for _ in range(60):
        read_or_refuse(mutator.change_bytes(data))


def test_foreign_files_are_refused(foreign_files):
    for data in foreign_files:
        assert not read_or_refuse(data)


@pytest.mark.parametrize("side", [2**15, 2**16 - 1, 2**30, 2**31 - 1])
@pytest.mark.parametrize("kind", ["png", "gif", "bmp", "tiff", "jpeg", "webp", "webp-lossy", "webp-lossless"])
def test_an_image_that_claims_too_many_pixels_is_refused_before_it_is_decoded(kind, side, peak):
    data = claiming(kind, side)
    with peak() as grown:
        for read in (image_info, decode_small):
            with pytest.raises(DataError, match="not a readable image"):
                read(data)
    assert grown.mib < 16


def claiming(kind: str, side: int) -> bytes:
    """A file that claims a square of so many pixels, or as many as its format can say."""
    few = min(side, 2**16 - 1)
    if kind == "png":
        return png(side, side)
    if kind == "tiff":
        data = encode(picture(), "TIFF")
        for old, tag in ((24, 256), (18, 257)):  # width and length
            data = data.replace(struct.pack("<HHII", tag, 4, 1, old), struct.pack("<HHII", tag, 4, 1, side))
        return data
    if kind == "webp":
        canvas = (min(side, 2**24 - 1) - 1).to_bytes(3, "little") * 2
        return b"RIFF\x30\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + canvas + encode(picture(), "WEBP")[12:]
    jpeg = encode(picture(), "JPEG")
    data, place, claim = {
        "gif": (encode(picture("P"), "GIF"), 6, struct.pack("<HH", few, few)),
        "bmp": (encode(picture(), "BMP"), 18, struct.pack("<ii", side, side)),
        "jpeg": (jpeg, jpeg.index(b"\xff\xc0") + 5, struct.pack(">HH", few, few)),
        "webp-lossy": (encode(picture(), "WEBP"), 26, b"\xff\x3f\xff\x3f"),
        "webp-lossless": (encode(picture(), "WEBP", lossless=True), 21, b"\xff\xff\xff\x0f"),
    }[kind]
    return data[:place] + claim + data[place + len(claim) :]


def test_the_most_pixels_are_decoded_in_bounded_memory_and_no_more(peak):
    width, height = 9459, 9459
    assert MAX_DECODED_PIXELS - 20_000 < width * height <= MAX_DECODED_PIXELS
    data = png(width, height, depth=1, rows=height)
    with peak() as grown:
        decode_small(data)
    assert grown.mib < 20 * MAX_DECODED_PIXELS / 2**20
    with pytest.raises(DataError, match=r"it claims 9460x9459 pixels, .* at most 89478485 are decoded"):
        decode_small(png(9460, 9459, depth=1))


def test_tiles_count_as_they_are_decoded(peak):
    packed = zlib.compress(bytes(64 * 64))
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 60_000, 323: 60_000, 324: 8, 325: len(packed)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + struct.pack("<H", len(tags)) + entries + bytes(4)
    with peak() as grown, pytest.raises(DataError, match=r"it claims 60000x60000 pixels"):
        decode_small(data)
    assert grown.mib < 16


def test_only_the_first_frame_is_decoded(peak):
    frames = [Image.new("P", (1000, 1000), color) for color in range(1, 21)]
    data = encode(Image.new("P", (1000, 1000)), "GIF", save_all=True, append_images=frames)
    with peak() as grown:
        decode_small(data)
    assert grown.mib < 20  # a pixel of one frame, not of 21


@pytest.mark.parametrize(
    ("kind", "size", "count", "most_bytes"),
    [
        *((kind, 2**26, 1, 2**25) for kind in (b"zTXt", b"iCCP", b"iTXt")),
        (b"zTXt", PngImagePlugin.MAX_TEXT_CHUNK - 1, 500, 2 * PngImagePlugin.MAX_TEXT_MEMORY),
    ],
)
def test_packed_texts_unfold_to_little(kind, size, count, most_bytes, peak):
    packed = chunk(kind, (b"a\0\x01\0\0\0" if kind == b"iTXt" else b"a\0\0") + zlib.compress(bytes(size), 9))
    with peak() as grown:
        assert read_or_refuse(png(8, 8, rows=8, before=packed * count))
    assert grown.mib < most_bytes / 2**20


def test_long_texts_do_not_cost_the_image_nor_what_short_ones_say():
    exif = Image.Exif()
    exif[0x0112] = 6
    text = PngImagePlugin.PngInfo()
    text.add_text("long", "x" * 2**22, zip=True)
    text.add_itxt("longer", "y" * 2**23, zip=True)
    text.add_text("plain", "z" * 2**27)
    text.add_itxt("also plain", "z" * 2**22)
    text.add_text("short", "words", zip=True)
    image = picture(size=(6, 4))
    data = encode(image, pnginfo=text, exif=exif, icc_profile=bytes(2**22))
    assert image_info(data)[:2] == (6, 4)
    assert np.array_equal(decode_image(data, channels=3), np.rot90(np.asarray(image), -1))
    assert without_long_texts(encode(image, exif=exif)) == encode(image, exif=exif)
    kept = Image.open(io.BytesIO(without_long_texts(data)))
    kept.load()
    assert set(kept.text) == {"also plain", "short"}


def test_long_profiles_and_exif_take_no_more_than_they_are(peak):
    exif = Image.Exif()
    exif[270] = "x" * 60_000
    data = encode(picture(), "JPEG", icc_profile=bytes(10 * 2**20), exif=exif)
    with peak() as grown:
        assert read_or_refuse(data)
    assert grown.mib < 16 + 8 * len(data) / 2**20


def test_changed_profiles_give_pixels(mutator, peak):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with peak() as grown:
        for _ in range(150):
            assert read_or_refuse(encode(picture(size=(6, 4)), icc_profile=mutator.change_bytes(profile)))
    assert grown.mib < 16


@pytest.mark.parametrize("file_format", ["PPM", "TGA", "ICO", "PCX", "EPS", "PDF", "SGI"])
def test_other_formats_are_not_tried(file_format):
    data = encode(picture(), file_format)
    for read in (image_info, decode_small):
        with pytest.raises(DataError, match="not a readable image: the format is unknown"):
            read(data)
