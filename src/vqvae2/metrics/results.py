"""The results of measuring a pipeline: one type, which `run` and `evaluate` both write as `results.json`.

A part that was not measured is None, or an empty dictionary. Reading checks every field, so whoever has a `Results`
never asks again whether a number is there. A number may be infinite (the PSNR of equal images) or NaN (a score of too
few images).
"""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from vqvae2.config import DecoderName
from vqvae2.errors import CheckpointError
from vqvae2.metrics.measurements import (
    AccuracyResult,
    DialResult,
    LikelihoodResult,
    MemorizationResult,
    QualityResult,
    ReconstructionResult,
    StrictPart,
    TuningResult,
)
from vqvae2.system.files import atomic_write_bytes, read_json

__all__ = [
    "RESULTS_FILE",
    "Fingerprints",
    "ImageCounts",
    "Machine",
    "Pictures",
    "Results",
    "SampleSheet",
    "SkippedFile",
    "Strips",
    "TrainingResult",
]

RESULTS_FILE = "results.json"
_MAGIC: Literal["vqvae2.results"] = "vqvae2.results"
_VERSION: Literal[1] = 1
_MAX_BYTES = 16 * 2**20  # a run names every file that it skipped


@dataclass(frozen=True, kw_only=True)
class TrainingResult(StrictPart):
    """How far one training went, and which step's model it kept."""

    planned_steps: int
    last_step: int
    best_step: int


@dataclass(frozen=True, kw_only=True)
class ImageCounts(StrictPart):
    """How many images stand behind the numbers."""

    train: int
    validation: int
    skipped: int
    """Files that could not be read."""
    samples: int | None = None
    """Drawn for an evaluation; None in a run."""
    compared: int | None = None
    """Of each set that an evaluation compares; None in a run."""


@dataclass(frozen=True)
class SkippedFile(StrictPart):
    """A file that could not be read."""

    file: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Strips(StrictPart):
    """Some rows of a picture beside the results, which is a grid of images of equal size."""

    file: str
    title: str
    rows: tuple[tuple[str, str], ...]
    """Label and note of each row."""
    first_row: int = 0
    images: tuple[int, ...] = ()
    """Number of the image in each column, where the columns are images of the data."""


@dataclass(frozen=True, kw_only=True)
class SampleSheet(StrictPart):
    """A picture beside the results, which is a grid of samples of one class."""

    file: str
    class_name: str
    """Empty without classes."""
    num_images: int


@dataclass(frozen=True, kw_only=True)
class Pictures(StrictPart):
    """What a run draws."""

    image_size: tuple[int, int]
    """Height and width in pixels of every image in the grids."""
    reconstructions: Strips
    samples: tuple[SampleSheet, ...]
    completions: tuple[Strips, ...]


@dataclass(frozen=True)
class Fingerprints(StrictPart):
    """Hashes of the models that were measured."""

    tokenizer: str
    priors: tuple[str, ...]
    sharp_decoder: str = ""
    """Empty if the tokenizer's own decoder made the images."""


@dataclass(frozen=True, kw_only=True)
class Machine(StrictPart):
    """Where the numbers were computed."""

    device: str
    threads: int
    processor: str
    bfloat16: bool
    """Whether models were trained in bfloat16; measuring is in float32 or float64."""


@dataclass(frozen=True, kw_only=True)
class Results(StrictPart):
    """All that was measured of a pipeline."""

    magic: Literal["vqvae2.results"] = _MAGIC
    version: Literal[1] = _VERSION
    pipeline: Fingerprints
    decoder: DecoderName = "faithful"
    """Which decoder made the images."""
    reconstruction: ReconstructionResult | None = None
    likelihood: LikelihoodResult | None = None
    quality: dict[str, QualityResult] = field(default_factory=dict)
    """By the network's name, as are `dial`, `memorization` and `tuning`."""
    accuracy: AccuracyResult | None = None
    dial: dict[str, DialResult] = field(default_factory=dict)
    memorization: dict[str, MemorizationResult] = field(default_factory=dict)
    tuning: dict[str, TuningResult] = field(default_factory=dict)
    """Of a search for sampling settings."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Metrics that do not apply, with the reason."""
    trainings: dict[str, TrainingResult] = field(default_factory=dict)
    """Of a run, by stage."""
    pictures: Pictures | None = None
    num_images: ImageCounts
    skipped_files: tuple[SkippedFile, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    """Time of each stage or measurement."""
    versions: dict[str, str]
    machine: Machine
    config: dict[str, Any] = field(default_factory=dict)
    """Of the run or of the evaluation, as JSON has it."""

    def __post_init__(self) -> None:
        if self.decoder != ("sharp" if self.pipeline.sharp_decoder else "faithful"):
            raise ValueError(
                f"`decoder` must be that of `pipeline.sharp_decoder` ({self.pipeline.sharp_decoder!r}), "
                f"got {self.decoder!r}"
            )

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read a `results.json`.

        Raises:
            FileNotFoundError: If there is none.
            CheckpointError: If it is damaged, or of another format version.
        """
        remedy = "delete it, and run the command that wrote it again"
        try:
            values = read_json(path, max_bytes=_MAX_BYTES, allow_nan=True)
            found = (values.get("magic"), values.get("version")) if isinstance(values, dict) else None
            if found != (_MAGIC, _VERSION):
                raise CheckpointError(f"{path} must be {_MAGIC} of version {_VERSION}, got {found!r:.80}; {remedy}")
            # Through JSON, since only there may an array stand for a tuple in strict mode.
            return _adapter().validate_json(json.dumps(values))
        except FileNotFoundError:
            raise
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise CheckpointError(f"{path} is damaged (`{where}`: {first['msg']}); {remedy}") from error
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); {remedy}") from error

    def write(self, path: Path) -> None:
        """Write the file whole or not at all."""
        atomic_write_bytes(path, (json.dumps(self.to_dict(), indent=2) + "\n").encode())

    def to_dict(self) -> dict[str, Any]:
        """Give what `json` writes, without the parts that were not measured."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value not in (None, {}, ())}

    def merged_with(self, other: Results) -> Results:
        """Give these results, and from `other` what was not measured here."""
        changes: dict[str, Any] = {}
        for name in ("reconstruction", "likelihood", "accuracy", "pictures"):
            if getattr(self, name) is None:
                changes[name] = getattr(other, name)
        for name in ("quality", "dial", "memorization", "tuning", "trainings", "seconds"):
            changes[name] = getattr(other, name) | getattr(self, name)
        return replace(self, **changes)


@functools.cache
def _adapter() -> TypeAdapter[Results]:
    return TypeAdapter(Results)
