"""Images inside the page: PNG as data, enlarged by whole factors so that pixels stay crisp.

Shapes: N images, C channels, H W pixels, h w code grid of one level. Pixels are uint8 or uint16.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vqvae2.errors import DataError
from vqvae2.images import cut_grid, decode_image, encode_png, image_info, to_8_bits
from vqvae2.metrics.results import Strips
from vqvae2.report.text import escape

__all__ = [
    "code_colors",
    "code_picture",
    "columns_that_fit",
    "grid_strips",
    "image_tag",
    "read_grid",
    "shrink",
    "shrink_factor",
    "shrunk_note",
    "strips",
]

# Small images are enlarged to about this many CSS pixels, so that details can be seen; where a phone shows
# many at once, to these ...
_COMFORTABLE_PIXELS = 96
_NARROW_PIXELS = 64
# ... and a strip of them fits the text column of a wide window without scrolling.
_STRIP_PIXELS = 1056
_GAP_PIXELS = 4
_MOST_COLUMNS = 12
# Larger images from a grid are shown smaller, to keep the page at some megabytes.
_LARGEST_CUT_PIXELS = 128


def image_tag(pixels: np.ndarray, *, alt: str) -> str:
    """Put pixels `(H, W, C)` with C = 1, 3 or 4 into an `<img>` that carries its own data, in 8 bits."""
    data = base64.b64encode(encode_png(np.ascontiguousarray(to_8_bits(pixels)))).decode("ascii")
    height, width = pixels.shape[:2]
    factor = _enlargement(width, height, _COMFORTABLE_PIXELS)
    narrow = f"--narrow: {width * _enlargement(width, height, _NARROW_PIXELS)}px"
    return (
        f'<img alt="{escape(alt)}" title="{escape(alt)}" width="{width * factor}" height="{height * factor}" '
        f'style="{narrow}" src="data:image/png;base64,{data}">'
    )


def columns_that_fit(images: np.ndarray) -> int:
    """Give how many images of `(N, H, W, C)` fit side by side, at least 3 and at most 12 or N."""
    height, width = images.shape[1:3]
    wide: int = width * _enlargement(width, height, _COMFORTABLE_PIXELS) + _GAP_PIXELS
    return min(len(images), _MOST_COLUMNS, max(3, _STRIP_PIXELS // wide))


def shrink_factor(height: int, width: int, *, largest: int) -> int:
    """Give the whole number by which to divide the sides of an image, in pixels, for neither to exceed `largest`.

    An image keeps at least one pixel each way, so the longer side of a very narrow one may stay above that.
    """
    return min(-(-max(height, width) // largest), height, width)


def shrink(images: np.ndarray, *, largest: int) -> np.ndarray:
    """Average whole blocks of pixels of `(N, H, W, C)`, keeping their type; see `shrink_factor` for their side."""
    count, height, width, channels = images.shape
    factor = shrink_factor(height, width, largest=largest)
    if factor <= 1:
        return images
    blocks = images[:, : height // factor * factor, : width // factor * factor]
    blocks = blocks.reshape(count, height // factor, factor, width // factor, factor, channels)
    means: np.ndarray = blocks.mean(axis=(2, 4)).round().astype(images.dtype)
    return means


def shrunk_note(images: np.ndarray, largest: int) -> str:
    """Say by how much `shrink` makes images `(N, H, W, C)` smaller, as a sentence; nothing if it does not."""
    factor = shrink_factor(*images.shape[1:3], largest=largest)
    return f" Shown at 1/{factor} of their size." if factor > 1 and len(images) else ""


def strips(rows: Sequence[tuple[str, str, np.ndarray]]) -> str:
    """Stack rows of images that scroll together: each row is a label, a note and pixels `(N, H, W, C)`."""
    parts = []
    for label, note, images in rows:
        tags = "".join(image_tag(pixels, alt=f"image {index}, {label}") for index, pixels in enumerate(images, start=1))
        heading = f"<span><b>{escape(label)}</b> <small>{escape(note)}</small></span>"
        parts.append(f'<div class="strip"><div class="label">{heading}</div><div class="images">{tags}</div></div>')
    return f'<div class="scroll strips" tabindex="0">{"".join(parts)}</div>'


def read_grid(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Cut a picture, a grid of images of that height and width, into images `(rows, columns, H, W, C)`.

    If there is no such file, or it is no such grid, there are none.
    """
    try:
        data = path.read_bytes()
        info = image_info(data)
        channels = 1 if info.is_grey else 3
        return cut_grid(decode_image(data, channels=channels, bit_depth=info.bit_depth), size)
    except (OSError, DataError):
        return np.zeros((0, 0, *size, 1), dtype=np.uint8)


def grid_strips(
    directory: Path, strips_of: Strips, size: tuple[int, int], *, largest: int = _LARGEST_CUT_PIXELS
) -> str:
    """Show rows of a picture in a folder, as many columns as fit; nothing if it has no such picture or rows.

    `size` is the height and width of the images in pixels, `largest` the longest side at which they are shown.
    """
    first, count = strips_of.first_row, len(strips_of.rows)
    if strips_of.file != Path(strips_of.file).name:  # it leads out of the folder
        return ""
    rows = read_grid(directory / strips_of.file, size)[first : first + count]
    if len(rows) != count or not count:
        return ""
    shown = [shrink(row, largest=largest) for row in rows]
    columns = columns_that_fit(shown[0])
    caption = shrunk_note(rows[0], largest)
    html = strips([(*label, row[:columns]) for label, row in zip(strips_of.rows, shown, strict=True)])
    return html + (f'<p class="note">{caption.strip()}</p>' if caption else "")


def code_colors(codes: np.ndarray) -> np.ndarray:
    """Give codes of any shape a colour each, uint8 RGB `(..., 3)`, the same in every picture and report.

    The index is hashed to a point of a low-discrepancy sequence over lightness, chroma and hue (Roberts 2018,
    "The unreasonable effectiveness of quasirandom sequences"), so neighbouring indices get unlike colours, and
    equal distances look alike, since the three are those of the OKLab space (Ottosson 2020).
    """
    plastic = 1.2207440846057596  # root of x^4 = x + 1, the ratio of the sequence in three dimensions
    steps = plastic ** -np.arange(1.0, 4.0)
    spread = (0.5 + (codes.astype(np.int64)[..., None] + 1) * steps) % 1.0
    hue = 2.0 * np.pi * spread[..., 0]
    lightness, chroma = 0.42 + 0.46 * spread[..., 1], 0.04 + 0.09 * spread[..., 2]
    return _oklab_to_rgb(np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1))


def code_picture(codes: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Paint code maps, integers `(N, h, w)`, over the pixels that they stand for, uint8 `(N, H, W, 3)`."""
    # A code covers a power of two of pixels, and the grid may cover more than the image, whose sides are padded.
    down, right = (
        1 << (-(-pixels // max(grid, 1)) - 1).bit_length()
        for pixels, grid in ((height, codes.shape[1]), (width, codes.shape[2]))
    )
    colors = code_colors(codes).repeat(down, axis=1).repeat(right, axis=2)
    return colors[:, :height, :width]


def _oklab_to_rgb(lab: np.ndarray) -> np.ndarray:
    to_cones = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
    )
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip((lab @ to_cones.T) ** 3 @ to_linear.T, 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    rgb: np.ndarray = (255.0 * encoded).round().astype(np.uint8)
    return rgb


def _enlargement(width: int, height: int, wanted: int) -> int:
    return max(1, int(wanted / max(width, height) + 0.5))
