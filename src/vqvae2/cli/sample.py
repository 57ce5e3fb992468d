"""The verb that draws images."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from torch import nn

from vqvae2.checkpoint import fingerprint
from vqvae2.cli.console import Terminal
from vqvae2.cli.writer import Writer
from vqvae2.config import SamplingConfig
from vqvae2.device import require_compiler
from vqvae2.images import decode_image, image_grid, save_png
from vqvae2.networks import find_classifier
from vqvae2.pipeline import Pipeline
from vqvae2.rejection import num_candidates
from vqvae2.sample_streams import DrawnSample, sample_accepted, sample_all

__all__ = ["Sample"]

_MOST_IN_GRID = 64


@dataclass(frozen=True, kw_only=True)
class Sample(Writer):
    """Draw new images from a trained pipeline, as PNG files and one grid.

    Example: vqvae2 sample vqvae2-demo --out samples --num-images 64 --temperature 0.9
    """

    pipeline: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PIPELINE")]
    """Folder of a pipeline or a run, or else its id on the Hub, owner/name."""
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

    def run(self, terminal: Terminal) -> dict[str, Any]:
        pipeline = self.load_pipeline(self.pipeline)
        if self.compile:
            require_compiler(pipeline.device)
        classifier = None
        if self._rejects:
            classifier = find_classifier(self.classifier or self.pipeline / "classifier", pipeline)
        self.check_out("samples.json")
        terminal.stage("sample", f"{self.num_images} images")
        start = time.perf_counter()
        rows: dict[int, dict[str, Any]] = {}
        num_drawn = 0
        try:
            for sample in self._draw(pipeline, classifier, terminal):
                if not rows:
                    self.make_out()
                if sample.displaced is not None:
                    (self.out / rows.pop(sample.displaced)["file"]).unlink()
                rows[sample.number] = self._save(sample, pipeline)
                num_drawn = sample.num_drawn
            if self.acceptance_rate is not None:  # the last that are judged need not be kept
                num_drawn = num_candidates(self.num_images, self.acceptance_rate)
        finally:  # what an error leaves is whole
            if rows:
                self._write_listing([rows[number] for number in sorted(rows)], pipeline, classifier, num_drawn)
        seconds = time.perf_counter() - start
        shapes = pipeline.tokenizer.config.code_shapes(*pipeline.config.image_size)
        codes = num_drawn * sum(height * width for height, width in shapes)
        return {
            "grid": str(self.out / "grid.png"),
            "images": len(rows),
            **({"acceptance_rate": len(rows) / num_drawn} if self._rejects else {}),
            "codes": codes,
            "seconds": seconds,
            "codes_per_second": codes / seconds,
        }

    @property
    def _rejects(self) -> bool:
        return self.acceptance_rate is not None or self.threshold is not None

    def _draw(self, pipeline: Pipeline, classifier: nn.Module | None, terminal: Terminal) -> Iterator[DrawnSample]:
        label = None if self.class_name is None else pipeline.class_index(self.class_name)
        options: dict[str, Any] = {
            "seed": self.seed,
            "first_image": self.first_image,
            "label": label,
            "config": self.sampling,
            "batch_size": self.batch_size,
            "compile": self.compile,
            "listener": terminal,
        }
        if classifier is None:
            return sample_all(pipeline, self.num_images, **options)
        return sample_accepted(
            pipeline,
            classifier,
            self.num_images,
            acceptance_rate=self.acceptance_rate,
            threshold=self.threshold,
            **options,
        )

    def _save(self, sample: DrawnSample, pipeline: Pipeline) -> dict[str, Any]:
        """Write an image; return its row of the listing."""
        name = f"{sample.number:06d}.png"
        save_png(sample.pixels.numpy(), self.out / name)
        row: dict[str, Any] = {"file": name, "image": sample.number}
        row["class"] = None if sample.label is None else pipeline.config.classes[sample.label]
        return row if sample.score is None else row | {"score": sample.score}

    def _write_listing(
        self, rows: list[dict[str, Any]], pipeline: Pipeline, classifier: nn.Module | None, num_drawn: int
    ) -> None:
        """Write the grid and `samples.json`."""
        shown = [
            decode_image(
                (self.out / row["file"]).read_bytes(),
                channels=pipeline.tokenizer.config.in_channels,
                bit_depth=pipeline.config.bit_depth,
            )
            for row in rows[:_MOST_IN_GRID]
        ]
        save_png(image_grid(np.stack(shown), columns=math.ceil(math.sqrt(len(shown)))), self.out / "grid.png")
        listing: dict[str, Any] = {
            "pipeline": str(self.pipeline),
            "seed": self.seed,
            "sampling": self.sampling.to_dict(),
        }
        if classifier is not None:
            listing["rejection"] = {
                "asked_acceptance_rate": self.acceptance_rate,
                "asked_threshold": self.threshold,
                "acceptance_rate": len(rows) / num_drawn,
                "num_drawn": num_drawn,
                "classifier": fingerprint(classifier),
            }
        listing["images"] = rows
        (self.out / "samples.json").write_text(json.dumps(listing, indent=2))
