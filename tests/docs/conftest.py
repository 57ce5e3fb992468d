"""What a reader of the documentation has at hand: images, runs and files, all of toy size and made once."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vqvae2.cli.main import main
from vqvae2.data import BuiltinImages
from vqvae2.images import encode_png
from vqvae2.pipeline.config import read_pipeline_config

_PRIOR = {"hidden-channels": 8, "residual-channels": 8, "num-layers": 2, "num-heads": 2, "conditioning-layers": 1}
_RUN = [
    *("--preset=cpu64", "--device=cpu", "--precision=float32", "--minutes=0", "--num-samples=4"),
    *("--tokenizer.strides", "4", "2", "--tokenizer.hidden-channels=8", "--tokenizer.residual-channels=4"),
    *("--tokenizer.quantizer.num-embeddings=12", "--tokenizer.quantizer.embedding-dim=4"),
    *("--tokenizer-training.steps=2", "--tokenizer-training.batch-size=8", "--prior=pixelsnail"),
    "--prior-trainings.1.horizontal-flips",  # so that there are codes of mirrored images
    *(f"--priors.{level}.{name}={value}" for level in (0, 1) for name, value in _PRIOR.items()),
    *(f"--prior-trainings.{level}.steps=2" for level in (0, 1)),
    *(f"--prior-trainings.{level}.batch-size=8" for level in (0, 1)),
]


@dataclass(frozen=True)
class Toys:
    """Folders and files to copy from. Images are of 64x64 pixels, and classes those of the built-in set."""

    images: Path
    mask: Path
    begun: Path
    """A run that has codes, but no priors."""
    finished: Path
    """A run with priors, and a classifier in `classifier`."""

    def provide(self, what: str, path: Path) -> None:
        """See to it that there is something at `path`, or something that is as far as it has to be.

        Args:
            what: images, mask, pipeline, run (with codes, its priors not trained), or .vq2 (one file or a folder).
            path: Where.
        """
        if what == "run" and not path.exists():
            shutil.copytree(self.begun, path)
        elif what == "pipeline" and not _has_priors(path):
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(self.finished, path)
        elif what == "mask" and not path.exists():
            shutil.copy(self.mask, path)
        elif what == "images" and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix:
                shutil.copy(next(self.images.rglob("*.webp")), path)
            else:
                shutil.copytree(self.images, path)


def _has_priors(path: Path) -> bool:
    return (path / "config.json").exists() and read_pipeline_config(path).has_priors


@pytest.fixture(scope="session")
def toys(tmp_path_factory) -> Toys:
    folder = tmp_path_factory.mktemp("toys")
    images, mask, begun, finished = folder / "images", folder / "mask.png", folder / "begun", folder / "finished"
    source = BuiltinImages()
    for label, name in enumerate(source.classes):
        (images / name).mkdir(parents=True)
        for index in np.flatnonzero(source.labels == label)[:2].tolist():
            record = source[index]
            (images / record.name).write_bytes(record.data)
    white_below = np.zeros((64, 64, 1), dtype=np.uint8)
    white_below[32:] = 255
    mask.write_bytes(encode_png(white_below))
    on_cpu = ["--device=cpu", "--precision=float32"]
    _done("train-tokenizer", images, "--out", begun, "--images.validation-fraction=0.3", *_RUN)
    _done("extract-codes", begun, *on_cpu)
    shutil.copytree(begun, finished)
    for level in (0, 1):
        _done("train-prior", finished, "--level", level, *on_cpu)
    _done("train-classifier", finished, "--out", finished / "classifier", "--training.steps=2", *on_cpu)
    return Toys(images, mask, begun, finished)


def _done(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0
