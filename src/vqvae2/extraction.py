"""Turn a whole set of images into codes on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from vqvae2.checkpoint import fingerprint
from vqvae2.data import CodeStore, Images, create_code_store, read_batches
from vqvae2.images import from_pixels
from vqvae2.models.vqvae import VQVAE2

__all__ = ["extract_codes"]


@torch.inference_mode()
def extract_codes(
    tokenizer: VQVAE2,
    images: Images,
    directory: Path,
    *,
    with_flipped: bool = False,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
) -> CodeStore:
    """Encode every image of a set, train and validation, in its order.

    Codes are computed in float32, so that a set has the same codes whatever precision it was trained in. Mirrored
    images are encoded on both sides of the split, though only training reads them: so every array has the same rows.

    Args:
        tokenizer: In evaluation mode; its device is used.
        images: The data.
        directory: Where the code store appears once it is complete.
        with_flipped: Whether to encode each image mirrored left to right as well; takes twice the time and disk.
        batch_size: Images at a time.
        on_progress: Called with the images done and their total.

    Returns:
        The new store.
    """
    config = tokenizer.config
    device = next(tokenizer.parameters()).device
    with create_code_store(
        directory,
        images,
        shapes=config.code_shapes(*images.size),
        num_embeddings=config.codebook_sizes,
        fingerprint=fingerprint(tokenizer),
        with_flipped=with_flipped,
    ) as writer:
        for batch in read_batches(images, range(images.num_images), batch_size):
            originals = from_pixels(torch.from_numpy(batch.pixels).to(device))
            codes = tokenizer.encode(originals).to("cpu")
            flipped = tokenizer.encode(originals.flip(3)).to("cpu") if with_flipped else None
            writer.write(int(batch.indices[0]), codes, flipped=flipped)
            if on_progress is not None:
                on_progress(int(batch.indices[-1]) + 1, images.num_images)
    return CodeStore.open(directory)
