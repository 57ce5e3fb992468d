"""Train a second decoder for sharp pictures, from the codes of a frozen tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from vqvae2.config import DecoderConfig, DecoderTrainingConfig
from vqvae2.data import Images, evenly_spread, spread_batches, ReadBatch
from vqvae2.images import crop_to, from_pixels
from vqvae2.models.checkpoint import fingerprint
FeatureMaps = nn.Module
from vqvae2.models.decoder import Decoder
from vqvae2.models.discriminator import Discriminator
from vqvae2.models.vqvae import VQVAE2
from vqvae2.training.task import Runtime, StepOutput, Task
from vqvae2.training.tokenizer import ImageBatch
from vqvae2.metrics.distortion import ReconstructionError

_VALIDATION_IMAGES = 1024


class AdversarialDecoder(nn.Module):
    def __init__(self, decoder: Decoder, discriminator: Discriminator, network: FeatureMaps, training) -> None:
        super().__init__()
        self.config = decoder.config
        self.decoder, self.discriminator = decoder, discriminator
        self._frozen = (network,)
        self._training = training
        self.register_buffer("num_steps", torch.zeros(()))
        self.register_buffer("mean_logits", torch.zeros(2))

    def forward(self, vectors: Sequence[Tensor], originals: Tensor):
        config = self._training
        (network,) = self._frozen
        images = crop_to(self.decoder(vectors), *originals.shape[-2:])
        squared = functional.mse_loss(images.float(), originals)
        seen_real, seen_fake = _augmented(originals, images.float(), share=config.shift)
        with torch.no_grad():
            real = network.feature_maps(seen_real)
        fake = network.feature_maps(seen_fake)
        perceptual = feature_distance(fake, real)
        metrics = {"mse": squared, "features": perceptual}
        loss = squared + config.feature_weight * perceptual
        if config.adversarial_weight:
            frozen = {name: value.detach() for name, value in self.discriminator.named_parameters()}
            judged = functional_call(self.discriminator, frozen, (fake,))
            deceive = -torch.stack([logits.float().mean() for logits in judged]).mean()
            ramp = (self.num_steps / max(1, config.ramp_steps)).clamp(max=1.0)
            of_real, of_fake = self.discriminator(real), self.discriminator([maps.detach() for maps in fake])
            hinge = torch.stack([functional.relu(1.0 - r.float()).mean() + functional.relu(1.0 + f.float()).mean() for r, f in zip(of_real, of_fake)]).mean()
            means = torch.stack([torch.stack([l.float().mean() for l in ls]).mean() for ls in (of_real, of_fake)])
            # LeCam
            lecam = functional.relu(means[0] - self.mean_logits[1]).square() + functional.relu(self.mean_logits[0] - means[1]).square()
            with torch.no_grad():
                self.mean_logits.lerp_(means.detach(), 0.01)
            loss = loss + config.adversarial_weight * ramp * deceive + 0.01 * (hinge + config.lecam_weight * lecam)
            metrics |= {"deceive": deceive, "hinge": hinge, "real_logit": means[0], "fake_logit": means[1]}
        return loss, metrics


def feature_distance(maps, others):
    """Mean squared distance of unit-normalized features"""
    total = []
    for a, b in zip(maps, others):
        a, b = functional.normalize(a.float(), dim=1, eps=1e-6), functional.normalize(b.float(), dim=1, eps=1e-6)
        total.append((a - b).square().sum(1).mean())
    return torch.stack(total).mean()


def _augmented(originals, images, share):
    if not share:
        return originals, images
    count, _, height, width = images.shape
    device = images.device
    both = []
    places = []
    for length in (height, width):
        most = max(1, round(share * length))
        shift = torch.randint(-most, most + 1, (count, 1), device=device)
        places.append((torch.arange(length, device=device) + shift).clamp(0, length - 1))
    rows = places[0][:, None, :, None].expand(images.shape)
    columns = places[1][:, None, None, :].expand(images.shape)
    gain = 1.0 + 0.4 * (torch.rand(count, 1, 1, 1, device=device) - 0.5)
    offset = 0.4 * (torch.rand(count, 1, 1, 1, device=device) - 0.5)
    return tuple(batch.gather(2, rows).gather(3, columns) * gain + offset for batch in (originals, images))


class DecoderTask(Task):
    keeps_last = True

    def __init__(self, tokenizer: VQVAE2, images: Images, training: DecoderTrainingConfig, network: FeatureMaps) -> None:
        self._tokenizer, self._images = tokenizer.requires_grad_(False).eval(), images
        self.training_indices, self.names, self.units = images.indices("train"), images.names, images.units
        torch.manual_seed(training.seed)
        decoder = Decoder(DecoderConfig(network=tokenizer.config, tokenizer=fingerprint(tokenizer)))
        weights = tokenizer.state_dict()
        decoder.load_state_dict({name: weights[name] for name in decoder.state_dict()})
        self._network = network.requires_grad_(False).eval()
        self._training = training
        self.metadata = {}
        self.model = AdversarialDecoder(decoder, Discriminator(network.map_channels), network, training)

    def saved(self, model):
        return model.decoder

    def load(self, indices: list[int], chances: Tensor) -> ImageBatch:
        return ImageBatch(torch.from_numpy(self._images.read(indices)), chances[:, 0] < 0.5 * self._training.horizontal_flips)

    def step(self, model: nn.Module, batch: ImageBatch, device: torch.device) -> StepOutput:
        images = from_pixels(batch.pixels.to(device, non_blocking=True))
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            codes = self._tokenizer.encode(images)
            if self._training.noise:
                codes = type(codes)(tuple(torch.where(torch.rand(m.shape, device=m.device) < self._training.noise, m.flatten()[torch.randperm(m.numel(), device=m.device)].view(m.shape), m) for m in codes))
            vectors = self._tokenizer.embed(codes)
        loss, metrics = model(vectors, images)
        return StepOutput(loss, metrics)

    def after_step(self, model: nn.Module) -> None:
        model.num_steps += 1

    def validate(self, model: nn.Module, runtime: Runtime) -> dict[str, float]:
        indices = evenly_spread(self._images.indices("validation"), most=_VALIDATION_IMAGES)

        def measure(batch: ReadBatch):
            error = ReconstructionError()
            original = from_pixels(torch.from_numpy(batch.pixels).to(runtime.device))
            images = crop_to(model.decoder(self._tokenizer.embed(self._tokenizer.encode(original))), *original.shape[-2:])
            error.update(images, original)
            distance = feature_distance(self._network.feature_maps(images), self._network.feature_maps(original))
            return error, float(distance) * len(original), len(original)
        error = ReconstructionError(); total = n = 0
        for more, distance, count in spread_batches(self._images, indices, 64, measure):
            error.merge(more); total += distance; n += count
        return {"score": error.mse, "mse": error.mse, "psnr_db": error.psnr_db, "features": total / n}
