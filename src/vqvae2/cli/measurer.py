"""What the verbs share that measure a pipeline on real images."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.verb import Verb
from vqvae2.config import DecoderName, Device, ImageConfig
from vqvae2.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from vqvae2.training.task import Runtime

__all__ = ["Measurer"]


@dataclass(frozen=True, kw_only=True)
class Measurer(Verb):
    """A verb that measures a pipeline on real images, in a folder of its own."""

    pipeline: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PIPELINE")]
    """Folder of a pipeline or a run, its id on the Hub (owner/name), or builtin for the one in this package."""
    data: Path | None = None
    """Real images, as for `vqvae2 run`, including the pipeline's training images; by default those of the run."""
    inception_weights: Path | None = None
    """File of Inception-v3's weights; by default they are downloaded."""
    vgg16_weights: Path | None = None
    """File of VGG16's weights, `vgg16-397923af.pth` of torchvision."""
    out: Path | None = None
    """Folder of the results; run the same command again to resume. By default one in the pipeline's folder."""
    decoder: DecoderName | None = None
    """Decoder of the images: faithful, or sharp if there is one; by default that of the pipeline."""
    device: Device = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    force: bool = False
    """Remove earlier results from the folder first."""
    dry_run: bool = False
    """Print the resolved config and stop."""

    is_shared: ClassVar[bool] = True

    @property
    def held(self) -> Path | None:
        if self.dry_run:
            return None
        return self.out or (self.pipeline if self.pipeline.is_dir() else None)

    def load_pipeline(self, runtime: Runtime) -> vqvae2.Pipeline:
        """Load the pipeline with the decoder that is asked for."""
        return vqvae2.Pipeline.from_pretrained(self.pipeline).using(self.decoder).to(runtime.device)

    def find_network(self, name: str) -> vqvae2.FeatureNetwork:
        """Find a network, see `vqvae2.find_network`, with its weights."""
        weights = {"inception": self.inception_weights, "vgg16": self.vgg16_weights}
        return vqvae2.find_network(name, weights=weights.get(name))

    def make_out(self, default: str) -> Path:
        """Make the folder of the results, in the pipeline's unless another is asked for, or check what is in it."""
        from vqvae2.evaluation.evaluation import is_of_evaluation
        from vqvae2.system.processes import first_decides

        if self.out is None and not self.pipeline.is_dir():
            raise ConfigError(f"`out` must be a folder, since {self.pipeline} is none to write into; give one")
        out = self.out or self.pipeline / default

        def make() -> Path:
            foreign = [path.name for path in out.iterdir() if not is_of_evaluation(path)] if out.is_dir() else []
            if foreign or out.is_file():
                raise OutputError(
                    f"{out} must be a new or empty folder, or that of an evaluation, but "
                    f"{'is a file' if out.is_file() else f'holds {foreign[0]}'}; choose another"
                )
            if self.force:
                shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True, exist_ok=True)
            return out

        return first_decides(make)

    def subject(self, pipeline: vqvae2.Pipeline, out: Path, terminal: Terminal) -> vqvae2.EvaluationSubject:
        """Take the run's own images, or those in `data`: as the run reads images, if it is one."""
        from vqvae2.data import open_prepared
        from vqvae2.runs.images import announce_skipped, prepare_once
        from vqvae2.runs.record import RunRecord

        if RunRecord.exists_in(self.pipeline):
            config = RunRecord.load(self.pipeline).config.images
        elif self.data is None:
            raise ConfigError(f"`data` must be a folder of real images, since {self.pipeline} is not a run; give one")
        else:
            size, channels = pipeline.config.image_size, pipeline.tokenizer.config.in_channels
            config = ImageConfig(size=size, channels=channels, bit_depth=pipeline.config.bit_depth)
        if self.data is None:
            images = open_prepared(self.pipeline / "images", on_skipped=announce_skipped(terminal))
        else:
            images = prepare_once(vqvae2.open_images(self.data), out / "images", config, listener=terminal)
        # The name alone: it goes into cards, which are published.
        name, resize = (self.data or self.pipeline).resolve().name, f"{config.resize}, Lanczos"
        return vqvae2.EvaluationSubject(pipeline=pipeline, images=images, data_name=name, resize=resize)
