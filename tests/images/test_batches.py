"""Laws of tensors of images: value ranges, channels, padding, shifts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from vqvae2.images import PIXEL_TYPES, crop_to, from_pixels, pad_to_multiple, shift, to_8_bits, to_pixels, to_rgb


def every_value(bit_depth: int) -> np.ndarray:
    """All values of a bit depth as one square image `(H, W, 1)`."""
    side = 2 ** (bit_depth // 2)
    return np.arange(side**2, dtype=PIXEL_TYPES[bit_depth]).reshape(side, side, 1)


@pytest.mark.parametrize("bit_depth", [8, 16])
def test_every_value_survives_the_round_trip_through_the_networks_range(bit_depth):
    pixels = every_value(bit_depth)
    images = from_pixels(torch.from_numpy(pixels[None]))
    assert (images.dtype, images.min(), images.max()) == (torch.float32, -1.0, 1.0)
    assert np.array_equal(to_pixels(images, bit_depth=bit_depth)[0].numpy(), pixels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_every_value_survives_pinned_memory_and_a_gpu(bit_depth):
    pixels = torch.from_numpy(every_value(bit_depth)[None]).pin_memory().to("cuda", non_blocking=True)
    again = to_pixels(from_pixels(pixels), bit_depth=bit_depth)
    assert again.device.type == "cuda"
    assert np.array_equal(again[0].cpu().numpy(), every_value(bit_depth))


def test_pixels_keep_their_place_at_16_bits():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 65536, (2, 3, 5, 1), dtype=np.uint16))
    images = from_pixels(pixels)
    assert images.shape == (2, 1, 3, 5)
    for layout in (torch.contiguous_format, torch.channels_last):
        again = to_pixels(images.contiguous(memory_format=layout), bit_depth=16)
        assert again.is_contiguous()
        assert np.array_equal(again.numpy(), pixels.numpy())


def test_from_pixels_gives_channels_last_and_leaves_its_argument_alone():
    pixels = torch.tensor([0, 255], dtype=torch.uint8).repeat(3).reshape(1, 1, 2, 3)
    images = from_pixels(pixels)
    assert (images.shape, images.dtype) == ((1, 3, 1, 2), torch.float32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert pixels.flatten().tolist() == [0, 255] * 3
    with pytest.raises(ValueError, match=r"`pixels` must be uint8 or uint16, got torch\.float32"):
        from_pixels(torch.zeros(1, 2, 2, 1))


@pytest.mark.parametrize(("bit_depth", "middle", "white"), [(8, 128, 255), (16, 32768, 65535)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_to_pixels_clamps_any_float(dtype, bit_depth, middle, white):
    images = torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0], dtype=dtype).reshape(1, 1, 1, 5)
    assert to_pixels(images, bit_depth=bit_depth).flatten().tolist() == [0, 0, middle, white, white]


def test_8_bits_are_the_nearest_of_16():
    values = every_value(16)
    assert np.array_equal(to_8_bits(values), np.rint(values / 257.0))
    assert to_8_bits(every_value(8)).tolist() == every_value(8).tolist()
    assert np.array_equal(to_8_bits(every_value(8).astype(np.uint16) * 257), every_value(8))


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 2, 4, 8, 16]))
@settings(max_examples=15, deadline=None)
def test_cropping_undoes_padding(height, width, multiple):
    images = torch.randn(2, 3, height, width)
    padded = pad_to_multiple(images, multiple)
    assert padded.shape[-2] % multiple == padded.shape[-1] % multiple == 0
    assert padded.shape[-2] - height < multiple
    assert padded.shape[-1] - width < multiple
    assert torch.equal(crop_to(padded, height, width), images)


def test_padding_repeats_the_edge():
    padded = pad_to_multiple(torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2), 3)
    assert padded[0, 0].tolist() == [[1.0, 2.0, 2.0], [3.0, 4.0, 4.0], [3.0, 4.0, 4.0]]


def test_grey_is_repeated_colours_stay_and_transparency_is_laid_over_white():
    images = torch.rand(2, 3, 4, 5) * 2 - 1
    assert torch.equal(to_rgb(images), images)
    assert torch.equal(to_rgb(images[:, :1]), images[:, :1].repeat(1, 3, 1, 1))
    colour = torch.tensor([0.5, -1.0, 0.0]).view(1, 3, 1, 1)
    for alpha, opacity in ((-1.0, 0.0), (0.0, 0.5), (1.0, 1.0)):
        images = torch.cat((colour, torch.full((1, 1, 1, 1), alpha)), dim=1)
        torch.testing.assert_close(to_rgb(images), opacity * colour + (1 - opacity))
    with pytest.raises(ValueError, match=r"`images` must be .* with 1, 3 or 4 channels, got \(1, 2, 3, 3\)"):
        to_rgb(torch.zeros(1, 2, 3, 3))


def test_a_shifted_image_is_a_crop_of_the_image_with_its_border_repeated():
    images = torch.rand(64, 2, 8, 12)
    shifted = shift(images, 0.25, torch.rand(64, 2))
    assert shifted.shape == images.shape
    padded = functional.pad(images, (3, 3, 2, 2), mode="replicate")
    offsets = set()
    for number in range(64):
        matches = [
            (row, column)
            for row in range(5)
            for column in range(7)
            if torch.equal(padded[number, :, row : row + 8, column : column + 12], shifted[number])
        ]
        assert len(matches) == 1
        offsets |= set(matches)
    assert {row for row, _ in offsets} == set(range(5))
    assert {column for _, column in offsets} == set(range(7))


def test_the_same_chances_shift_alike_and_gradients_find_their_way_back():
    images, chances = torch.rand(8, 1, 6, 9, requires_grad=True), torch.rand(8, 2)
    shifted = shift(images, 0.5, chances)
    assert torch.equal(shift(torch.cat((2 * images, images), dim=1), 0.5, chances)[:, 1:], shifted)
    weights = torch.rand_like(shifted)
    (shifted * weights).sum().backward()
    numbers = shift(torch.arange(54.0).view(1, 1, 6, 9).expand(8, 1, 6, 9), 0.5, chances).long().flatten(1)
    expected = torch.zeros(8, 54).scatter_add(1, numbers, weights.flatten(1))  # each place gives back what came from it
    torch.testing.assert_close(images.grad.flatten(1), expected)
    assert torch.equal(shift(images, 0.0, chances), images)
