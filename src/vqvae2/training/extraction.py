"""Turn a whole set of images into codes on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqvae2.codes import Codes
from vqvae2.config import ExtractionConfig
from vqvae2.data import CodeStore, Images, ReadBatch, create_code_store, spread_batches
from vqvae2.images import from_pixels, shift
from vqvae2.models.checkpoint import fingerprint
from vqvae2.models.vqvae import VQVAE2

__all__ = ["extract_codes"]


@torch.inference_mode()
def extract_codes(
    tokenizer: VQVAE2,
    images: Images,
    directory: Path,
    *,
    extraction: ExtractionConfig = ExtractionConfig(),
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
) -> CodeStore:
    """Encode every image of a set, train and validation, in the set's order.

    Codes are computed in float32, so that they do not depend on the precision of training. The views of an image depend
    on its number alone; those of a held-out image are the image itself, so that every image has equally many. Several
    processes share the batches, and write the same store as one. The store appears once it is complete; an extraction
    that was stopped resumes.

    Args:
        tokenizer: In evaluation mode; its device is used.
        images: The data.
        directory: Of the new store.
        extraction: Which views to encode; by default the images alone. Time and disk grow with `num_views`.
        batch_size: Images at a time.
        on_progress: Called with the images done and their total.
    """
    device = next(tokenizer.parameters()).device

    def encode(batch: ReadBatch) -> list[Codes]:
        originals = from_pixels(torch.from_numpy(batch.pixels).to(device))
        is_held_out = torch.from_numpy(images.is_validation[batch.indices]).to(device)[:, None, None, None]
        views = _views(originals, batch.indices, extraction)
        return [tokenizer.encode(torch.where(is_held_out, originals, view)).to("cpu") for view in views]

    with create_code_store(
        directory,
        images,
        shapes=tokenizer.config.code_shapes(*images.size),
        num_embeddings=tokenizer.config.codebook_sizes,
        fingerprint=fingerprint(tokenizer),
        extraction=extraction,
    ) as writer:
        for views in spread_batches(images, range(writer.num_images, images.num_images), batch_size, encode):
            writer.append(*views)
            if on_progress is not None:
                on_progress(writer.num_images, images.num_images)
    return CodeStore.open(directory)


def _views(images: Tensor, numbers: np.ndarray, extraction: ExtractionConfig) -> Iterator[Tensor]:
    """Yield images `(B, C, H, W)` with their numbers `(B,)`, then shifted; each with its mirror image, if asked."""
    fraction = extraction.max_shift_pixels / min(images.shape[-2:])
    for index in range(1 + extraction.augment):
        view = images
        if index:
            chances = [np.random.default_rng((number, index)).random(2, dtype=np.float32) for number in numbers]
            view = shift(images, fraction, torch.from_numpy(np.stack(chances)).to(images.device))
        yield view
        if extraction.horizontal_flips:
            yield view.flip(3)
