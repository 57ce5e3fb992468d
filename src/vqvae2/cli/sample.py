"""The verb that draws images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from vqvae2.cli.writer import Writer
from vqvae2.config import SamplingConfig
from vqvae2.errors import ConfigError
from vqvae2.pipeline.config import BUILTIN
from vqvae2.sampling.hooks import Hooks
from vqvae2.sampling.request import DrawRequest

if TYPE_CHECKING:
    from torch import nn

    from vqvae2.cli.console import Terminal
    from vqvae2.cli.sample_folder import SampleFolder
    from vqvae2.pipeline.pipeline import Pipeline
    from vqvae2.pipeline.sample_streams import DrawnSample

__all__ = ["Sample"]


@dataclass(frozen=True, kw_only=True)
class Sample(Writer):
    """Draw new images from a trained pipeline, as PNG files and one grid.

    Example: vqvae2 sample vqvae2-demo --out samples --num-images 64 --temperature 0.9
    """

    folder: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="PIPELINE")] = None
    """The same as --pipeline, without the word."""
    pipeline: Path = Path(BUILTIN)
    """Folder of a pipeline or a run, or else its id on the Hub, owner/name; builtin is that of this package."""
    num_images: int = 16
    first_image: int = 0
    """Number of the first image; image k of a seed is the same in every batch."""
    seed: int = 0
    class_name: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """Class of all images; by default classes are as frequent as in the training images."""
    acceptance_rate: float | None = None
    """Keep this fraction of each class, of which a classifier is surest: 0.1 draws ten times as many images."""
    threshold: float | None = None
    """Draw until there are enough images whose class a classifier gives at least this probability."""
    classifier: Path | None = None
    """Folder that `vqvae2 train-classifier` wrote; by default `classifier` in the pipeline's folder."""
    batch_size: int = 64
    compile: bool = False
    """Compile the walk over the codes: a minute at the start; whether it is then faster depends on the machine."""
    sampling: Annotated[SamplingConfig, tyro.conf.arg(name="")] = field(default_factory=SamplingConfig)

    is_shared: ClassVar[bool] = True

    def run(self, terminal: Terminal) -> dict[str, Any]:
        from vqvae2.cli.sample_folder import SampleFolder
        from vqvae2.evaluation.networks import find_classifier
        from vqvae2.pipeline.hub import find_pipeline_folder
        from vqvae2.pipeline.rejection import num_candidates
        from vqvae2.system.processes import first_decides
        from vqvae2.training.runtime import require_compiler

        pipeline = self.load_pipeline(self._source)
        if self.compile:
            require_compiler(pipeline.device)
        classifier = None
        if self._rejects:
            classifier = find_classifier(self.classifier or find_pipeline_folder(self._source) / "classifier", pipeline)
        folder = SampleFolder(self.out, self._request(pipeline, classifier))
        goes_on = first_decides(lambda: self._prepare_out(folder))
        if goes_on:
            folder.go_on()
        before = folder.num_drawn
        terminal.stage("sample", f"{self.num_images} images" + (f", {before} drawn before" if before else ""))
        start = time.perf_counter()
        names, num_drawn = pipeline.config.classes, before
        try:
            for sample in self._draw(pipeline, classifier, folder, terminal):
                class_name = None if sample.label is None else names[sample.label]
                folder.add(sample, class_name=class_name, batch_size=self.batch_size)
                num_drawn = sample.num_drawn
        except ConfigError:  # too little passes a threshold: what did is whole
            if folder.rows:
                folder.finish(num_drawn)
            raise
        if self.acceptance_rate is not None:  # the last that are judged need not be kept
            num_drawn = num_candidates(self.num_images, self.acceptance_rate)
        folder.finish(num_drawn)
        seconds = time.perf_counter() - start
        shapes = pipeline.tokenizer.config.code_shapes(*pipeline.config.image_size)
        codes = (num_drawn - before) * sum(height * width for height, width in shapes)
        return {
            "grid": str(self.out / "grid.png"),
            "images": len(folder.rows),
            **({"acceptance_rate": len(folder.rows) / num_drawn} if self._rejects else {}),
            "codes": codes,
            "seconds": seconds,
            "codes_per_second": codes / seconds,
        }

    def _prepare_out(self, folder: SampleFolder) -> bool:
        """See whether drawing goes on in the folder; else make sure that nothing in it is lost, and clear it."""
        from vqvae2.cli.sample_folder import LISTING

        if not self.force and folder.can_go_on():
            return True
        self.check_out(LISTING)
        if self.out.exists():
            (self.out / LISTING).unlink(missing_ok=True)
            self.make_out()
        return False

    def _request(self, pipeline: Pipeline, classifier: nn.Module | None) -> dict[str, Any]:
        """Say what is drawn, for the listing; the same request draws the same images."""
        from vqvae2.models.checkpoint import fingerprint

        return {
            "pipeline": str(self._source),
            "models": [fingerprint(model) for model in (pipeline.tokenizer, *pipeline.priors)],
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
    def _source(self) -> Path:
        if self.folder is None:
            return self.pipeline
        if self.pipeline != Path(BUILTIN):
            raise ConfigError(f"`pipeline` must be given once, got {self.folder} and --pipeline {self.pipeline}")
        return self.folder

    @property
    def _rejects(self) -> bool:
        return self.acceptance_rate is not None or self.threshold is not None

    def _draw(
        self, pipeline: Pipeline, classifier: nn.Module | None, folder: SampleFolder, terminal: Terminal
    ) -> Iterator[DrawnSample]:
        from vqvae2.pipeline.sample_streams import sample_accepted, sample_all

        label = None if self.class_name is None else pipeline.class_index(self.class_name)
        request = DrawRequest(
            seed=self.seed, first_image=self.first_image, label=label, sampling=self.sampling, compile=self.compile
        )
        options: dict[str, Any] = {
            "batch_size": self.batch_size,
            "num_before": folder.num_drawn,
            "hooks": Hooks.for_listener(terminal, "codes" if self.threshold is None else "images"),
        }
        if folder.is_complete:
            return iter(())
        if classifier is None:
            return sample_all(pipeline, self.num_images, request, **options)
        return sample_accepted(
            pipeline,
            classifier,
            self.num_images,
            request,
            acceptance_rate=self.acceptance_rate,
            threshold=self.threshold,
            kept_before=folder.candidates(),
            **options,
        )
