"""Tokenizer and priors as one object, and as one folder.

A pipeline folder is also what a run leaves behind::

    config.json                    format, image size and bit depth, classes
    tokenizer/model.safetensors
    prior-top/model.safetensors    one folder a level; a pipeline may have no priors
    prior-bottom/model.safetensors
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from vqvae2.checkpoint import MODEL_FILE, fingerprint, load_model, save_model
from vqvae2.codes import Codes
from vqvae2.config import SamplingConfig, level_names
from vqvae2.drawing import draw_labels
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.images import crop_to
from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline_config import PipelineConfig, read_pipeline_config, write_pipeline_config
from vqvae2.sampling import sample_codes

__all__ = ["Pipeline", "prior_folder"]

TOKENIZER_FOLDER = "tokenizer"


def prior_folder(level: int, num_levels: int) -> str:
    """Name the folder of a level's prior: prior-top, prior-bottom, ..."""
    return f"prior-{level_names(num_levels)[level]}"


@dataclass(eq=False)
class Pipeline:
    """A tokenizer, and perhaps priors for all of its levels.

    Args:
        tokenizer: In evaluation mode.
        config: Size and bit depth of images, and classes.
        priors: One a level, top first, in evaluation mode; empty if there are none.

    Raises:
        CheckpointError: If the priors are not one for each level, or belong to another tokenizer, or the bit depth is
            16 where images are not grey.
    """

    tokenizer: VQVAE2
    config: PipelineConfig
    priors: Sequence[Prior] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        num_levels, channels = self.tokenizer.config.num_levels, self.tokenizer.config.in_channels
        if self.config.bit_depth == 16 and channels != 1:
            raise CheckpointError(
                f"`config.bit_depth` must be 8 for a tokenizer of {channels} channels, got 16; only grey has 16 bits"
            )
        own = fingerprint(self.tokenizer) if self.priors else ""
        for prior in self.priors:
            if prior.config.tokenizer != own:
                raise CheckpointError(
                    f"the prior of level {prior.space.level} was trained on codes of tokenizer "
                    f"{prior.config.tokenizer or '(not known)'}, but this is tokenizer {own}; "
                    "extract codes with this one and train the prior again"
                )
        if self.priors and [prior.space.level for prior in self.priors] != list(range(num_levels)):
            raise CheckpointError(
                f"`priors` must be one for each of {num_levels} levels, top first, "
                f"got levels {[prior.space.level for prior in self.priors]}"
            )

    @property
    def device(self) -> torch.device:
        return next(self.tokenizer.parameters()).device

    def to(self, device: torch.device | str) -> Self:
        """Move all parts, in place."""
        for part in (self.tokenizer, *self.priors):
            part.to(device)
        return self

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Pipeline:
        """Load a pipeline folder, on the CPU.

        A folder whose priors are not all there yet (a run in the middle) gives a pipeline without priors.

        Raises:
            CheckpointError: If the folder is not a pipeline, a part is missing or damaged, or a prior belongs to
                another tokenizer.
        """
        folder = Path(folder)
        config = read_pipeline_config(folder)
        tokenizer, _ = load_model(folder / TOKENIZER_FOLDER / MODEL_FILE, kind="tokenizer")
        assert isinstance(tokenizer, VQVAE2)
        priors: list[Prior] = []
        for level in range(tokenizer.config.num_levels if config.has_priors else 0):
            path = folder / prior_folder(level, tokenizer.config.num_levels) / MODEL_FILE
            prior, _ = load_model(path, kind="prior")
            assert isinstance(prior, Prior)
            priors.append(prior)
        return cls(tokenizer, config, priors)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write all parts into a folder, the config last, so that a new folder with a config is complete."""
        folder = Path(folder)
        save_model(self.tokenizer, folder / TOKENIZER_FOLDER / MODEL_FILE)
        for prior in self.priors:
            path = folder / prior_folder(prior.space.level, self.tokenizer.config.num_levels) / MODEL_FILE
            save_model(prior, path)
        write_pipeline_config(self.config, folder)

    def class_index(self, name: str) -> int:
        """Find a class by its name.

        Raises:
            ConfigError: If there is no such class.
        """
        if name not in self.config.classes:
            known = ", ".join(self.config.classes) or "none; this pipeline has no classes"
            raise ConfigError(f"`class` must be one of the pipeline's classes ({known}), got {name!r}")
        return self.config.classes.index(name)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Codes:
        """Encode images `(B, C, H, W)` in [-1, 1]; see `VQVAE2.encode`."""
        return self.tokenizer.encode(images.to(self.device))

    @torch.inference_mode()
    def decode(self, codes: Codes, *, levels: int | None = None) -> Tensor:
        """Decode codes into images `(B, C, H, W)`, about [-1, 1]; see `VQVAE2.decode`."""
        return self.tokenizer.decode(codes.to(self.device), levels=levels)

    def reconstruct(self, images: Tensor, *, levels: int | None = None) -> Tensor:
        """Encode and decode images `(B, C, H, W)` of any size in [-1, 1], from the upper `levels` levels or all."""
        return crop_to(self.decode(self.encode(images), levels=levels), *images.shape[-2:])

    @torch.inference_mode()
    def sample(
        self,
        num_images: int,
        *,
        seed: int = 0,
        first_image: int = 0,
        label: int | None = None,
        config: SamplingConfig | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Draw new images, as one batch.

        Args:
            num_images: B.
            seed: Image k of a seed is the same whatever the batch it is drawn in, see `sample_codes`.
            first_image: k of the first image.
            label: Class of all images; None draws classes with their training frequencies.
            config: Temperature, top-k, top-p and guidance.
            on_progress: Called with the number of codes drawn so far, of all images together, and their total.

        Returns:
            `(B, C, H, W)`, about [-1, 1].

        Raises:
            CheckpointError: If the pipeline has no priors.
            ConfigError: If `label` or the config does not fit.
        """
        labels = self.labels(num_images, seed=seed, first_image=first_image, label=label)
        codes = sample_codes(
            self.priors,
            self.tokenizer.config.code_shapes(*self.config.image_size),
            images=range(first_image, first_image + num_images),
            seed=seed,
            labels=labels,
            config=config,
            on_progress=on_progress,
        )
        return crop_to(self.decode(codes), *self.config.image_size)

    def labels(self, num_images: int, *, seed: int, first_image: int = 0, label: int | None = None) -> Tensor | None:
        """Give the classes that `sample` draws: int64 `(B,)`, or None without classes."""
        if not self.priors:
            raise CheckpointError("this pipeline has no priors, so it cannot sample; train a prior for every level")
        num_classes = len(self.config.classes)
        if label is not None:
            if not 0 <= label < num_classes:
                wanted = f"in 0..{num_classes - 1}" if num_classes else "None, since this pipeline has no classes"
                raise ConfigError(f"`label` must be {wanted}, got {label}")
            return torch.full((num_images,), label)
        if not num_classes:
            return None
        images = range(first_image, first_image + num_images)
        return draw_labels(self.config.class_counts, images=images, seed=seed)
