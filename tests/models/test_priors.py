"""The two laws of every prior: a step equals the forward pass, and no logit sees its own front or a later one."""

import itertools
import math

import pytest
import torch

from vqvae2.config import PixelSNAILConfig, PriorConfig, TransformerConfig
from vqvae2.models.checkpoint import build_model, fingerprint
from vqvae2.models.prior import Prior
from vqvae2.nn.causal import rotations
from vqvae2.nn.fronts import front_numbers
from vqvae2.sampling.walk import walk

TRANSFORMER = {"family": "transformer"}
OPTIONS = [
    *({}, {"num_kv_heads": 2}, {"attention_every": 0}, {"attention_every": 1}, {"output_layers": 0}),
    *({"conditioning_layers": 0}, {"kernel_size": 7}, {"kernel_size": 3}, TRANSFORMER),
    *(TRANSFORMER | options for options in ({"num_kv_heads": 2}, {"num_heads": 1}, {"conditioning_layers": 0})),
    TRANSFORMER | {"kernel_size": 7},
]
FAMILIES = ["pixelsnail", "transformer"]
SIZES = [(1, 1), (1, 6), (6, 1), (3, 5), (7, 2), (19, 3)]


def draw_inputs(prior: Prior, size: tuple[int, int], batch_size: int = 3):
    """Codes, levels above and labels for a grid whose sides are multiples of the largest factor."""
    height, width = (side * max(prior.space.upsampling, default=1) for side in size)
    codes = torch.randint(prior.num_embeddings, (batch_size, height, width))
    above = [
        torch.randint(count, (batch_size, height // factor, width // factor))
        for count, factor in zip(prior.space.num_embeddings[:-1], prior.space.upsampling, strict=True)
    ]
    labels = torch.arange(batch_size) % (prior.space.num_classes + 1) if prior.space.num_classes else None
    return codes, above, labels


def likeliest(positions, logits):
    return logits.argmax(2)


def step_logits(prior: Prior, codes, above=(), labels=None):
    """The logits of a walk that is told which codes to choose."""
    seen = torch.full((*codes.flatten(1).shape, prior.num_embeddings), torch.nan, dtype=torch.float64)

    def choose(positions, logits):
        seen[:, positions] = logits
        return codes.flatten(1)[:, positions]

    walked = walk(prior, choose, batch_size=len(codes), size=codes.shape[1:], above=above, labels=labels)
    assert torch.equal(walked, codes)
    return seen.view(*codes.shape, -1)


def check_step_equals_forward(prior, size):
    codes, above, labels = draw_inputs(prior, size)
    with torch.inference_mode():
        expected = prior(codes, above=above, labels=labels)
    assert expected.std() > 0.05  # or equality would say nothing
    # A tensor of float32 on either path would differ by more.
    torch.testing.assert_close(step_logits(prior, codes, above, labels), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_step_equals_forward_for_every_level_and_shape(make_prior, family, level, size):
    check_step_equals_forward(make_prior(level, num_classes=2, family=family), size)


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_step_equals_forward_for_every_option(make_prior, options, num_classes):
    check_step_equals_forward(make_prior(1, num_classes=num_classes, **options), (2, 3))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_no_logit_sees_its_own_front_or_a_later_one(make_prior, options):
    prior = make_prior(0, **options)
    height, width = 4, 7
    numbers = front_numbers((height, width), prior.first.reach)
    codes = torch.randint(prior.num_embeddings, (1, height, width))
    embedded = []

    def keep(module, inputs, out):
        out.retain_grad()
        embedded.append(out)

    prior.embedding.register_forward_hook(keep)
    logits = prior(codes)
    weights = torch.randn(prior.num_embeddings, dtype=torch.float64)
    for position in range(height * width):
        embedded[0].grad = None
        (logits.flatten(0, 2)[position] @ weights).backward(retain_graph=True)
        reached = embedded[0].grad.abs().sum(-1).flatten() > 0
        assert not reached[numbers >= numbers[position]].any()
        if position % width:
            assert reached[position - 1]  # its left neighbour is always seen
        if options.get("family") == "transformer":  # attention in each layer: its keys know of the fronts before theirs
            assert reached[numbers < numbers[position] - 1].all()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_probabilities_of_all_maps_sum_to_1(make_prior, family):
    prior = make_prior(0, num_embeddings=3, family=family)
    maps = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    assert len(maps) == 81
    with torch.inference_mode():
        parallel = prior(maps)
    for logits in (parallel, step_logits(prior, maps)):
        log_probabilities = logits.log_softmax(-1).gather(-1, maps[..., None]).sum((1, 2, 3))
        torch.testing.assert_close(log_probabilities.exp().sum().item(), 1.0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_may_be_repeated_and_padded_before_it_is_observed(make_prior, family):
    with torch.inference_mode():
        state = make_prior(0, family=family).start(2, (3, 4))
        length = len(state.fronts.positions)
        start = 0
        for end in state.fronts.ends:
            places = torch.arange(start, end)
            logits = state.step(places, end)
            torch.testing.assert_close(state.step(places, end), logits, rtol=0, atol=0)
            padded = torch.cat((places, places.new_full((2,), length)))
            torch.testing.assert_close(state.step(padded, length + 1)[:, : end - start], logits, rtol=0, atol=1e-12)
            state.observe(places, logits.argmax(2))
            start = end


@pytest.mark.parametrize("num_classes", [0, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_walk_leaves_the_prior_as_it_was(make_prior, family, num_classes):
    prior = make_prior(num_classes=num_classes, family=family)
    before = fingerprint(prior)
    walk(prior, likeliest, batch_size=1, size=(2, 2))
    assert fingerprint(prior) == before


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_rotations_are_those_of_real_numbers(dtype):
    found = rotations((33, 20), 64, like=torch.zeros(1, dtype=dtype))
    for row, column, pair in ((0, 0, 0), (32, 19, 15), (17, 3, 16), (32, 0, 0), (1, 19, 31)):
        angle = (row if pair < 16 else column) * 100.0 ** -(pair % 16 / 16)
        wanted = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        assert (found[:, row * 20 + column, pair].double() - wanted).abs().max() < 3 * torch.finfo(dtype).eps


@pytest.mark.parametrize("family", FAMILIES)
def test_levels_above_and_class_matter_and_no_label_is_the_class_after_the_last(make_prior, family):
    prior = make_prior(1, num_classes=2, family=family)
    codes, above, labels = draw_inputs(prior, (2, 2))
    with torch.inference_mode():
        logits = prior(codes, above=above, labels=labels)
        assert not torch.allclose(logits, prior(codes, above=[(above[0] + 1) % 6], labels=labels))
        assert not torch.allclose(logits, prior(codes, above=above, labels=(labels + 1) % 3))
        assert torch.equal(prior(codes, above=above), prior(codes, above=above, labels=torch.full((3,), 2)))


@pytest.mark.parametrize("network", [PixelSNAILConfig(), TransformerConfig()], ids=FAMILIES)
def test_an_untrained_prior_is_uniform(network):
    prior = build_model(PriorConfig(network=network)).eval()
    with torch.inference_mode():
        probabilities = prior(torch.randint(512, (1, 4, 4))).softmax(-1)
    torch.testing.assert_close(probabilities, torch.full_like(probabilities, 1 / 512))


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_hides_positions_from_attention_but_none_from_itself(make_prior, family):
    options = {"num_layers": 2, "attention_every": 1} if family == "pixelsnail" else {}
    prior = make_prior(0, family=family, dropout=0.9, **options)
    codes = torch.randint(prior.num_embeddings, (2, 4, 4))
    torch.manual_seed(0)
    first = prior.train()(codes)
    assert first.isfinite().all()
    assert not torch.equal(first, prior(codes))


@pytest.mark.parametrize(
    ("level", "above", "labels", "message"),
    [
        (1, [], None, "`above` .* 1 levels, got 0"),
        (1, [(2, 3, 3)], None, r"`above\[0\]` .* \(2, 2, 2\), .* got \(2, 3, 3\)"),
        (1, [(2, 2, 2)], 3, r"`labels` .* \(2,\), got \(3,\)"),
        (0, [], 2, "`labels` must be None"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(make_prior, level, above, labels, message):
    prior = make_prior(level, num_classes=2 * level)
    above = [torch.zeros(shape, dtype=torch.int64) for shape in above]
    labels = None if labels is None else torch.zeros(labels, dtype=torch.int64)
    for call, *arguments in ((prior, torch.zeros(2, 4, 4, dtype=torch.int64)), (prior.start, 2, (4, 4))):
        with pytest.raises(ValueError, match=message):
            call(*arguments, above=above, labels=labels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_captured_walk_is_the_same_walk(make_prior, family):
    prior = make_prior(0, family=family).cuda()
    walks = [walk(prior, likeliest, batch_size=2, size=(20, 4), cuda_graphs=graphs) for graphs in (False, True)]
    assert torch.equal(*walks)


def test_a_walk_in_training_mode_is_refused(make_prior):
    with pytest.raises(ValueError, match="evaluation mode"):
        walk(make_prior(0).train(), likeliest, batch_size=1, size=(2, 2))
