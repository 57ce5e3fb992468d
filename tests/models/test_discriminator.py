"""Discriminators: one logit map per scale, of weights whose norms are bounded."""

import pytest
import torch

from vqvae2.models.discriminator import PatchDiscriminator, ProjectedDiscriminator

MAP_CHANNELS = (4, 8)


def bounded(discriminator):
    """The convolutions that are normalized, as they are used."""
    return [module.weight for module in discriminator.modules() if hasattr(module, "parametrizations")]


def test_maps_of_a_network_are_judged_at_half_their_size():
    discriminator = ProjectedDiscriminator(MAP_CHANNELS)
    shapes = ((3, 4, 5, 7), (3, 8, 1, 2))
    logits = discriminator([torch.randn(shape) for shape in shapes])
    assert [tuple(scale.shape) for scale in logits] == [(3, 1, 3, 4), (3, 1, 1, 1)]
    with pytest.raises(ValueError, match="zip"):
        discriminator([torch.randn(shapes[0])])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(4, 4), (13, 30), (2, 9), (3, 2)])  # images have 2 or more pixels each way
def test_pixels_are_judged_in_patches_at_a_quarter_of_their_size(channels, size):
    (logits,) = PatchDiscriminator(channels)([torch.rand(2, channels, *size)])
    assert logits.shape == (2, 1, max(1, size[0] // 4), max(1, size[1] // 4))


def test_projections_stay_as_they_were_drawn():
    discriminator = ProjectedDiscriminator(MAP_CHANNELS)
    sum(scale.mean() for scale in discriminator([torch.randn(2, 4, 4, 4), torch.randn(2, 8, 2, 2)])).backward()
    without = {name for name, parameter in discriminator.named_parameters() if parameter.grad is None}
    assert without == {"scales.0.0.weight", "scales.1.0.weight"}
    assert not any(dict(discriminator.named_parameters())[name].requires_grad for name in without)


@pytest.mark.parametrize(("kind", "channels"), [(ProjectedDiscriminator, MAP_CHANNELS), (PatchDiscriminator, 3)])
def test_no_layer_stretches_what_it_sees(kind, channels):
    """The largest singular value of each matrix is 1, after some steps of its power iteration."""
    discriminator = kind(channels)  # made here, where the random numbers are those of the test
    for weight in (parameter for parameter in discriminator.parameters() if parameter.requires_grad):
        torch.nn.init.normal_(weight)
    for _ in range(100):
        bounded(discriminator)
    for weight in bounded(discriminator):
        norm = torch.linalg.matrix_norm(weight.detach().flatten(1), 2)
        torch.testing.assert_close(norm, torch.tensor(1.0), rtol=0.02, atol=0)
