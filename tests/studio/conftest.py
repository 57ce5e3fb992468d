"""A studio's context at toy size, and runs whose logs are written by hand."""

import json

import numpy as np
import pytest
import torch

from vqvae2.presets import RunConfig
from vqvae2.run_record import RunRecord
from vqvae2.studio.context import Example, StudioContext
from vqvae2.studio.turns import Turns


@pytest.fixture
def context(pipeline, tmp_path):
    """Of the tiny pipeline of random weights: 16x24 RGB, two levels of five codes."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, 16, 24, generator=generator) * 2 - 1
    (tmp_path / "runs").mkdir()
    return StudioContext(
        pipeline=pipeline,
        classifier=None,
        source="toy",
        runs_folder=tmp_path / "runs",
        examples=tuple(Example(name, image) for name, image in zip(("one", "two"), images, strict=True)),
        turns=Turns(torch.device("cpu")),
    )


@pytest.fixture
def begin_run(tmp_path):
    """Begin a run in `runs/NAME`, which has logged some steps of its tokenizer."""

    def begin(name="run", *, num_lines=3):
        directory = tmp_path / "runs" / name
        record = RunRecord.begin(directory, RunConfig())
        record.steps["train tokenizer"] = 100
        record.save()
        (directory / "tokenizer").mkdir()
        rows = [
            {"step": step, "seconds": 1.0 * step, "loss": 1.0 / step, "reconstruction_mse": 0.5 / step}
            | {"step_seconds": 0.1, "data_seconds": 0.01}
            for step in range(1, num_lines + 1)
        ]
        if rows:
            rows[-1] |= {"validation_mse": 0.25, "validation_usage_0": 0.5, "validation_perplexity_0": 3.0}
        (directory / "tokenizer" / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return directory

    return begin


@pytest.fixture
def snapshot():
    """Give names, times and contents of everything in a folder."""

    def take(directory):
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.rglob("*") if path.is_file()}

    return take


@pytest.fixture
def noise():
    """uint8 pixels `(H, W, 3)`."""
    return np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
