"""`vqvae2 sample`: new images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.verb import Results
from vqvae2.cli.writer import DecodingWriter
from vqvae2.config import SamplingConfig
from vqvae2.errors import ConfigError
from vqvae2.pipeline.config import BUILTIN

if TYPE_CHECKING:
    from torch import nn

    from vqvae2.cli.sample_folder import SampleFolder
    from vqvae2.pipeline.sample_streams import DrawnSample

__all__ = ["Sample"]


@dataclass(frozen=True, kw_only=True)
class Sample(DecodingWriter):
    """Draw new images from a trained pipeline, as PNG files and one grid.

    Example: vqvae2 sample vqvae2-demo --out samples --num-images 64 --temperature 0.9
    """

    folder: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="PIPELINE")] = None
    """The same as --pipeline, without the word."""
    pipeline: Path = Path(BUILTIN)
    """Folder of a pipeline or a run, its id on the Hub (owner/name), or builtin for the one in this package."""
    num_images: int = 16
    """Number of images to draw, or to keep if a classifier judges them."""
    first_image: int = 0
    """Number of the first image; image k of a seed is the same in every batch."""
    seed: int = 0
    """Seed of the random numbers."""
    class_name: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """Class of all images; by default classes are as frequent as in the training images."""
    acceptance_rate: float | None = None
    """Keep the fraction of each class that a classifier is surest of: 0.1 draws ten times as many images."""
    threshold: float | None = None
    """Draw until a classifier gives so many images at least this probability of their class."""
    classifier: Path | None = None
    """Folder that `vqvae2 train-classifier` wrote; by default `classifier` in the pipeline's folder."""
    batch_size: int = 64
    """Images at a time."""
    sampling: Annotated[SamplingConfig, tyro.conf.arg(name="")] = field(default_factory=SamplingConfig)

    is_shared: ClassVar[bool] = True

    def with_defaults(self) -> Self:
        """Take the pipeline's own sampling settings."""
        from vqvae2.pipeline.hub import find_pipeline_config

        return replace(self, sampling=find_pipeline_config(self.source).sampling)

    def run(self, terminal: Terminal) -> Results:
        from vqvae2.cli.sample_folder import SampleFolder
        from vqvae2.evaluation.networks import find_classifier
        from vqvae2.pipeline.hub import find_pipeline_folder
        from vqvae2.pipeline.rejection import num_candidates

        pipeline = self.load_pipeline()
        classifier = None
        if self._rejects:
            path = self.classifier or find_pipeline_folder(self.source) / "classifier"
            classifier = find_classifier(path, pipeline)
        folder = SampleFolder(self.out, self._request(pipeline, classifier))
        folder.open(force=self.force)
        before = folder.num_drawn
        terminal.stage("sample", f"{self.num_images} images" + (f", {before} drawn before" if before else ""))
        start = time.perf_counter()
        num_drawn = before
        try:
            for sample in self._draw(pipeline, classifier, folder, terminal):
                class_name = None if sample.label is None else pipeline.config.classes[sample.label]
                folder.add(sample, class_name=class_name, batch_size=self.batch_size)
                num_drawn = sample.num_drawn
        except ConfigError:  # too few images pass a threshold: keep those that did
            if folder.rows:
                folder.finish(num_drawn)
            raise
        if self.acceptance_rate is not None:  # the last images that are judged need not be kept
            num_drawn = num_candidates(self.num_images, self.acceptance_rate)
        folder.finish(num_drawn)
        seconds = time.perf_counter() - start
        shapes = pipeline.tokenizer.config.code_shapes(*pipeline.config.image_size)
        codes = (num_drawn - before) * sum(height * width for height, width in shapes)
        return {
            "grid": self.out / "grid.png",
            "images": len(folder.rows),
            **({"acceptance_rate": len(folder.rows) / num_drawn} if self._rejects else {}),
            "codes": codes,
            "seconds": seconds,
            "codes_per_second": codes / seconds,
        }

    def _request(self, pipeline: vqvae2.Pipeline, classifier: nn.Module | None) -> dict[str, object]:
        """Say what is drawn, for the listing; the same request draws the same images."""
        from vqvae2.models.checkpoint import fingerprint

        behind = pipeline.fingerprints()
        return {
            "pipeline": str(self.source),
            "models": [behind.tokenizer, *behind.priors],
            **({"sharp_decoder": behind.sharp_decoder} if behind.sharp_decoder else {}),
            "classes": pipeline.config.classes,
            "channels": pipeline.tokenizer.config.in_channels,
            "bit_depth": pipeline.config.bit_depth,
            "num_images": self.num_images,
            "first_image": self.first_image,
            "seed": self.seed,
            "class": self.class_name,
            "sampling": self.sampling.to_dict(),
            "batch_size": self.batch_size,
            "acceptance_rate": self.acceptance_rate,
            "threshold": self.threshold,
            "classifier": None if classifier is None else fingerprint(classifier),
        }

    @property
    def source(self) -> Path:
        if self.folder is None:
            return self.pipeline
        if self.pipeline != Path(BUILTIN):
            raise ConfigError(f"`pipeline` must be given once, got {self.folder} and --pipeline {self.pipeline}")
        return self.folder

    @property
    def _rejects(self) -> bool:
        return self.acceptance_rate is not None or self.threshold is not None

    def _draw(
        self, pipeline: vqvae2.Pipeline, classifier: vqvae2.Classifier | None, folder: SampleFolder, terminal: Terminal
    ) -> Iterator[DrawnSample]:
        label = None if self.class_name is None else pipeline.class_index(self.class_name)
        request = vqvae2.DrawRequest(seed=self.seed, first_image=self.first_image, label=label, sampling=self.sampling)
        options: dict[str, Any] = {
            "batch_size": self.batch_size,
            "num_before": folder.num_drawn,
            "hooks": vqvae2.Hooks.for_listener(terminal, "codes" if self.threshold is None else "images"),
        }
        if folder.is_complete:
            return iter(())
        if classifier is None:
            return vqvae2.sample_all(pipeline, self.num_images, request, **options)
        return vqvae2.sample_accepted(
            pipeline,
            classifier,
            self.num_images,
            request,
            acceptance_rate=self.acceptance_rate,
            threshold=self.threshold,
            kept_before=folder.candidates(),
            **options,
        )
