"""The losses of a second decoder, and the module that learns by them: a decoder with its discriminator.

Shapes: B images, C channels, H x W pixels, D embedding length, c x h x w a map of features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from vqvae2.config import DecoderTrainingConfig
from vqvae2.images import crop_to, shift
from vqvae2.models.classifier import FeatureMaps
from vqvae2.models.decoder import Decoder
from vqvae2.models.discriminator import Discriminator
from vqvae2.system.processes import sum_over_processes

__all__ = ["AdversarialPair", "enlarged_maps", "feature_distance", "hinge_loss", "lecam_penalty", "mean_logit"]

_LECAM_DECAY = 0.99
# Of the discriminator's own loss. Adam ignores the scale of gradients, but clipping sees those of both networks at
# once: at this scale, the discriminator's do not shrink the decoder's.
_DISCRIMINATOR_WEIGHT = 0.01


class AdversarialPair(nn.Module):
    """A decoder and the discriminator that it learns to deceive, as one module with one loss, so one step trains both.

    ::

        vectors ── decoder ── images ─┬─ squared error ── originals
                                      └─ shifted ── frozen network ── maps ─┬─ distance ── maps of the originals
                                                                            └─ discriminator ── deceit, hinge loss

    The decoder's gradient passes through the discriminator as through a constant; the discriminator's own loss sees the
    images as constants. Without a network, the discriminator judges the pixels themselves, and there is no distance.
    Without a discriminator, the decoder learns by the distances alone.
    """

    mean_logits: Tensor
    step_logits: Tensor
    num_steps: Tensor

    def __init__(self, decoder: Decoder, discriminator: Discriminator | None, training: DecoderTrainingConfig) -> None:
        super().__init__()
        self.config = decoder.config
        self.decoder, self.discriminator = decoder, discriminator
        self._training = training
        self.register_buffer("mean_logits", torch.zeros(2))  # of real images and of decoded ones, over many steps
        self.register_buffer("step_logits", torch.zeros(3))  # their sums over the passes since `update`, and the passes
        self.register_buffer("num_steps", torch.zeros(()))

    def forward(
        self, vectors: Sequence[Tensor], originals: Tensor, chances: Tensor, network: FeatureMaps | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Decode vectors `(B, D, h, w)` of all levels of originals `(B, C, H, W)`; return the loss and its parts.

        The chances, `(B, 2)`, uniform in [0, 1), decide how network and discriminator see each pair of images shifted,
        see `shift`. (After the translation of Zhao et al. 2020, "Differentiable Augmentation", which fills with zeros.)
        """
        training = self._training
        images = crop_to(self.decoder(vectors), *originals.shape[-2:]).to(originals.dtype)
        squared_error = functional.mse_loss(images, originals)
        loss, parts = squared_error, {"reconstruction_mse": squared_error}
        real, decoded = originals, images
        if training.shift_fraction:
            real, decoded = (shift(shown, training.shift_fraction, chances) for shown in (originals, images))
        if network is not None:
            with torch.no_grad():
                real_maps = enlarged_maps(network, real, shorter_side=training.loss_network_pixels)
            decoded_maps = enlarged_maps(network, decoded, shorter_side=training.loss_network_pixels)
            parts["feature_distance"] = feature_distance(decoded_maps, real_maps)
            loss = loss + training.feature_weight * parts["feature_distance"]
        else:
            real_maps, decoded_maps = (real,), (decoded,)
        if self.discriminator is not None:
            as_constant = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
            deceit = -mean_logit(functional_call(self.discriminator, as_constant, (decoded_maps,)))
            ramp = (self.num_steps / training.ramp_steps).clamp(max=1.0) if training.ramp_steps else 1.0
            both = [torch.cat((r, d.detach())) for r, d in zip(real_maps, decoded_maps, strict=True)]
            on_real, on_decoded = zip(*(logits.chunk(2) for logits in self.discriminator(both)), strict=True)
            hinge = hinge_loss(on_real, on_decoded)
            penalty = lecam_penalty(on_real, on_decoded, self.mean_logits)
            loss = loss + training.adversarial_weight * ramp * deceit
            loss = loss + _DISCRIMINATOR_WEIGHT * (hinge + training.lecam_weight * penalty)
            with torch.no_grad():
                means = [mean_logit(on_real), mean_logit(on_decoded)]
                self.step_logits += torch.stack([*means, torch.ones_like(means[0])])
            parts |= {"hinge": hinge, "logit_real": means[0], "logit_decoded": means[1]}
        return loss, parts

    @torch.no_grad()
    def update(self) -> None:
        """Count an optimizer step, and average the logits that all processes saw in it; call it after each step."""
        self.num_steps += 1.0
        if self.discriminator is not None:
            sum_over_processes(self.step_logits)
            self.mean_logits.lerp_(self.step_logits[:2] / self.step_logits[2], 1.0 - _LECAM_DECAY)
            self.step_logits.zero_()


def enlarged_maps(network: FeatureMaps, images: Tensor, *, shorter_side: int) -> tuple[Tensor, ...]:
    """Look at images, enlarged by a whole number if their shorter side has fewer pixels than that.

    A network of photographs at 224 pixels tells little of the fine structure of images of 64.
    """
    scale = math.ceil(shorter_side / min(images.shape[-2:]))
    if scale > 1:
        images = functional.interpolate(images, scale_factor=scale, mode="bilinear")
    return network.feature_maps(images)


def feature_distance(maps: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """Return the mean squared distance of unit vectors of features, over places, then over maps: in [0, 4].

    As LPIPS (Zhang et al. 2018, eq. 1), with equal weights for all features.
    """
    pairs = zip(maps, others, strict=True)
    units = [[functional.normalize(features.float(), dim=1) for features in pair] for pair in pairs]
    return torch.stack([(one - other).square().sum(1).mean() for one, other in units]).mean()


def hinge_loss(on_real: Sequence[Tensor], on_decoded: Sequence[Tensor]) -> Tensor:
    """Return the loss of a discriminator by its logits, the mean over scales (Lim & Ye 2017, "Geometric GAN")."""
    pairs = zip(on_real, on_decoded, strict=True)
    terms = [functional.relu(1.0 - r.float()).mean() + functional.relu(1.0 + d.float()).mean() for r, d in pairs]
    return torch.stack(terms).mean()


def lecam_penalty(on_real: Sequence[Tensor], on_decoded: Sequence[Tensor], mean_logits: Tensor) -> Tensor:
    """Return how far logits are from the average of the other kind, so that few images do not make them too sure.

    `mean_logits` holds the moving averages on real and on decoded images (Tseng et al. 2021, "Regularizing GANs under
    Limited Data", eq. 4).
    """
    pairs = zip(on_real, on_decoded, strict=True)
    of_real, of_decoded = mean_logits
    terms = [(r.float() - of_decoded).square().mean() + (d.float() - of_real).square().mean() for r, d in pairs]
    return torch.stack(terms).mean()


def mean_logit(logits: Sequence[Tensor]) -> Tensor:
    """Average logits over images and places, then over scales."""
    return torch.stack([scale.float().mean() for scale in logits]).mean()
