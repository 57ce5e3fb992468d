import math

import pytest
import torch

from vqvae2.metrics.codebook_usage import CodebookUsage
from vqvae2.metrics.reconstruction import ReconstructionError


def test_usage_and_perplexity_of_known_counts():
    usage = CodebookUsage(8)
    usage.update(torch.tensor([[0, 1], [2, 3]]))
    assert usage.usage == 0.5
    assert usage.perplexity == pytest.approx(4.0)


def test_dead_codes_are_those_never_seen():
    usage = CodebookUsage(8)
    usage.update(torch.tensor([0, 3, 3]))
    assert usage.dead_codes == 6
    assert usage.to_dict() == {"usage": 0.25, "perplexity": usage.perplexity, "dead_codes": 6}


def test_usage_counts_over_batches():
    usage = CodebookUsage(4)
    usage.update(torch.tensor([0, 0, 0]))
    usage.update(torch.tensor([1]))
    assert usage.counts.tolist() == [3, 1, 0, 0]
    assert usage.perplexity == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))


def test_error_over_batches_is_the_error_of_all_images():
    images, reconstructions = torch.rand(5, 3, 4, 4) * 2 - 1, torch.rand(5, 3, 4, 4) * 2 - 1
    error = ReconstructionError()
    error.update(reconstructions[:2], images[:2])
    error.update(reconstructions[2:], images[2:])
    expected = (reconstructions - images).double().square().mean().item()
    assert error.mse == pytest.approx(expected, rel=1e-6)
    assert error.psnr_db == pytest.approx(10 * math.log10(4 / expected), rel=1e-6)


def test_values_outside_the_range_are_clamped_and_equal_images_are_infinitely_near():
    error = ReconstructionError()
    error.update(torch.full((1, 1, 2, 2), 3.0), torch.ones(1, 1, 2, 2))
    assert error.mse == 0.0
    assert error.psnr_db == math.inf
