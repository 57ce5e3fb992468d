"""Many images laid out as one picture, and cut apart again."""

from __future__ import annotations

import numpy as np

from vqvae2.errors import DataError

__all__ = ["cut_grid", "image_grid"]


def image_grid(pixels: np.ndarray, *, columns: int, gap_pixels: int = 2) -> np.ndarray:
    """Lay images `(N, H, W, C)` of unsigned integers out row by row on white, as one image `(H', W', C)`."""
    count, height, width, channels = pixels.shape
    rows = -(-count // columns)
    shape = (rows * (height + gap_pixels) + gap_pixels, columns * (width + gap_pixels) + gap_pixels, channels)
    canvas = np.full(shape, np.iinfo(pixels.dtype).max, dtype=pixels.dtype)
    for index in range(count):
        top = gap_pixels + index // columns * (height + gap_pixels)
        left = gap_pixels + index % columns * (width + gap_pixels)
        canvas[top : top + height, left : left + width] = pixels[index]
    return canvas


def cut_grid(picture: np.ndarray, size: tuple[int, int], *, gap_pixels: int = 2) -> np.ndarray:
    """Undo `image_grid`: cut a picture into images of `size` pixels, `(rows, columns, H, W, C)`.

    Places that were left empty come out white.

    Raises:
        DataError: If the picture is no grid of images of that size.
    """
    pitches = [side + gap_pixels for side in size]
    inner = picture[gap_pixels:, gap_pixels:]
    (rows, rest_height), (columns, rest_width) = map(divmod, inner.shape[:2], pitches)
    if rest_height or rest_width or not rows or not columns:
        raise DataError(
            f"`picture` must be a grid of images of {size[0]}x{size[1]} pixels with gaps of {gap_pixels}, "
            f"got one of {picture.shape[0]}x{picture.shape[1]}; give the size that it was made of"
        )
    cells = inner.reshape(rows, pitches[0], columns, pitches[1], -1).swapaxes(1, 2)
    return cells[:, :, : size[0], : size[1]]
