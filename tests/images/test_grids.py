"""Laws of images laid out as one picture."""

import numpy as np
import pytest

from vqvae2.errors import DataError
from vqvae2.images import cut_grid, image_grid


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_grid_fills_rows_first_with_gaps_around(channels):
    pixels = np.stack([np.full((2, 3, channels), value, dtype=np.uint8) for value in range(5)])
    grid = image_grid(pixels, columns=2, gap_pixels=1)
    assert grid.shape == (3 * 2 + 4, 2 * 3 + 3, channels)
    assert (grid[[0, 3, 6, 9]] == 255).all()
    assert (grid[:, [0, 4, 8]] == 255).all()
    assert [int(grid[1 + 3 * (n // 2), 1 + 4 * (n % 2), 0]) for n in range(5)] == list(range(5))
    assert (grid[7:9, 5:8] == 255).all()  # the sixth place stays empty


@pytest.mark.parametrize("shape", [(6, 2, 3, 1), (5, 4, 4, 3), (1, 3, 1, 4)])
@pytest.mark.parametrize(("gap_pixels", "dtype"), [(0, np.uint8), (2, np.uint8), (1, np.uint16)])
def test_cutting_undoes_a_grid(shape, gap_pixels, dtype):
    pixels = np.random.default_rng(0).integers(0, 255, shape, dtype=dtype)
    cells = cut_grid(image_grid(pixels, columns=3, gap_pixels=gap_pixels), shape[1:3], gap_pixels=gap_pixels)
    assert cells.shape == (-(-shape[0] // 3), 3, *shape[1:])
    flat = cells.reshape(-1, *shape[1:])
    assert np.array_equal(flat[: shape[0]], pixels)
    assert (flat[shape[0] :] == np.iinfo(dtype).max).all()
    assert flat.dtype == dtype


@pytest.mark.parametrize("size", [(5, 4), (4, 5), (40, 4)])
def test_what_is_no_grid_of_that_size_is_refused(size):
    grid = image_grid(np.zeros((6, 4, 4, 1), dtype=np.uint8), columns=3)
    with pytest.raises(DataError, match=f"images of {size[0]}x{size[1]} pixels.*got one of 14x20; give the size"):
        cut_grid(grid, size)
