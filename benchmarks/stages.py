"""Which part of a pipeline keeps its samples from looking real: tokenizer, or the prior of which level.

    python benchmarks/stages.py RUN --images 2500

compares sets of so many images with twice as many training images: held-out images, their reconstructions, the same
with the codes of more and more levels drawn by their priors, from the bottom upwards, and at last samples, with the
classes of training images. Codes are drawn with the pipeline's own settings. From one row to the next, one more part
has made what is seen, so it made the difference.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from vqvae2 import DrawRequest, Pipeline
from vqvae2.data import open_prepared
from vqvae2.evaluation.features import FeatureSet, ImageSet, extract_features
from vqvae2.evaluation.measures import measure_quality
from vqvae2.evaluation.networks import find_network
from vqvae2.images import from_pixels, to_pixels
from vqvae2.metrics.neighbours import nearest_neighbours, share_nearer

_BATCH_SIZE = 100


class Sets:
    """Makes the images of each set, in the order of its real ones."""

    def __init__(self, run: Path, device: torch.device, *, count: int) -> None:
        self.pipeline, self._count = Pipeline.from_pretrained(run).to(device), count
        self._images = open_prepared(run / "images")
        order = np.random.default_rng(0)
        self._training = order.permutation(self._images.indices("train"))
        self._held_out = order.permutation(self._images.indices("validation"))[:count]

    def all(self) -> Iterator[tuple[str, np.ndarray]]:
        """Give names and pixels of all sets; the first are the training images that the others are compared with."""
        names = self.pipeline.tokenizer.config.level_names
        yield "training images", self._images.read(self._training[: 2 * self._count])
        yield "held-out images", self._images.read(self._held_out)
        yield "reconstructions", self._drawn(lambda images, _: self.pipeline.reconstruct(images))
        for kept in range(len(names) - 1, 0, -1):
            what = f"drawn: {', '.join(names[kept:])}"
            yield what, self._drawn(lambda images, request, kept=kept: self._varied(images, request, kept))
        self._held_out = self._training[: self._count]  # whose classes samples have, as in an evaluation
        yield "samples", self._drawn(lambda images, request: self.pipeline.sample(len(images), request))

    def _varied(self, images: Tensor, request: DrawRequest, kept: int) -> Tensor:
        return self.pipeline.vary(images, request, keep_levels=kept)[:, 0]

    def _drawn(self, make) -> np.ndarray:
        parts = []
        for start in range(0, self._count, _BATCH_SIZE):
            rows = self._held_out[start : start + _BATCH_SIZE]
            labels = torch.from_numpy(self._images.labels[rows])
            has_classes = bool(self.pipeline.config.classes) and bool((labels >= 0).all())
            request = DrawRequest(first_image=start, label=labels if has_classes else None)
            images = make(from_pixels(torch.from_numpy(self._images.read(rows))), request)
            parts.append(to_pixels(images, bit_depth=self.pipeline.config.bit_depth).cpu().numpy())
        return np.concatenate(parts)


def main() -> None:
    """Print a row a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=2500)
    parser.add_argument("--features", default="lite0")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    network = find_network(arguments.features)
    network.module.to(device)
    seen: dict[str, FeatureSet] = {}
    print(f"| {arguments.images} images | {network.name}-FD | precision | recall | nearer to training images |")
    print("|---|---|---|---|---|")
    for name, pixels in Sets(arguments.run, device, count=arguments.images).all():
        images = ImageSet(
            name=name,
            num_images=len(pixels),
            fingerprint=name,
            read=lambda start, stop, pixels=pixels: pixels[start:stop],
        )
        with TemporaryDirectory() as cache:
            seen[name] = extract_features(network, images, Path(cache), device=device)
        if name == "training images":
            continue
        reference = seen["training images"]
        scores = measure_quality(seen[name], reference, device=device)
        nearest, of_held_out = (
            nearest_neighbours(seen[each].features, reference.features, k=1, device=device).distances[:, 0]
            for each in (name, "held-out images")
        )
        cells = f"{scores.frechet_distance:.1f} | {scores.precision:.3f} | {scores.recall:.3f}"
        print(f"| {name} | {cells} | {share_nearer(nearest, of_held_out):.3f} |", flush=True)


if __name__ == "__main__":
    main()
