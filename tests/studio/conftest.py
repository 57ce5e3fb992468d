"""A studio's context at toy size, runs whose logs are written by hand, and a studio that a browser looks at."""

import json
import os
import shutil
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch

from vqvae2.config.presets import RunConfig
from vqvae2.data import BUILTIN_GROUP_PATTERN, BuiltinImages, prepare_images
from vqvae2.images import decode_image, encode_png
from vqvae2.models.checkpoint import LAST_MODEL_FILE, MODEL_FILE
from vqvae2.pipeline.folder import RUN_FILE, TOKENIZER_FOLDER
from vqvae2.pipeline.hub import BUILTIN, find_pipeline_folder
from vqvae2.runs.record import RunRecord
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


@pytest.fixture(scope="session")
def emoji():
    """One of the built-in images, uint8 `(64, 64, 3)`."""
    return decode_image(BuiltinImages()[300].data, channels=3)


class _FewImages:
    """Some of the built-in images, which are prepared in no time. An `ImageSource`."""

    origin, given_validation, units = "test", None, None

    def __init__(self):
        everything = BuiltinImages()
        self._records = [everything[index] for index in range(0, len(everything), 30)]
        self.names = tuple(record.name for record in self._records)
        self.classes, self.labels = everything.classes, np.array([record.label for record in self._records])

    def __len__(self):
        return len(self._records)

    def __getitem__(self, index):
        return self._records[index]


@pytest.fixture(scope="session")
def log_steps():
    """Let the tokenizer's training of a run log some steps."""

    def log(run, steps):
        with (run / TOKENIZER_FOLDER / "log.jsonl").open("a") as file:
            for step in steps:
                row = {"step": step, "loss": 1.0 / step, "reconstruction_mse": 0.5 / step, "validation_mse": 0.6 / step}
                file.write(json.dumps(row | {"step_seconds": 0.1, "data_seconds": 0.01}) + "\n")

    return log


@pytest.fixture(scope="session")
def runs(tmp_path_factory, log_steps, emoji):
    """A folder with a run in the middle of its tokenizer's training, and one that has a report."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("finished", "in-training"):
        record = RunRecord.begin(folder / name, RunConfig())
        record.steps["train tokenizer"] = 500
        record.save()
        (folder / name / TOKENIZER_FOLDER).mkdir()
        log_steps(folder / name, range(10, 210, 10))
    (folder / "finished" / "report.html").write_text("<!DOCTYPE html><h1>What happened</h1>")
    (folder / "finished" / "reconstructions.png").write_bytes(encode_png(emoji))
    middle = folder / "in-training"
    prepare_images(_FewImages(), middle / "images", size=(64, 64), channels=3, group_pattern=BUILTIN_GROUP_PATTERN)
    tokenizer = find_pipeline_folder(BUILTIN) / TOKENIZER_FOLDER / MODEL_FILE
    shutil.copy(tokenizer, middle / TOKENIZER_FOLDER / LAST_MODEL_FILE)
    os.utime(middle / RUN_FILE)  # it comes first
    return folder


@pytest.fixture(scope="session")
def studio(runs):
    """The built-in pipeline's studio, in a process of its own."""
    from studio_browser import start_studio  # which needs playwright, and most tests do not

    with start_studio(BUILTIN, "--runs", runs, "--device", "cpu") as started:
        yield started


@pytest.fixture(scope="session")
def browser():
    """A browser's context."""
    from studio_browser import open_browser

    with open_browser() as opened:
        yield opened.new_context(viewport={"width": 1400, "height": 900})


@pytest.fixture
def new_page(studio, browser):
    """Open pages that are watched: at the end, none may have met an error or asked another host."""
    from studio_browser import open_page

    pages, troubles = [], []

    def watch(page):
        pages.append(page)
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))

    def ask(request):
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob", "about") and address.netloc != urlsplit(studio.address).netloc:
            troubles.append(f"asked {request.url}")

    browser.on("page", watch)
    browser.on("request", ask)
    yield lambda: open_page(browser, studio)
    for page in pages:
        page.close()
    browser.remove_listener("page", watch)
    browser.remove_listener("request", ask)
    assert not troubles
