"""Dropout as the literature has it, whose masks are drawn in another way."""

import pytest
import torch

from vqvae2.nn.dropout import Dropout, random_mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.9])
def test_values_are_dropped_at_the_rate_and_others_scaled(rate, dtype):
    torch.manual_seed(0)
    features = torch.ones(50, 3, 1001, dtype=dtype, requires_grad=True)
    dropped = Dropout(rate)(features)
    kept = dropped != 0
    assert kept.float().mean().item() == pytest.approx(1 - rate, abs=0.006)
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 1 / (1 - rate)))
    dropped.sum().backward()
    assert torch.equal(features.grad, dropped)


@pytest.mark.parametrize("dropout", [Dropout(0.0), Dropout(0.5).eval()])
def test_nothing_is_dropped_at_rate_0_or_in_evaluation(dropout):
    features = torch.randn(4, 4)
    assert dropout(features) is features


def test_neighbours_and_calls_are_independent_and_the_seed_decides():
    torch.manual_seed(0)
    first, second = (random_mask((4, 50_001), 0.5, torch.device("cpu")) for _ in range(2))
    for one, other in ((first, second), (first[:, 1:], first[:, :-1]), (first[1:], first[:-1])):
        assert (one == other).float().mean().item() == pytest.approx(0.5, abs=0.01)
    torch.manual_seed(0)
    assert torch.equal(random_mask((4, 50_001), 0.5, torch.device("cpu")), first)


@pytest.mark.parametrize(("rate", "share"), [(0.0, 1.0), (1 - 1e-9, 0.0)])
def test_the_ends_of_the_range(rate, share):
    assert random_mask((1000,), rate, torch.device("cpu")).float().mean().item() == pytest.approx(share, abs=0.01)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler, about torch
def test_a_traced_mask_is_the_same():
    dropout, features = Dropout(0.3), torch.randn(4, 9, 5)
    torch.manual_seed(0)
    expected = dropout(features)
    torch.manual_seed(0)
    assert torch.equal(torch.compile(dropout, backend="aot_eager")(features), expected)
