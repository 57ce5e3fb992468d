"""The recipes at toy size, and what a training of one leaves."""

import json
from dataclasses import replace

import pytest

from toy_models import TOY_TOKENIZER, ToyFeatureMaps
from vqvae2.config import (
    ClassifierConfig,
    ClassifierTrainingConfig,
    CodeSpace,
    DecoderTrainingConfig,
    ExtractionConfig,
    PixelSNAILConfig,
    PriorConfig,
    PriorTrainingConfig,
    ResNetConfig,
    TokenizerTrainingConfig,
)
from vqvae2.training.classifier import ClassifierTask
from vqvae2.training.decoder import DecoderTask
from vqvae2.training.extraction import extract_codes
from vqvae2.training.loop import fit
from vqvae2.training.prior import PriorTask
from vqvae2.training.tokenizer import TokenizerTask

# Every step writes a state, every fourth ends an epoch of the 28 training images.
STEPS = {"steps": 12, "batch_size": 8, "max_validations": 3, "checkpoint_seconds": 0.0, "horizontal_flips": True}
TRAININGS = {
    "tokenizer": TokenizerTrainingConfig(**STEPS),
    "prior": PriorTrainingConfig(**STEPS),
    "classifier": ClassifierTrainingConfig(**STEPS),
    "decoder": DecoderTrainingConfig(ramp_steps=4, loss_network_pixels=16, **STEPS),
}
NETWORK = PixelSNAILConfig(
    hidden_channels=8, residual_channels=8, num_layers=2, attention_every=2, num_heads=2, conditioning_layers=1
)
CLASSIFIER = ClassifierConfig(
    classes=("squares", "stripes"), network=ResNetConfig(hidden_channels=8, num_blocks=(1, 1))
)


@pytest.fixture
def codes(image_store, tmp_path):
    tokenizer = TokenizerTask(TOY_TOKENIZER, image_store, TRAININGS["tokenizer"]).model.eval()
    extraction = ExtractionConfig(augment=1, horizontal_flips=True)
    return extract_codes(tokenizer, image_store, tmp_path / "codes", extraction=extraction)


@pytest.fixture
def prior_config(codes):
    space = CodeSpace.of_level(1, num_embeddings=codes.num_embeddings, shapes=codes.shapes, num_classes=2)
    return PriorConfig(space=space, network=NETWORK, tokenizer=codes.fingerprint)


@pytest.fixture
def make_task(image_store, request):
    """Make the task of a kind, with changes to its config; give it with its training, changed too."""

    def make_decoder(config, images, training):
        tokenizer = TokenizerTask(config, images, TRAININGS["tokenizer"]).model
        return DecoderTask(tokenizer, images, training, None if training.loss_network == "none" else ToyFeatureMaps())

    def make(kind="tokenizer", *, changes=None, **training_changes):
        training = replace(TRAININGS[kind], **training_changes)
        if kind == "prior":
            config, data, task = request.getfixturevalue("prior_config"), request.getfixturevalue("codes"), PriorTask
        elif kind == "classifier":
            config, data, task = CLASSIFIER, image_store, ClassifierTask
        else:
            task = make_decoder if kind == "decoder" else TokenizerTask
            config, data = TOY_TOKENIZER, image_store
        return task(replace(config, **(changes or {})), data, training), training

    return make


@pytest.fixture
def train(make_task, tmp_path, runtime):
    """Train a new task of a kind in a folder; give the task and how it ended."""

    def run(folder, kind="tokenizer", *, on_progress=None, on_warning=None, **changes):
        task, training = make_task(kind, **changes)
        options = {"runtime": runtime, "on_progress": on_progress, "on_warning": on_warning}
        return task, fit(task, training, tmp_path / folder, **options)

    return run


@pytest.fixture
def train_until(train):
    """Train until a step's state is written, and be interrupted."""

    def run(folder, step, kind="tokenizer", **changes):
        def interrupt(progress):
            if progress.done == step + 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(folder, kind, on_progress=interrupt, **changes)

    return run


@pytest.fixture
def read_log(tmp_path):
    return lambda folder: [json.loads(line) for line in (tmp_path / folder / "log.jsonl").read_text().splitlines()]
