"""What trackers are told of a training, read back from TensorBoard's own files."""

import importlib.util
import json

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from toy_models import TOY_TOKENIZER
from vqvae2.config import ImageConfig, PixelSNAILConfig, PriorTrainingConfig, RunConfig, TokenizerTrainingConfig
from vqvae2.data import ImageFolder
from vqvae2.errors import ConfigError
from vqvae2.images import decode_image
from vqvae2.runs.run import Run
from vqvae2.training.loop import fit
from vqvae2.training.runtime import choose_runtime
from vqvae2.training.tracking import Tracking

STEPS = {"steps": 6, "batch_size": 8, "max_validations": 2, "checkpoint_seconds": 0.0}


def read_events(folder):
    """Return scalars and images of all event files in a folder, by tag: each value with its step."""
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0}).Reload()
    tags = events.Tags()
    scalars = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags["scalars"]}
    images = {
        tag: [(event.step, decode_image(event.encoded_image_string, channels=3)) for event in events.Images(tag)]
        for tag in tags["images"]
    }
    return scalars, images


@pytest.fixture
def tracked(tmp_path):
    return choose_runtime("cpu", "float32", tracking=Tracking(("tensorboard",), tmp_path))


def test_a_run_is_told_stage_by_stage(image_folder, tmp_path, tracked):
    prior = PixelSNAILConfig(hidden_channels=8, residual_channels=8, num_layers=1, num_heads=2, conditioning_layers=1)
    trainings = {
        "tokenizer_training": TokenizerTrainingConfig(**STEPS),
        "prior_trainings": (PriorTrainingConfig(**STEPS),),
    }
    images = ImageConfig(size=(16, 16))
    config = RunConfig(minutes=0.0, images=images, tokenizer=TOY_TOKENIZER, priors=(prior,), **trainings)
    run = Run.create(tmp_path / "run", config, runtime=tracked)
    images = run.prepare_images(ImageFolder(image_folder))
    run.train_tokenizer()
    run.extract_codes()
    for level in (0, 1):
        run.train_prior(level)
    scalars, pictures = read_events(tmp_path / "tracking" / "vqvae2")

    for stage in ("tokenizer", "prior-top", "prior-bottom"):
        rows = [json.loads(line) for line in (run.directory / stage / "log.jsonl").read_text().splitlines()]
        for name in {name for row in rows for name in row} - {"step"}:
            expected = [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows if name in row]
            assert scalars.pop(f"{stage}/{name}") == expected
    assert not scalars

    assert {tag: [step for step, _ in shown] for tag, shown in pictures.items()} == {
        "tokenizer/reconstructions": [5, 6],
        "tokenizer/previews": [5, 6],
        "samples/drawn": [6],
    }
    shapes = {tag: shown[-1][1].shape for tag, shown in pictures.items()}
    assert [shape[0] // 18 for shape in shapes.values()] == [2, 1, 1]  # rows of images, with the gap between them
    assert shapes["samples/drawn"] == (20, 8 * 18 + 2, 3)
    original = pictures["tokenizer/reconstructions"][0][1][2:18, 2:18]
    assert np.array_equal(original, images.read(images.indices("validation")[:1])[0])

    files = sorted((tmp_path / "tracking").rglob("*events*"))
    run.train_prior(1)  # is done, so there is nothing to tell
    assert sorted((tmp_path / "tracking").rglob("*events*")) == files


def test_trackers_change_nothing_and_hear_each_step_after_a_resume(make_task, tmp_path, runtime, tracked):
    def interrupt(progress):
        if progress.done == 5:  # the state of step 4 has been written by then
            raise KeyboardInterrupt

    def train(folder, runtime, on_progress=None):
        task, training = make_task(**STEPS)
        with runtime.tracker.stage("tokenizer"):
            return fit(task, training, tmp_path / folder, runtime=runtime, on_progress=on_progress)

    silent = train("silent", runtime)
    assert not list(tmp_path.rglob("*events*"))
    with pytest.raises(KeyboardInterrupt):
        train("told", tracked, interrupt)
    assert train("told", tracked).validation == silent.validation
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("silent", "told")]
    assert models[0] == models[1]
    losses = read_events(tmp_path / "tracking" / "vqvae2")[0]["tokenizer/loss"]
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5, 5, 6]  # only the step that was lost comes twice
    assert losses[4] == losses[5]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_missing_tracker_names_its_extra(tmp_path, name):
    if importlib.util.find_spec(name) is not None:
        pytest.skip(f"{name} is installed")
    with pytest.raises(ConfigError, match=rf"`log_to` {name} .* pip install 'vqvae2\[{name}\]'"):
        Tracking(("tensorboard", name), tmp_path)
