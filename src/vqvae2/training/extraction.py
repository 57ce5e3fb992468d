"""Turn a whole set of images into codes on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vqvae2.codes import Codes
from vqvae2.data import CodeParts, CodeStore, Images, create_code_store, read_batches
from vqvae2.images import from_pixels
from vqvae2.models.checkpoint import fingerprint
from vqvae2.models.vqvae import VQVAE2
from vqvae2.system.processes import first_decides, spread

__all__ = ["extract_codes"]

_PART_BATCHES = 16  # per part: few enough that little work is lost, and enough that there are few files


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
    on both sides of the split, though only training reads them, so that every array has the same rows.

    Each part of the images becomes a file of its own until all parts are complete. An extraction that was stopped
    resumes with the missing parts, and several processes share the parts.

    Args:
        tokenizer: In evaluation mode; its device is used.
        images: The data.
        directory: Where the code store appears once it is complete.
        with_flipped: Also encode each image mirrored left to right, at twice the time and disk space.
        batch_size: Images at a time.
        on_progress: Called with the number of images done and their total.

    Returns:
        The new store.
    """
    parts = CodeParts(
        directory.with_name(f".{directory.name}.parts"),
        num_images=images.num_images,
        part_size=_PART_BATCHES * batch_size,
        identity={
            "tokenizer": fingerprint(tokenizer),
            "names": hashlib.blake2b("\0".join(images.names).encode(), digest_size=16).hexdigest(),
            "with_flipped": with_flipped,
        },
    )
    missing = first_decides(parts.begin)
    done = images.num_images - sum(len(parts.rows(part)) for part in missing)

    def extract(part: int) -> int:
        """Encode and write a part; return how many images it has."""
        rows = parts.rows(part)
        batches = [_encode(tokenizer, batch.pixels, with_flipped) for batch in read_batches(images, rows, batch_size)]
        flipped = [mirrored for _, mirrored in batches if mirrored is not None]
        codes = Codes.concatenate([originals for originals, _ in batches])
        parts.write(part, codes, Codes.concatenate(flipped) if flipped else None)
        return len(rows)

    for count in spread(missing, extract):
        done += count
        if on_progress is not None:
            on_progress(done, images.num_images)
    first_decides(lambda: _assemble(parts, images, directory, tokenizer, with_flipped))
    return CodeStore.open(directory)


def _encode(tokenizer: VQVAE2, pixels: np.ndarray, with_flipped: bool) -> tuple[Codes, Codes | None]:
    device = next(tokenizer.parameters()).device
    originals = from_pixels(torch.from_numpy(pixels).to(device))
    codes = tokenizer.encode(originals).to("cpu")
    return codes, tokenizer.encode(originals.flip(3)).to("cpu") if with_flipped else None


def _assemble(parts: CodeParts, images: Images, directory: Path, tokenizer: VQVAE2, with_flipped: bool) -> None:
    """Join all parts into the store, and remove them."""
    with create_code_store(
        directory,
        images,
        shapes=tokenizer.config.code_shapes(*images.size),
        num_embeddings=tokenizer.config.codebook_sizes,
        fingerprint=fingerprint(tokenizer),
        with_flipped=with_flipped,
    ) as writer:
        for part in range(-(-images.num_images // len(parts.rows(0)))):
            codes, flipped = parts.read(part)
            writer.write(parts.rows(part).start, codes, flipped=flipped)
    parts.remove()
