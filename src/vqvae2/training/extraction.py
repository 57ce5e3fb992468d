"""Turn a whole set of images into codes on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from vqvae2.codes import Codes
from vqvae2.data import CodeStore, Images, ReadBatch, create_code_store, spread_batches
from vqvae2.images import from_pixels
from vqvae2.models.checkpoint import fingerprint
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
    """Encode every image of a set, train and validation, in the set's order.

    Codes are computed in float32, so that they do not depend on the precision of training. Mirrored images are encoded
    on both sides of the split, though only training reads them, so that every array has the same rows. Several
    processes share the batches, and write the same store as one. The store appears once it is complete; an extraction
    that was stopped resumes.

    Args:
        tokenizer: In evaluation mode; its device is used.
        images: The data.
        directory: Of the new store.
        with_flipped: Encode each image mirrored left to right as well, in twice the time and disk.
        batch_size: Images at a time.
        on_progress: Called with the images done and their total.
    """
    device = next(tokenizer.parameters()).device

    def encode(batch: ReadBatch) -> tuple[Codes, Codes | None]:
        originals = from_pixels(torch.from_numpy(batch.pixels).to(device))
        codes = tokenizer.encode(originals).to("cpu")
        return codes, tokenizer.encode(originals.flip(3)).to("cpu") if with_flipped else None

    with create_code_store(
        directory,
        images,
        shapes=tokenizer.config.code_shapes(*images.size),
        num_embeddings=tokenizer.config.codebook_sizes,
        fingerprint=fingerprint(tokenizer),
        with_flipped=with_flipped,
    ) as writer:
        for codes, flipped in spread_batches(images, range(writer.num_images, images.num_images), batch_size, encode):
            writer.append(codes, flipped)
            if on_progress is not None:
                on_progress(writer.num_images, images.num_images)
    return CodeStore.open(directory)
