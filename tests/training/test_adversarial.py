"""The losses of a second decoder, and who learns by which: each is compared with a plain version."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from toy_models import TOY_TOKENIZER, ToyFeatureMaps
from vqvae2.config import DecoderConfig, DecoderTrainingConfig, VQVAE2Config
from vqvae2.images import crop_to, shift
from vqvae2.models.decoder import Decoder
from vqvae2.models.discriminator import PatchDiscriminator, ProjectedDiscriminator
from vqvae2.models.efficientnet_lite import EfficientNetLite
from vqvae2.training.adversarial import (
    AdversarialPair,
    enlarged_maps,
    feature_distance,
    hinge_loss,
    lecam_penalty,
    mean_logit,
)

SIZE = (10, 14)  # no multiple of the stride, 4


@pytest.fixture
def network():
    return ToyFeatureMaps()


def make_pair(network, *, channels=3, with_discriminator=True, **options):
    config = VQVAE2Config(**(TOY_TOKENIZER.to_dict() | {"in_channels": channels, "quantizer": TOY_TOKENIZER.quantizer}))
    discriminator = None
    if with_discriminator:
        judged = PatchDiscriminator(channels) if network is None else ProjectedDiscriminator(network.map_channels)
        discriminator = judged.eval()  # without a power iteration between one pass and the next
    weights = {"ramp_steps": 10, "adversarial_weight": 0.5, "feature_weight": 0.3, "loss_network_pixels": 1}
    training = DecoderTrainingConfig(**(weights | options))
    return AdversarialPair(Decoder(DecoderConfig(tokenizer_config=config, tokenizer="")), discriminator, training)


def make_batch(channels=3, size=SIZE):
    """Vectors of two levels, the originals, and chances."""
    shapes = TOY_TOKENIZER.code_shapes(*size)
    originals = torch.rand(3, channels, *size) * 2 - 1
    return [torch.randn(3, 4, *shape) for shape in shapes], originals, torch.rand(3, 2)


def gradients(model):
    return {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}


def assert_gradients(model, loss):
    """The gradients of a model are those of a loss."""
    learned = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    expected = torch.autograd.grad(loss, list(learned.values()))
    for (name, found), wanted in zip(gradients(model).items(), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7, msg=name)


def test_feature_distance_is_that_of_directions():
    """Over places, then over maps; the second map is four times as large."""
    maps, others = ([torch.randn(2, 5, side, side) for side in (2, 4)] for _ in range(2))
    expected = []
    for one, other in zip(maps, others, strict=True):
        a, b = (np.moveaxis(features.numpy(), 1, -1).reshape(-1, 5).astype(float) for features in (one, other))
        cosines = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        expected.append(np.mean(2 - 2 * cosines))
    assert feature_distance(maps, others).item() == pytest.approx(np.mean(expected), rel=1e-5)
    assert feature_distance(maps, maps).item() == 0.0
    assert feature_distance(maps, [-features for features in maps]).item() == pytest.approx(4.0)
    scaled = [7.0 * features for features in maps]
    torch.testing.assert_close(feature_distance(scaled, others), feature_distance(maps, others))


def test_feature_distance_has_a_gradient_where_nothing_is_seen():
    maps = torch.zeros(1, 5, 2, 2, requires_grad=True)
    for other in (torch.zeros(1, 5, 2, 2), torch.randn(1, 5, 2, 2)):
        feature_distance([maps], [other]).backward()
    assert maps.grad.isfinite().all()


def test_hinge_loss_and_penalty_are_by_hand():
    on_real, on_decoded = ([torch.randn(2, 1, side, side) * 2 for side in (2, 4)] for _ in range(2))
    pairs = [(r.double().numpy(), d.double().numpy()) for r, d in zip(on_real, on_decoded, strict=True)]
    hinge = [np.maximum(1 - r, 0).mean() + np.maximum(1 + d, 0).mean() for r, d in pairs]
    assert hinge_loss(on_real, on_decoded).item() == pytest.approx(np.mean(hinge), rel=1e-5)
    of_real, of_decoded = 0.7, -0.2
    penalty = [((r - of_decoded) ** 2).mean() + ((d - of_real) ** 2).mean() for r, d in pairs]
    found = lecam_penalty(on_real, on_decoded, torch.tensor([of_real, of_decoded]))
    assert found.item() == pytest.approx(np.mean(penalty), rel=1e-5)
    assert mean_logit(on_real).item() == pytest.approx(np.mean([r.mean() for r, _ in pairs]), rel=1e-5)


@pytest.mark.parametrize(("shorter_side", "scale"), [(1, 1), (10, 1), (11, 2), (20, 2), (21, 3)])
def test_small_images_are_enlarged_by_a_whole_number(network, shorter_side, scale):
    images = torch.rand(2, 3, *SIZE)
    seen = functional.interpolate(images, (scale * SIZE[0], scale * SIZE[1]), mode="bilinear")
    maps = enlarged_maps(network, images, shorter_side=shorter_side)
    for found, expected in zip(maps, network.feature_maps(seen), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_pair_compares_enlarged_images(network):
    pair, (vectors, originals, chances) = make_pair(network, loss_network_pixels=20, shift_fraction=0.0), make_batch()
    found = pair(vectors, originals, chances, network)[1]["feature_distance"]
    shown = (crop_to(pair.decoder(vectors), *SIZE), originals)
    maps = [network.feature_maps(functional.interpolate(images, scale_factor=2, mode="bilinear")) for images in shown]
    torch.testing.assert_close(found, feature_distance(*maps))


@pytest.mark.parametrize("with_network", [True, False])
@pytest.mark.parametrize("step", [0, 4, 25])
def test_each_network_learns_by_its_own_loss_alone(network, with_network, step):
    network = network if with_network else None
    pair, (vectors, originals, chances) = make_pair(network), make_batch()
    pair.num_steps.fill_(step)
    pair.mean_logits.copy_(torch.tensor([0.4, -0.3]))
    loss, parts = pair(vectors, originals, chances, network)
    loss.backward()

    images = crop_to(pair.decoder(vectors), *SIZE)
    real, decoded = shift(originals, 0.125, chances), shift(images, 0.125, chances)
    real_maps, decoded_maps = ([shown] if network is None else network.feature_maps(shown) for shown in (real, decoded))
    distance = feature_distance(decoded_maps, real_maps) if with_network else 0.0
    mse = functional.mse_loss(images, originals)
    weight = 0.5 * min(1.0, step / 10)  # rises from 0
    of_decoder = mse + 0.3 * distance - weight * mean_logit(pair.discriminator(decoded_maps))
    assert_gradients(pair.decoder, of_decoder)

    logits = pair.discriminator(real_maps), pair.discriminator([features.detach() for features in decoded_maps])
    hinge = hinge_loss(*logits)
    of_discriminator = 0.01 * (hinge + 0.1 * lecam_penalty(*logits, pair.mean_logits))
    assert_gradients(pair.discriminator, of_discriminator)

    torch.testing.assert_close(loss, of_decoder + of_discriminator)
    expected = {"reconstruction_mse": mse, "hinge": hinge}
    expected |= {"logit_real": mean_logit(logits[0]), "logit_decoded": mean_logit(logits[1])}
    expected |= {"feature_distance": distance} if with_network else {}
    assert parts.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(parts[name], value, msg=name)


def test_before_the_first_step_nothing_is_learned_from_the_discriminator(network):
    pair, batch = make_pair(network), make_batch()
    pair(*batch, network)[0].backward()
    without = make_pair(network, with_discriminator=False)
    without.decoder.load_state_dict(pair.decoder.state_dict())
    without(*batch, network)[0].backward()
    for name, gradient in gradients(without).items():
        torch.testing.assert_close(gradients(pair)[name], gradient, msg=name)


def test_without_a_discriminator_there_is_nothing_of_it(network):
    pair = make_pair(network, with_discriminator=False)
    loss, parts = pair(*make_batch(), network)
    assert parts.keys() == {"reconstruction_mse", "feature_distance"}
    torch.testing.assert_close(loss, parts["reconstruction_mse"] + 0.3 * parts["feature_distance"])
    pair.update()
    assert {name.split(".")[0] for name, _ in pair.named_parameters()} == {"decoder"}
    assert pair.mean_logits.tolist() == [0.0, 0.0]


def test_without_shifts_the_images_are_seen_as_they_are(network):
    pair, (vectors, originals, chances) = make_pair(network, shift_fraction=0.0), make_batch()
    found = pair(vectors, originals, chances, network)[1]["feature_distance"]
    maps = [network.feature_maps(shown) for shown in (crop_to(pair.decoder(vectors), *SIZE), originals)]
    torch.testing.assert_close(found, feature_distance(*maps))


def test_the_averages_of_logits_move_once_a_step_by_all_passes_of_it(network):
    pair = make_pair(network)
    expected = np.zeros(2)
    for step in range(1, 4):
        passes = [pair(*make_batch(), network)[1] for _ in range(2)]
        before = pair.mean_logits.clone()
        assert before.tolist() == pytest.approx(expected.tolist(), rel=1e-4)
        pair.update()
        mean = [np.mean([part[name].item() for part in passes]) for name in ("logit_real", "logit_decoded")]
        expected = 0.99 * expected + 0.01 * np.array(mean)
        assert pair.num_steps.item() == step
    assert pair.mean_logits.tolist() == pytest.approx(expected.tolist(), rel=1e-4)


@pytest.fixture(scope="module")
def lite0():
    return EfficientNetLite("lite0")


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(4, 4), (5, 33)])
@pytest.mark.parametrize("with_network", [True, False])
def test_images_of_any_channels_and_size_are_learned_from(lite0, channels, size, with_network):
    network = lite0 if with_network else None
    pair = make_pair(network, channels=channels)
    pair.num_steps.fill_(10)
    loss, _ = pair.train()(*make_batch(channels, size), network)
    loss.backward()
    assert loss.isfinite()
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients(pair).values())


def test_bfloat16_is_near_float32(network):
    pair, batch = make_pair(network), make_batch()
    pair.num_steps.fill_(10)
    loss, _ = pair(*batch, network)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, rounded_parts = pair.train()(*batch, network)
    rounded.backward()
    assert {value.dtype for value in (rounded, *rounded_parts.values())} == {torch.float32}
    torch.testing.assert_close(rounded, loss, rtol=0.05, atol=0.01)
    assert all(gradient.isfinite().all() for gradient in gradients(pair).values())
