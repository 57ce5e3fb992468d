"""What can be seen of a run, also while it trains. Nothing here writes into its folder.

Shapes: N images, H x W pixels, C channels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqvae2.data import ImageStore, evenly_spread
from vqvae2.errors import CheckpointError, DataError
from vqvae2.images import crop_to, from_pixels
from vqvae2.models.checkpoint import LAST_MODEL_FILE, MODEL_FILE, load_model
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.folder import RUN_FILE, TOKENIZER_FOLDER
from vqvae2.report import ReportData
from vqvae2.runs.record import RunRecord
from vqvae2.runs.training import training_stages
from vqvae2.studio.pictures import to_picture
from vqvae2.system.json_files import read_json

__all__ = [
    "REPORT_FILE",
    "RunView",
    "StageView",
    "decode_held_out",
    "find_runs",
    "model_version",
    "read_log",
    "read_run",
    "run_pictures",
    "run_version",
]

REPORT_FILE = "report.html"

_MOST_RUNS = 200
_MOST_LOG_BYTES = 2**25  # a training logs a few hundred lines; a longer file is read from its end
_PICTURES = {
    "reconstructions.png": "held-out images: originals, then from ever more levels",
    "completions.png": "held-out images completed and varied",
}
_MOST_SAMPLE_PICTURES = 9
_DECODED_IMAGES = 8


@dataclass(frozen=True, kw_only=True)
class StageView:
    """One training of a run."""

    name: str
    log: tuple[Mapping[str, float], ...]
    planned_steps: int | None
    """None until they are decided."""
    seconds: float | None
    """That it took; None until it is finished."""

    @property
    def last_step(self) -> int:
        return int(self.log[-1]["step"]) if self.log else 0

    @property
    def state(self) -> str:
        """In words."""
        if self.seconds is not None:
            return "done"
        return "training" if self.log else "not begun"


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run as it is now."""

    directory: Path
    record: RunRecord
    stages: tuple[StageView, ...]
    """The tokenizer's, then the priors', top first."""
    results: Mapping[str, Any]
    """Of `results.json`; empty until it is there."""

    @property
    def is_finished(self) -> bool:
        """Whether its report is written, which is the last that a run does."""
        return (self.directory / REPORT_FILE).is_file()

    def report_data(self, stage: int) -> ReportData:
        """Give what the report's charts of one training are made of; there are no images in it."""
        config = self.record.config
        none = np.zeros((0, 1, 1, 3), dtype=np.uint8)
        logs = [one.log if index == stage else () for index, one in enumerate(self.stages)]
        return ReportData(
            title=self.directory.name,
            results=dict(self.results),
            tokenizer_curve=logs[0],
            prior_curves=logs[1:],
            level_names=config.tokenizer.level_names,
            originals=none,
            partial_reconstructions=[],
            code_maps=[],
            num_embeddings=config.tokenizer.codebook_sizes,
            code_counts=[],
            samples={},
            completions=[],
            config={},
            next_steps=[],
        )


def find_runs(folder: Path) -> list[str]:
    """Name the runs in a folder, and "." if it is one itself, those that changed last first."""
    try:
        candidates = [".", *(path.name for path in folder.iterdir() if not path.name.startswith("."))]
        found = [(name, (folder / name / RUN_FILE)) for name in candidates if (folder / name / RUN_FILE).is_file()]
        found.sort(key=lambda entry: entry[1].stat().st_mtime_ns, reverse=True)
    except OSError:  # the folder is not there, or a run went away in this moment
        return []
    return [name for name, _ in found[:_MOST_RUNS]]


def read_run(directory: Path) -> RunView:
    """Read the record, the logs and the results of a run.

    Raises:
        CheckpointError: If the folder is not a run's, or its record is damaged.
    """
    record = RunRecord.load(directory)
    try:
        results = read_json(directory / "results.json", max_bytes=2**24, allow_nan=True)
    except (OSError, ValueError):
        results = {}
    return RunView(
        directory=directory,
        record=record,
        stages=tuple(
            StageView(
                name=training.name,
                log=tuple(read_log(training.directory / "log.jsonl")),
                planned_steps=record.steps.get(training.name),
                seconds=record.seconds.get(training.name),
            )
            for training in training_stages(record)
        ),
        results=results if isinstance(results, dict) else {},
    )


