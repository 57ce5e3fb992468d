"""Laws of the moving-average quantizer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqvae2.nn.quantizer import EMAQuantizer


def features_of(vectors: torch.Tensor) -> torch.Tensor:
    """Lay `(N, D)` vectors out as a `(1, D, 1, N)` grid."""
    return vectors.t()[None, :, None]


@given(st.integers(2, 40), st.integers(1, 9), st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_nearest_equals_brute_force(num_embeddings, dim, count):
    quantizer = EMAQuantizer(num_embeddings, dim).double()
    vectors = torch.randn(count, dim, dtype=torch.float64)
    brute_force = (vectors[:, None] - quantizer.codebook[None]).square().sum(-1).argmin(1)
    assert torch.equal(quantizer.nearest(vectors), brute_force)


def test_update_equals_the_closed_form():
    quantizer = EMAQuantizer(3, 2, decay=0.9, revival_threshold=0.0)
    codebook = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    quantizer.codebook.copy_(codebook)
    quantizer.average_sum.copy_(codebook)
    quantizer(features_of(torch.tensor([[1.0, 0.0], [2.0, 0.0], [9.0, 1.0]])))
    quantizer.update()

    counts = 0.9 * torch.ones(3) + 0.1 * torch.tensor([2.0, 1.0, 0.0])
    sums = 0.9 * codebook + 0.1 * torch.tensor([[3.0, 0.0], [9.0, 1.0], [0.0, 0.0]])
    total = counts.sum()
    smoothed = (counts + 1e-5) / (total + 3e-5) * total
    torch.testing.assert_close(quantizer.average_count, counts)
    torch.testing.assert_close(quantizer.average_sum, sums)
    torch.testing.assert_close(quantizer.codebook, sums / smoothed[:, None])


def test_two_forwards_before_an_update_count_as_one_batch():
    vectors = torch.randn(20, 4)
    whole, parts = EMAQuantizer(6, 4, revival_threshold=0.0), EMAQuantizer(6, 4, revival_threshold=0.0)
    parts.load_state_dict(whole.state_dict())
    whole(features_of(vectors))
    parts(features_of(vectors[:7]))
    parts(features_of(vectors[7:]))
    whole.update()
    parts.update()
    torch.testing.assert_close(whole.codebook, parts.codebook)


def test_evaluation_never_moves_the_codebook():
    quantizer = EMAQuantizer(6, 4).eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(torch.randn(2, 4, 3, 3))
    assert all(torch.equal(before[name], value) for name, value in quantizer.state_dict().items())
    assert quantizer.step_count.sum() == 0


def test_an_unused_code_is_revived_and_survives_the_next_steps():
    quantizer = EMAQuantizer(4, 2, revival_threshold=0.5)
    quantizer.codebook[3] = 1000.0  # nothing is near
    quantizer.average_sum[3] = 1000.0
    for _ in range(200):
        quantizer(torch.randn(8, 2, 4, 4))
        quantizer.update()
    assert quantizer.codebook.abs().max() < 5.0
    assert (quantizer.average_count > 0.5 * quantizer.average_count.mean()).all()
    torch.testing.assert_close(
        quantizer.average_sum / quantizer.average_count[:, None], quantizer.codebook, rtol=1e-3, atol=1e-3
    )


def test_without_revival_an_unused_code_stays():
    quantizer = EMAQuantizer(4, 2, revival_threshold=0.0)
    quantizer.codebook[3] = 1000.0
    quantizer.average_sum[3] = 1000.0
    for _ in range(50):
        quantizer(torch.randn(8, 2, 4, 4))
        quantizer.update()
    assert quantizer.codebook[3].min() > 900.0


def test_initial_codes_are_encoder_outputs():
    quantizer = EMAQuantizer(5, 3)
    features = torch.randn(2, 3, 4, 4)
    quantizer.initialize(features)
    outputs = features.permute(0, 2, 3, 1).reshape(-1, 3)
    assert all((outputs == code).all(1).any() for code in quantizer.codebook)
    assert torch.equal(quantizer.average_sum, quantizer.codebook)
    assert (quantizer.average_count == 1).all()


def test_the_gradient_passes_straight_through():
    quantizer = EMAQuantizer(5, 3).eval()
    features = torch.randn(1, 3, 2, 2, requires_grad=True)
    weights = torch.randn(1, 3, 2, 2)
    (quantizer(features).vectors * weights).sum().backward()
    torch.testing.assert_close(features.grad, weights)


def test_the_commitment_loss_pulls_the_encoder_only():
    quantizer = EMAQuantizer(5, 3).eval()
    features = torch.randn(1, 3, 2, 2, requires_grad=True)
    out = quantizer(features)
    out.commitment_loss.backward()
    expected = 2.0 * (features - out.vectors).detach() / features.numel()
    torch.testing.assert_close(features.grad, expected)


def test_codes_and_vectors_agree():
    quantizer = EMAQuantizer(5, 3).eval()
    out = quantizer(torch.randn(2, 3, 4, 5))
    assert out.codes.shape == (2, 4, 5)
    torch.testing.assert_close(quantizer.embed(out.codes), out.vectors)


def test_everything_is_float32_under_autocast():
    quantizer = EMAQuantizer(16, 8)
    features = torch.randn(2, 8, 4, 4, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        out = quantizer(features)
        quantizer.update()
    assert out.vectors.dtype == out.commitment_loss.dtype == quantizer.codebook.dtype == torch.float32
    assert torch.equal(out.codes, quantizer(features.float()).codes) or quantizer.training


@pytest.mark.parametrize("epsilon", [1e-5])
def test_nearest_agrees_with_an_independent_library(epsilon):
    library = pytest.importorskip("vector_quantize_pytorch")
    oracle = library.VectorQuantize(dim=8, codebook_size=32, decay=0.99, eps=epsilon).eval()
    quantizer = EMAQuantizer(32, 8, epsilon=epsilon).eval()
    quantizer.codebook.copy_(oracle.codebook)
    vectors = torch.randn(1, 100, 8)
    assert torch.equal(oracle(vectors)[1][0], quantizer.nearest(vectors[0]))
