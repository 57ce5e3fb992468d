"""Errors and structural similarity equal their formulas, and come out the same however images arrive."""

import math

import numpy as np
import pytest
import torch

from vqvae2.errors import DataError
from vqvae2.images import from_pixels
from vqvae2.metrics.distortion import ReconstructionError, StructuralSimilarity


def similarity(reconstruction, original):
    measured = StructuralSimilarity()
    measured.update(reconstruction, original)
    return measured.ssim


def ssim_by_hand(a, b):
    """SSIM of two grey images of pixels 0..255, window by window."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights = np.outer(weights, weights) / weights.sum() ** 2
    a, b = (np.pad(image.astype(np.float64), 5, mode="reflect") for image in (a, b))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mean_p, mean_q = (weights * p).sum(), (weights * q).sum()
            covariance = (weights * (p - mean_p) * (q - mean_q)).sum()
            variances = (weights * (p - mean_p) ** 2).sum() + (weights * (q - mean_q) ** 2).sum()
            luminance = (2 * mean_p * mean_q + c1) / (mean_p**2 + mean_q**2 + c1)
            values.append(luminance * (2 * covariance + c2) / (variances + c2))
    return np.mean(values)


def test_similarity_is_that_of_the_formula_on_pixels():
    a, b = torch.randint(0, 256, (2, 1, 13, 17, 1), dtype=torch.uint8)
    b = (a.int() + b.int() // 4).clamp(max=255).to(torch.uint8)
    expected = ssim_by_hand(a[0, :, :, 0].numpy(), b[0, :, :, 0].numpy())
    assert 0.1 < expected < 0.99
    assert similarity(from_pixels(b), from_pixels(a)) == pytest.approx(expected, abs=1e-5)  # theirs is in float32


def test_similarity_over_batches_is_the_mean_over_images_and_channels():
    images, reconstructions = torch.rand(3, 2, 11, 12) * 2 - 1, torch.rand(3, 2, 11, 12) * 2 - 1
    measured = StructuralSimilarity()
    measured.update(reconstructions[:2], images[:2])
    measured.update(reconstructions[2:], images[2:])
    single = [
        similarity(reconstructions[i : i + 1, c : c + 1], images[i : i + 1, c : c + 1])
        for i in range(3)
        for c in range(2)
    ]
    assert measured.ssim == pytest.approx(np.mean(single), abs=1e-6)


def test_values_outside_the_range_are_clamped_and_equal_images_are_as_near_as_can_be():
    images = torch.where(torch.rand(2, 3, 16, 16) > 0.5, 1.0, -1.0)
    assert similarity(images * 5, images) == pytest.approx(1.0, abs=1e-6)
    error = ReconstructionError()
    error.update(images * 5, images)
    assert (error.mse, error.psnr_db) == (0.0, math.inf)


def test_images_smaller_than_the_window_are_refused():
    images = torch.zeros(1, 3, 10, 40)
    with pytest.raises(DataError, match=r"at least 11x11 pixels, the size of its window, got 10x40; give larger"):
        similarity(images, images)


def test_error_over_batches_is_the_error_of_all_images():
    images, reconstructions = torch.rand(5, 3, 4, 4) * 2 - 1, torch.rand(5, 3, 4, 4) * 2 - 1
    error = ReconstructionError()
    error.update(reconstructions[:2], images[:2])
    error.update(reconstructions[2:], images[2:])
    expected = (reconstructions - images).double().square().mean().item()
    assert error.mse == pytest.approx(expected, rel=1e-6)
    assert error.psnr_db == pytest.approx(10 * math.log10(4 / expected), rel=1e-6)
