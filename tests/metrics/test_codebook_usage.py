"""The use of a codebook equals what a hand counts."""

import math

import pytest
import torch

from vqvae2.metrics.codebook_usage import CodebookUsage


@pytest.mark.parametrize(
    ("size", "batches", "usage", "perplexity"),
    [
        (8, [[[0, 1], [2, 3]]], 0.5, 4.0),
        (4, [[0, 0, 0], [1]], 0.5, math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))),
        (8, [[], [0, 3, 3]], 0.25, math.exp(-(math.log(1 / 3) + 2 * math.log(2 / 3)) / 3)),
    ],
)
def test_codes_are_counted_over_batches(size, batches, usage, perplexity):
    counted = CodebookUsage(size)
    for batch in batches:
        counted.update(torch.tensor(batch, dtype=torch.int64))
    used = int(usage * size)
    assert counted.to_dict() == {
        "usage": usage, "perplexity": pytest.approx(perplexity), "dead_codes": size - used
    }  # fmt: skip
