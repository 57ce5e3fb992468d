"""The use of a codebook equals what a hand counts."""

import math

import pytest
import torch

from vqvae2.metrics.codebook_usage import CodebookUsage


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