def read_log(path: Path) -> list[dict[str, float]]:
    """Read the lines of a log that have a step; one that is damaged or half written is passed over.

    Args:
        path: The file; no lines if there is none.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _MOST_LOG_BYTES))
            data = file.read(_MOST_LOG_BYTES)
    except OSError:
        return []
    rows = []
    for line in data.split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and _is_number(row.get("step")):
            rows.append({name: value for name, value in row.items() if _is_number(value)})
    return rows


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def run_version(directory: Path) -> tuple[tuple[str, int, int], ...]:
    """Give size and time of all files that are shown of a run: the same as before if there is nothing new."""
    patterns = (RUN_FILE, "*/log.jsonl", "*.png", "samples/*.png", REPORT_FILE)
    return tuple(state for pattern in patterns for state in _file_states(directory, pattern))


def model_version(directory: Path) -> tuple[tuple[str, int, int], ...]:
    """Give size and time of the tokenizers that a run has saved."""
    return tuple(_file_states(directory, f"{TOKENIZER_FOLDER}/*.safetensors"))


def _file_states(directory: Path, pattern: str) -> list[tuple[str, int, int]]:
    states = []
    for path in sorted(directory.glob(pattern)):
        try:
            found = path.stat()
        except OSError:  # it was replaced in this moment
            continue
        states.append((path.relative_to(directory).as_posix(), found.st_size, found.st_mtime_ns))
    return states


def run_pictures(directory: Path) -> list[tuple[Path, str]]:
    """List the pictures that a run has made so far, each with what it shows."""
    found = [(directory / name, text) for name, text in _PICTURES.items() if (directory / name).is_file()]
    for path in sorted((directory / "samples").glob("*.png"))[:_MOST_SAMPLE_PICTURES]:
        found.append((path, f"samples {path.stem}"))
    return found


@torch.inference_mode()
def decode_held_out(directory: Path, *, device: torch.device | str = "cpu") -> list[tuple[str, np.ndarray]]:
    """Reconstruct a few held-out images with the last tokenizer that a run has saved.

    Returns:
        Rows of pictures, uint8 `(N, H, W, 3)`: the originals, and from ever more levels; each with its name.

    Raises:
        CheckpointError: If no tokenizer is saved yet, or it is damaged.
        DataError: If the images are not there, or are streamed from elsewhere.
    """
    folder = directory / TOKENIZER_FOLDER
    path = next((folder / name for name in (LAST_MODEL_FILE, MODEL_FILE) if (folder / name).is_file()), None)
    if path is None:
        raise CheckpointError(f"{directory} has saved no tokenizer yet; its first validation does")
    # A store alone: reading streamed images would note broken ones in the run's folder.
    store = ImageStore.open(directory / "images")
    chosen = evenly_spread(store.indices("validation"), most=_DECODED_IMAGES)
    images = from_pixels(torch.from_numpy(store.read(chosen)))
    tokenizer, _ = load_model(path, kind="tokenizer")
    assert isinstance(tokenizer, VQVAE2)
    if tokenizer.config.in_channels != store.channels:
        raise DataError(f"the images of {directory} have {store.channels} channels, its tokenizer takes others")
    tokenizer = tokenizer.to(device)
    codes = tokenizer.encode(images.to(device))
    rows = [("original", images)]
    names = tokenizer.config.level_names
    for levels in range(1, len(names) + 1):
        label = f"{names[0]} only" if levels == 1 and len(names) > 1 else "all levels"
        label = label if levels in (1, len(names)) else f"+ {names[levels - 1]}"
        rows.append((label, crop_to(tokenizer.decode(codes, levels=levels), *store.size).cpu()))
    return [
        (label, np.stack([to_picture(image, bit_depth=store.bit_depth) for image in batch])) for label, batch in rows
    ]
