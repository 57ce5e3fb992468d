"""Several processes come to what one comes to: models to rounding, files to the bit."""

import functools
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from toy_models import TOY_TOKENIZER
from vqvae2.config import (
    ClassifierConfig,
    CodeSpace,
    ExtractionConfig,
    ImageConfig,
    PixelSNAILConfig,
    PriorConfig,
    ResNetConfig,
)
from vqvae2.data import ImageFolder, prepare_images
from vqvae2.images import encode_png
from vqvae2.models.checkpoint import build_model, fingerprint, save_model
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.training.extraction import extract_codes

pytestmark = pytest.mark.xdist_group("processes")  # one job for all of them
JOB = Path(__file__).parent / "job.py"
SIZE = (16, 16)


def run_together(count: int, *command: object) -> list[str]:
    """Run a command in several processes that find each other; give what each wrote to stderr."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    common["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # for what the tests share
    processes = []
    for rank in range(count):
        variables = common | {"RANK": rank, "LOCAL_RANK": rank}
        environment = os.environ | {name: str(value) for name, value in variables.items()}
        processes.append(
            subprocess.Popen([sys.executable, *map(str, command)], env=environment, stderr=subprocess.PIPE, text=True)
        )
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * count, "\n".join(errors)
    return errors


@pytest.fixture(params=[2, pytest.param(3, marks=pytest.mark.slow)])
def count(request):
    """How many processes work together."""
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What all processes are given."""
    folder = tmp_path_factory.mktemp("together")
    torch.manual_seed(0)
    write_images(folder / "photos")
    config = ImageConfig(size=SIZE, validation_fraction=0.3)
    images = prepare_images(ImageFolder(folder / "photos"), folder / "images", config)
    tokenizer = VQVAE2(TOY_TOKENIZER).eval()
    config = PipelineConfig(image_size=SIZE, classes=images.classes, class_counts=(14, 14), has_priors=True)
    priors = [prior(level, fingerprint(tokenizer)) for level in (0, 1)]
    Pipeline(tokenizer, config, priors).save_pretrained(folder / "pipeline")
    views = ExtractionConfig(augment=1, horizontal_flips=True)
    extract_codes(tokenizer, images, folder / "codes", extraction=views)
    network = ResNetConfig(hidden_channels=8, num_blocks=(1, 1))
    classifier = build_model(ClassifierConfig(classes=images.classes, network=network)).eval()
    save_model(classifier, folder / "classifier.safetensors")
    return folder


@pytest.fixture(scope="module")
def given(folder):
    """Let so many processes do their job, once; give what each of them came to."""

    @functools.cache
    def run(count: int) -> list[dict[str, Any]]:
        (folder / str(count)).mkdir()
        run_together(count, JOB, folder)
        files = [folder / str(count) / f"process{index}.pt" for index in range(count)]
        return [torch.load(file, weights_only=False) for file in files]

    return run


def write_images(folder):
    """Forty small images in two classes."""
    for index in range(40):
        path = folder / ("a", "b")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(torch.randint(0, 256, (*SIZE, 3), dtype=torch.uint8).numpy()))


def prior(level, tokenizer):
    space = CodeSpace(
        level=level,
        num_embeddings=TOY_TOKENIZER.codebook_sizes[: level + 1],
        upsampling=tuple(2 ** (level - above) for above in range(level)),
        num_classes=2,
    )
    network = PixelSNAILConfig(
        hidden_channels=8, residual_channels=8, num_layers=2, attention_every=2, num_heads=2, conditioning_layers=1
    )
    model = build_model(PriorConfig(space=space, network=network, tokenizer=tokenizer))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def same_files(folder: Path, other: Path) -> bool:
    files = sorted(path.name for path in folder.iterdir())
    assert files == sorted(path.name for path in other.iterdir())
    return all((folder / name).read_bytes() == (other / name).read_bytes() for name in files)


def test_work_is_spread_and_the_first_decides_and_all_hear_of_both(given, count):
    for index, size, result in [(0, 1, *given(1)), *((index, count, each) for index, each in enumerate(given(count)))]:
        found = result["primitives"]
        assert found["index"] == index
        assert found["spread"] == [(item, item % size) for item in range(7)]
        assert found["any"] == (True, False)
        assert found["decided"] == (0, 1)
        assert found["failure"] == ("not these images", index > 0)


@pytest.mark.parametrize(
    "kind",
    [
        *("ema", "codebook-loss", "prior", "sharded pixelsnail", "sharded transformer"),
        *("decoder", "decoder of pixels"),
    ],
)
def test_a_training_comes_to_the_same_model(given, count, kind):
    expected = given(1)[0]["trainings"][kind]
    # Where gradients vanish, Adam enlarges rounding; with a codebook learned by gradient they do at codes that restart.
    atol = 1e-6 if kind == "codebook-loss" else 1e-8
    for result in given(count):
        trained = result["trainings"][kind]
        assert trained.get("is_divided", True)
        assert trained["validation"] == pytest.approx(expected["validation"], rel=1e-6)
        for name, value in expected["weights"].items():
            torch.testing.assert_close(trained["weights"][name], value, rtol=1e-6, atol=atol, msg=name)


def test_all_processes_have_the_same_classifier(given, count):
    first, *others = [result["classifier"] for result in given(count)]
    for other in others:
        assert other["validation"] == first["validation"]
        assert all(torch.equal(value, other["weights"][name]) for name, value in first["weights"].items())


def test_all_are_given_the_samples_that_one_would_draw(given, count):
    expected = given(1)[0]["samples"]
    for result in given(count):
        for stream, expected_stream in zip(result["samples"], expected, strict=True):
            for sample, wanted in zip(stream, expected_stream, strict=True):
                assert sample[0] == wanted[0]
                assert torch.equal(sample[1], wanted[1])
                assert sample[2:] == wanted[2:]


def test_extraction_and_evaluation_write_and_measure_the_same(given, folder, count):
    for result in given(count):
        assert result["evaluation"] == given(1)[0]["evaluation"]
    for name in ("codes", "evaluation/samples", "evaluation/reconstructions"):
        assert same_files(folder / "1" / name, folder / str(count) / name)


def test_the_command_draws_the_same_files_and_speaks_once(folder, tmp_path, count):
    command = ("-m", "vqvae2", "sample", folder / "pipeline", "--num-images=10", "--batch-size=3", "--device=cpu")
    for processes in (1, count):
        said = run_together(processes, *command, "--out", tmp_path / str(processes))
        assert [bool(text) for text in said] == [index == 0 for index in range(processes)]
    assert same_files(tmp_path / "1", tmp_path / str(count))
