"""Train a second decoder for sharp pictures, on the codes of a tokenizer that stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vqvae2.codes import Codes
from vqvae2.config import DecoderConfig, DecoderTrainingConfig
from vqvae2.data import Images, ReadBatch, evenly_spread, spread_batches
from vqvae2.images import crop_to, from_pixels
from vqvae2.metrics.distortion import ReconstructionError
from vqvae2.models.checkpoint import fingerprint
from vqvae2.models.classifier import FeatureMaps
from vqvae2.models.decoder import Decoder
from vqvae2.models.discriminator import Discriminator, PatchDiscriminator, ProjectedDiscriminator
from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2
from vqvae2.training.adversarial import AdversarialPair, enlarged_maps, feature_distance
from vqvae2.training.image_batches import VALIDATION_IMAGES, ImageBatch, shown_images
from vqvae2.training.task import Runtime, StepOutput, Task

__all__ = ["DecoderTask"]


class DecoderTask(Task):
    """Squared error, distance in features of a frozen network, deceit of a discriminator; see `AdversarialPair`.

    The decoder starts from the weights of another sharp one, or of the tokenizer's own. The last model is kept: by
    squared error, the first one would be the best.

    Args:
        tokenizer: Which codes are decoded; it stays as it is.
        images: The data.
        training: Its `loss_network` only goes into what is saved.
        network: Frozen, in evaluation mode; None lets a discriminator judge patches of pixels, and leaves features out.
        prior: Of the bottom, in evaluation mode, where `training.drawn_share` is above 0.
        start: Weights of a sharp decoder of the same config; None takes the tokenizer's own.
    """

    model: AdversarialPair
    keeps_last = True

    def __init__(
        self,
        tokenizer: VQVAE2,
        images: Images,
        training: DecoderTrainingConfig,
        network: FeatureMaps | None,
        prior: Prior | None = None,
        *,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._prior, self._drawn_share = prior, training.drawn_share
        self._tokenizer, self._images, self._network = tokenizer.eval(), images, network
        self._flips, self._network_pixels = training.horizontal_flips, training.loss_network_pixels
        self.training_indices, self.names, self.units = images.indices("train"), images.names, images.units
        self.metadata = {"loss_network": training.loss_network}
        torch.manual_seed(training.seed)
        decoder = Decoder(DecoderConfig(tokenizer_config=tokenizer.config, tokenizer=fingerprint(tokenizer)))
        weights = tokenizer.state_dict() if start is None else start
        decoder.load_state_dict({name: weights[name] for name in decoder.state_dict()})
        discriminator: Discriminator | None = None
        if training.adversarial_weight:
            discriminator = (
                PatchDiscriminator(images.channels) if network is None else ProjectedDiscriminator(network.map_channels)
            )
        self.model = AdversarialPair(decoder, discriminator, training)

    def load(self, indices: list[int], chances: Tensor) -> ImageBatch:
        return ImageBatch(torch.from_numpy(self._images.read(indices)), chances)

    def step(self, model: nn.Module, batch: ImageBatch) -> StepOutput:
        images = batch.images(with_flips=self._flips)
        with torch.no_grad():
            vectors = self._tokenizer.to(images.device).embed(self.codes(images))
        return StepOutput(*model(vectors, images, batch.chances[:, 1:], self._network_on(images.device)))

    def codes(self, images: Tensor) -> Codes:
        """Return the codes that the decoder learns to turn into these images, a share of the bottom's drawn."""
        codes = self._tokenizer.encode(images)
        if self._prior is None:
            return codes
        *above, bottom = codes
        no_class, prior = self._prior.space.num_classes, self._prior.to(images.device)
        labels = torch.full((len(images),), no_class, device=images.device) if no_class else None
        logits = prior(bottom, above=above, labels=labels).float()
        drawn = torch.distributions.Categorical(logits=logits, validate_args=False).sample()
        is_drawn = torch.rand(bottom.shape, device=images.device) < self._drawn_share
        return Codes((*above, torch.where(is_drawn, drawn, bottom)))

    def after_step(self, model: nn.Module) -> None:
        assert isinstance(model, AdversarialPair)
        model.update()

    def result(self, model: nn.Module) -> Decoder:
        assert isinstance(model, AdversarialPair)
        return model.decoder

    def validate(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        """Measure the squared error of held-out images, and the distance in features that the loss has."""
        decoder, network = self.result(model), self._network_on(runtime.device)
        indices = evenly_spread(self._images.indices("validation"), most=VALIDATION_IMAGES)

        def measure(batch: ReadBatch) -> tuple[ReconstructionError, float]:
            error = ReconstructionError()
            originals = from_pixels(torch.from_numpy(batch.pixels).to(runtime.device))
            with runtime.autocast():
                images = self._reconstruct(decoder, originals)
                seen = [
                    enlarged_maps(network, shown, shorter_side=self._network_pixels)
                    for shown in ((images, originals) if network is not None else ())
                ]
            error.update(images, originals)
            return error, len(originals) * feature_distance(*seen).item() if seen else 0.0

        total, distance = ReconstructionError(), 0.0
        for error, more in spread_batches(self._images, indices, 64, measure):
            total.merge(error)
            distance += more
        row = {"score": total.mse, "mse": total.mse, "psnr_db": total.psnr_db}
        return row | ({} if network is None else {"feature_distance": distance / len(indices)})

    def pictures(self, model: nn.Module, runtime: Runtime) -> Mapping[str, Sequence[Tensor]]:
        """Show held-out images over what both decoders make of them."""
        originals = shown_images(self._images, runtime.device)
        faithful, sharp = (self._reconstruct(decoder, originals) for decoder in (None, self.result(model)))
        return {"decoders": [originals, faithful, sharp]}

    def _reconstruct(self, decoder: Decoder | None, originals: Tensor) -> Tensor:
        tokenizer = self._tokenizer.to(originals.device)
        return crop_to(tokenizer.decode(tokenizer.encode(originals), decoder=decoder), *originals.shape[-2:])

    def _network_on(self, device: torch.device) -> Any:
        return self._network.to(device) if isinstance(self._network, nn.Module) else self._network
