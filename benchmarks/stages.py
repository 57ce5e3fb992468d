"""Which part of a pipeline keeps its samples from looking real: tokenizer, or the prior of which level.

    python benchmarks/stages.py RUN --images 2500

compares sets of so many images with twice as many training images: held-out images, their reconstructions, the same
with the codes of more and more levels drawn by their priors, from the bottom upwards, and at last samples, with the
classes of training images. Codes are drawn with the pipeline's own settings. From one row to the next, one more part
has made what is seen, so it made the difference.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from vqvae2 import DrawRequest, Pipeline
from vqvae2.data import Images, open_prepared
from vqvae2.evaluation.features import ImageSet, extract_features
from vqvae2.evaluation.measures import measure_quality
from vqvae2.evaluation.networks import find_network
from vqvae2.images import from_pixels, to_pixels
from vqvae2.metrics.neighbours import nearest_neighbours, share_nearer

_BATCH_SIZE = 100


def make_sets(pipeline: Pipeline, images: Images, count: int) -> Iterator[tuple[str, np.ndarray]]:
    """Give the names and pixels of all sets; training images first, with which the others are compared."""
    order = np.random.default_rng(0)
    training = order.permutation(images.indices("train"))
    held_out = order.permutation(images.indices("validation"))[:count]
    make, names = partial(_make_images, pipeline, images), pipeline.tokenizer.config.level_names
    yield "training images", images.read(training[: 2 * count])
    yield "held-out images", images.read(held_out)
    yield "reconstructions", make(held_out, lambda originals, _: pipeline.reconstruct(originals))
    for kept in range(len(names) - 1, 0, -1):
        vary = partial(pipeline.vary, keep_levels=kept)
        yield (
            f"drawn: {', '.join(names[kept:])}",
            make(held_out, lambda originals, request, vary=vary: vary(originals, request)[:, 0]),
        )
    yield "samples", make(training[:count], lambda originals, request: pipeline.sample(len(originals), request))


def _make_images(
    pipeline: Pipeline, images: Images, rows: np.ndarray, make: Callable[[Tensor, DrawRequest], Tensor]
) -> np.ndarray:
    """Make an image for each of some real ones, by a function of these and of a request with their classes."""
    made = []
    for start in range(0, len(rows), _BATCH_SIZE):
        batch = rows[start : start + _BATCH_SIZE]
        labels = torch.from_numpy(images.labels[batch])
        has_classes = bool(pipeline.config.classes) and bool((labels >= 0).all())
        request = DrawRequest(first_image=start, label=labels if has_classes else None)
        pixels = make(from_pixels(torch.from_numpy(images.read(batch))), request)
        made.append(to_pixels(pixels, bit_depth=pipeline.config.bit_depth).cpu().numpy())
    return np.concatenate(made)


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
    pipeline = Pipeline.from_pretrained(arguments.run).to(device)
    sets = (
        ImageSet(
            name=name, num_images=len(pixels), fingerprint=name, read=lambda start, stop, of=pixels: of[start:stop]
        )
        for name, pixels in make_sets(pipeline, open_prepared(arguments.run / "images"), arguments.images)
    )
    print(f"| {arguments.images} images | {network.name}-FD | precision | recall | nearer to training images |")
    print("|---|---|---|---|---|")
    with TemporaryDirectory() as cache:
        reference = extract_features(network, next(sets), Path(cache), device=device)
        of_held_out: np.ndarray | None = None  # distances to training images; held-out images come first
        for images in sets:
            found = extract_features(network, images, Path(cache), device=device)
            scores = measure_quality(found, reference, device=device)
            nearest = nearest_neighbours(found.features, reference.features, k=1, device=device).distances[:, 0]
            of_held_out = nearest if of_held_out is None else of_held_out
            cells = f"{scores.frechet_distance:.1f} | {scores.precision:.3f} | {scores.recall:.3f}"
            print(f"| {images.name} | {cells} | {share_nearer(nearest, of_held_out):.3f} |", flush=True)


if __name__ == "__main__":
    main()
