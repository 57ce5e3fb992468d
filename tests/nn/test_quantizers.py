"""Laws of all quantizers, and of each family."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqvae2.config import CodebookLossConfig, EMAConfig, FSQConfig
from vqvae2.nn.quantizers import build_quantizer
from vqvae2.nn.quantizers.base import rotate, straight_through
from vqvae2.nn.quantizers.codebook import spread_positions

CODEBOOK = {"num_embeddings": 12, "embedding_dim": 3}
CONFIGS = [
    EMAConfig(**CODEBOOK),
    EMAConfig(**CODEBOOK, gradient="rotation"),
    CodebookLossConfig(**CODEBOOK),
    FSQConfig(num_values=(2, 3, 4)),
]
CODEBOOK_FAMILIES = [EMAConfig, CodebookLossConfig]


def features_of(vectors: torch.Tensor) -> torch.Tensor:
    """Lay `(N, D)` vectors out as a `(1, D, 1, N)` grid."""
    return vectors.t()[None, :, None]


def place_codes(quantizer, vectors: torch.Tensor) -> None:
    """Put the codebook at `(K, D)`, in all buffers, as it is at the start."""
    with torch.no_grad():
        quantizer.codebook.copy_(vectors)
        if hasattr(quantizer, "average_sum"):
            quantizer.average_sum.copy_(vectors)


def train(quantizer, *, steps: int, learning_rate: float = 0.0) -> None:
    optimizer = torch.optim.SGD(list(quantizer.parameters()) or [torch.zeros(1)], lr=learning_rate)
    for _ in range(steps):
        loss = quantizer(torch.randn(8, quantizer.embedding_dim, 4, 4)).loss
        if loss.requires_grad:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        quantizer.update()


@pytest.mark.parametrize("config", CONFIGS, ids=str)
class TestEveryQuantizer:
    def test_codes_and_vectors_agree_to_the_bit(self, config):
        quantizer = build_quantizer(config).eval()
        features = torch.randn(2, 3, 4, 5)
        out = quantizer(features)
        assert torch.equal(quantizer.encode(features), out.codes)
        assert (out.codes.shape, out.vectors.shape) == ((2, 4, 5), (2, 3, 4, 5))
        assert 0 <= int(out.codes.min()) <= int(out.codes.max()) < quantizer.num_embeddings
        assert torch.equal(quantizer.embed(out.codes), out.vectors)

    def test_evaluation_changes_nothing(self, config):
        quantizer = build_quantizer(config).eval()
        before = copy.deepcopy(quantizer)
        quantizer(torch.randn(2, 3, 3, 3))
        parts = zip(
            (*before.buffers(), *before.parameters()), (*quantizer.buffers(), *quantizer.parameters()), strict=True
        )
        assert all(torch.equal(old, new) for old, new in parts)

    def test_everything_is_float32_under_autocast(self, config):
        quantizer = build_quantizer(config)
        features = torch.randn(4, 3, 8, 8).bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            out = quantizer(features)
            assert torch.equal(out.codes, quantizer(features.float()).codes)
            quantizer.update()
        state = [value for value in quantizer.state_dict().values() if value.is_floating_point()]
        assert {value.dtype for value in (out.vectors, out.loss, *state)} == {torch.float32}

    def test_the_gradient_reaches_the_features(self, config):
        features = torch.randn(2, 3, 4, 4, requires_grad=True)
        build_quantizer(config)(features).vectors.sum().backward()
        assert features.grad.abs().min() > 0


@given(st.sampled_from(CODEBOOK_FAMILIES), st.integers(2, 40) | st.just(4096), st.integers(1, 9), st.integers(1, 150))
@settings(max_examples=40, deadline=None)
def test_nearest_equals_brute_force(family, num_embeddings, dim, count):  # of 4096 codes, 128 vectors at a time
    quantizer = build_quantizer(family(num_embeddings=num_embeddings, embedding_dim=dim)).double()
    vectors = torch.randn(count, dim, dtype=torch.float64)
    brute_force = (vectors[:, None] - quantizer.codebook[None]).square().sum(-1).argmin(1)
    assert torch.equal(quantizer.nearest(vectors), brute_force)


def test_the_lowest_index_wins_a_tie():
    quantizer = build_quantizer(EMAConfig(num_embeddings=6, embedding_dim=2))
    quantizer.codebook[:] = torch.tensor([1.0, 2.0])
    assert (quantizer.nearest(torch.randn(9, 2)) == 0).all()


def test_the_moving_average_equals_the_closed_form():
    quantizer = build_quantizer(EMAConfig(num_embeddings=3, embedding_dim=2, decay=0.9, revival_threshold=0.0))
    codebook = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    place_codes(quantizer, codebook)
    quantizer(features_of(torch.tensor([[1.0, 0.0], [2.0, 0.0], [9.0, 1.0]])))
    quantizer.update()

    counts = 0.9 * torch.ones(3) + 0.1 * torch.tensor([2.0, 1.0, 0.0])
    sums = 0.9 * codebook + 0.1 * torch.tensor([[3.0, 0.0], [9.0, 1.0], [0.0, 0.0]])
    total = counts.sum()
    smoothed = (counts + 1e-5) / (total + 3e-5) * total
    torch.testing.assert_close(quantizer.average_count, counts)
    torch.testing.assert_close(quantizer.average_sum, sums)
    torch.testing.assert_close(quantizer.codebook, sums / smoothed[:, None])


@pytest.mark.parametrize("threshold", [0.0, 0.5])
@pytest.mark.parametrize("family", CODEBOOK_FAMILIES)
def test_an_unused_code_restarts_from_an_encoder_output_and_survives_the_next_steps(family, threshold):
    quantizer = build_quantizer(family(num_embeddings=4, embedding_dim=2, revival_threshold=threshold))
    vectors = torch.randn(4, 2)
    vectors[3] = 1000.0  # nothing is near
    place_codes(quantizer, vectors)
    quantizer.average_count[3] = 0.01
    features = torch.randn(2, 2, 3, 3)
    quantizer(features)
    quantizer.update()
    is_revived = (features.permute(0, 2, 3, 1).reshape(-1, 2) == quantizer.codebook[3]).all(1).any()
    assert is_revived == (threshold > 0)
    train(quantizer, steps=100, learning_rate=0.1)
    assert (quantizer.codebook[3].abs().max() < 5.0) == (threshold > 0)
    if threshold:
        assert (quantizer.average_count > threshold * quantizer.average_count.mean()).all()
    if threshold and family is EMAConfig:
        means = quantizer.average_sum / quantizer.average_count[:, None]
        torch.testing.assert_close(means, quantizer.codebook, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", CODEBOOK_FAMILIES)
def test_initial_codes_are_encoder_outputs(family):
    quantizer = build_quantizer(family(num_embeddings=5, embedding_dim=3))
    features = torch.randn(2, 3, 4, 4)
    quantizer.initialize(features)
    outputs = features.permute(0, 2, 3, 1).reshape(-1, 3)
    assert all((outputs == code).all(1).any() for code in quantizer.codebook)
    assert len(quantizer.codebook.unique(dim=0)) == 5
    assert (quantizer.average_count == 1).all()
    if family is EMAConfig:
        assert torch.equal(quantizer.average_sum, quantizer.codebook)


@given(st.integers(1, 3000), st.integers(1, 40), st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_positions_are_distinct_and_spread(count, factor, start):
    total = 3 * count * factor
    positions = spread_positions(count, total, start=start)
    assert len(positions.unique()) == count
    assert 0 <= int(positions.min()) <= int(positions.max()) < total
    gaps = torch.cat((torch.tensor([-1]), positions.sort().values, torch.tensor([total]))).diff()
    assert gaps.max() <= 3 * total / count + 1


def test_the_gradient_passes_straight_through():
    features, vectors, weights = torch.randn(3, 6, 3)
    passed = straight_through(features.requires_grad_(), vectors)
    assert torch.equal(passed, vectors)
    (passed * weights).sum().backward()
    assert torch.equal(features.grad, weights)


def test_the_rotated_gradient_is_that_of_the_rotation_and_scaling():
    features, vectors, weights = torch.randn(3, 6, 3, dtype=torch.float64)
    features.requires_grad_()
    # The map that takes each feature to its vector, made explicit: two reflections, then a scaling.
    u, v = (torch.nn.functional.normalize(x, dim=1) for x in (features.detach(), vectors))
    r = torch.nn.functional.normalize(u + v, dim=1)
    rotation = torch.eye(3).double() - 2 * r[:, :, None] * r[:, None] + 2 * v[:, :, None] * u[:, None]
    scale = vectors.norm(dim=1) / features.detach().norm(dim=1)
    mapped = scale[:, None] * (rotation @ features[:, :, None])[:, :, 0]
    torch.testing.assert_close(mapped.detach(), vectors)
    (expected,) = torch.autograd.grad((mapped * weights).sum(), features)
    passed = rotate(features, vectors)
    assert torch.equal(passed, vectors)
    (passed * weights).sum().backward()
    torch.testing.assert_close(features.grad, expected)


@pytest.mark.parametrize("features", [torch.zeros(2, 3), -torch.ones(2, 3)])
def test_rotation_is_finite_for_nothing_and_for_opposites(features):
    features = features.clone().requires_grad_()
    rotate(features, torch.ones(2, 3)).sum().backward()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("family", CODEBOOK_FAMILIES)
def test_the_terms_of_the_loss_pull_encoder_and_codebook(family):
    codebook_cost = 0.0 if family is EMAConfig else 0.7
    costs = {"commitment_cost": 0.3} | ({"codebook_cost": codebook_cost} if codebook_cost else {})
    quantizer = build_quantizer(family(**CODEBOOK, **costs))
    features = torch.randn(1, 3, 2, 2, requires_grad=True)
    out = quantizer(features)
    distance = (features - out.vectors).detach()
    torch.testing.assert_close(out.loss.detach(), (0.3 + codebook_cost) * distance.square().mean())
    out.loss.backward()
    torch.testing.assert_close(features.grad, 0.3 * 2.0 * distance / features.numel())
    if codebook_cost:
        moved = quantizer.codebook.grad.abs().sum(1) > 0
        assert torch.equal(moved.nonzero().flatten(), out.codes.unique())


def test_finite_scalar_codes_and_vectors_are_one_to_one():
    quantizer = build_quantizer(FSQConfig(num_values=(2, 3, 4)))
    codes = torch.arange(24).view(1, 4, 6)
    vectors = quantizer.embed(codes)
    assert len(vectors.permute(0, 2, 3, 1).reshape(-1, 3).unique(dim=0)) == 24
    assert (vectors.min(), vectors.max()) == (-1.0, 1.0)
    # Squeezed, a feature just inside of the outermost values is still in their cells.
    assert torch.equal(quantizer(torch.atanh(0.99 * vectors)).codes, codes)
    for size, code in ((1e9, 23), (-1e9, 0)):
        out = quantizer(torch.full((1, 3, 1, 1), size))
        assert out.codes.item() == code
        assert out.vectors.abs().min() == 1.0
