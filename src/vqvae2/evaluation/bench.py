"""What is evaluated, and where and how: what every measurement is given."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from vqvae2.config import EvaluationConfig, SamplingConfig
from vqvae2.data import Images
from vqvae2.errors import ConfigError
from vqvae2.evaluation.features import ImageSet, stored_images
from vqvae2.evaluation.networks import FeatureNetwork
from vqvae2.images import image_grid, save_png
from vqvae2.metrics.measurements import MeasuringProtocol, versions
from vqvae2.metrics.results import Fingerprints, ImageCounts, Machine
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.system.processes import is_first_process
from vqvae2.system.progress import Listener, Progress
from vqvae2.training.task import Runtime

__all__ = ["Bench", "EvaluationSubject", "full_float32"]


@dataclass(frozen=True, kw_only=True)
class EvaluationSubject:
    """A pipeline, and the real images that it is measured on.

    Raises:
        ConfigError: If the images do not fit the pipeline.
    """

    pipeline: Pipeline
    """On the device where it is measured."""
    images: Images
    """Of the pipeline's size; it was trained on their train side, or could have been."""
    data_name: str
    """Where the images come from, in words, for the protocol."""
    resize: str
    """How they got their size, in words, for the protocol."""

    def __post_init__(self) -> None:
        images, config, channels = self.images, self.pipeline.config, self.pipeline.tokenizer.config.in_channels
        if (images.size, images.channels, images.bit_depth) != (config.image_size, channels, config.bit_depth):
            raise ConfigError(
                f"`images` must be of the pipeline's size, channels and bit depth ({config.image_size}, {channels}, "
                f"{config.bit_depth}), got ({images.size}, {images.channels}, {images.bit_depth}); prepare them again"
            )
        if config.classes and images.classes and images.classes != config.classes:
            raise ConfigError(
                f"`images` must be in the pipeline's classes ({', '.join(config.classes)}), "
                f"got {', '.join(images.classes)}; name their folders so"
            )

    @cached_property
    def fingerprints(self) -> Fingerprints:
        """Hashes of the pipeline's models, with the decoder that makes its images."""
        return self.pipeline.fingerprints()

    def counts(self, *, samples: int | None = None, compared: int | None = None) -> ImageCounts:
        """Count the images, with what an evaluation adds to them."""
        return ImageCounts(
            train=len(self.images.indices("train")),
            validation=len(self.images.indices("validation")),
            skipped=len(self.images.skipped),
            samples=samples,
            compared=compared,
        )


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where and how a subject is measured."""

    subject: EvaluationSubject
    directory: Path
    """Where pictures, stores and models go."""
    config: EvaluationConfig
    runtime: Runtime
    """Of the classifiers' trainings."""
    listener: Listener
    _hashed: dict[bytes, ImageSet] = field(default_factory=dict, init=False, repr=False)

    @property
    def sampling(self) -> SamplingConfig | None:
        """How samples are drawn; None if the pipeline draws none."""
        return self.config.sampling if self.subject.pipeline.priors else None

    @cached_property
    def exact_runtime(self) -> Runtime:
        """Where measuring computes: in float32, whatever trainings compute in."""
        return replace(self.runtime, bfloat16=False)

    def machine(self) -> Machine:
        """Describe where the numbers are computed."""
        return Machine(
            device=str(self.runtime.device),
            threads=torch.get_num_threads(),
            processor=platform.machine(),
            bfloat16=self.runtime.bfloat16,
        )

    def protocol(
        self, reference: str, compared: ImageSet, *, num_images: int, network: FeatureNetwork | None = None
    ) -> MeasuringProtocol:
        """Give the protocol of numbers of `num_images` images that were compared with a set, as a network sees both."""
        return MeasuringProtocol(
            reference=reference,
            reference_fingerprint=compared.fingerprint,
            num_reference=compared.num_images,
            num_images=num_images,
            image_size=self.subject.images.size,
            resize=self.subject.resize,
            network=None if network is None else network.name,
            network_fingerprint=None if network is None else network.fingerprint,
            preprocessing=None if network is None else network.preprocessing,
            versions=versions(),
        )

    def own_protocol(self, reference: str, indices: np.ndarray) -> MeasuringProtocol:
        """Give the protocol of numbers that compare some of the images with what they are themselves."""
        key = indices.tobytes()
        if key not in self._hashed:  # hashing reads all of them, and streamed images are decoded for it
            self._hashed[key] = stored_images(self.subject.images, indices, name=reference)
        return self.protocol(reference, self._hashed[key], num_images=len(indices))

    def counter(self, unit: str) -> Callable[[int, int], None]:
        """Make a callback `(done, total)` that reports to the listener."""
        return lambda done, total: self.listener.progress(Progress(done, total, unit))

    def save_picture(self, name: str, pixels: np.ndarray, *, columns: int) -> str:
        """Write images `(N, H, W, C)` as a grid, row by row; return the name of its file."""
        if is_first_process():
            (self.directory / name).parent.mkdir(exist_ok=True)
            save_png(image_grid(pixels, columns=columns), self.directory / name)
        return name


@contextmanager
def full_float32() -> Iterator[None]:
    """Keep convolutions in float32: recent GPUs take TensorFloat-32 by default, which keeps 10 bits of 23."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
