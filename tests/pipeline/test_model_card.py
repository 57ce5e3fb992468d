"""A card tells what is known and measured, each with its protocol, and says what is not."""

import json
import re

import pytest
import torch

from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.models.checkpoint import fingerprint
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.model_card import CardFacts
from vqvae2.pipeline.pipeline import Pipeline

PROTOCOL = {
    "reference": "training images",
    "reference_fingerprint": "ab" * 16,
    "num_reference": 1713,
    "num_images": 141,
    "image_size": [16, 24],
    "resize": "crop, Lanczos",
    "network": "Lite0",
    "versions": {"vqvae2": "0.1.0", "torch": "2.13.0"},
}
RUN = {
    "validation": {"mse": 0.0069, "psnr_db": 27.61, "ssim": 0.9169, "num_images": 141},
    "levels": [{"name": "top", "nll_nats_per_code": 3.208}, {"name": "bottom", "nll_nats_per_code": 2.554}],
    "bits_per_pixel": 0.3026,
    "num_images": {"train": 1713, "validation": 141, "skipped": 0},
    "versions": {"vqvae2": "0.1.0", "torch": "2.13.0"},
}


def evaluation_of(pipeline):
    return {
        "pipeline": {
            "tokenizer": fingerprint(pipeline.tokenizer),
            "priors": [fingerprint(prior) for prior in pipeline.priors],
        },
        "reconstruction": {"validation": {"mse": 0.005, "psnr_db": 29.0, "ssim": 0.93}, "protocol": PROTOCOL},
        "likelihood": {"bits_per_pixel": 0.31, "levels": [], "protocol": PROTOCOL},
        "quality": {
            "Lite0": {
                "sets": [
                    {"set": "validation images", "frechet_distance": 1.5, "precision": 0.9, "recall": 0.8},
                    {"set": "samples", "frechet_distance": 12.25, "precision": 0.7, "recall": float("nan")},
                ],
                "protocol": PROTOCOL,
            }
        },
        "accuracy": {"classifiers": [{"trained_on": "real", "top1": 0.61}], "protocol": PROTOCOL},
        "memorization": {"Lite0": {"share_nearer": 0.123, "protocol": PROTOCOL}},
    }


@pytest.fixture
def card(pipeline, tmp_path):
    """Write a card, given results, and read it."""

    def make(pipeline=pipeline, results=None, evaluation=None, **options):
        measured = tmp_path / "run"
        (measured / "evaluation").mkdir(parents=True, exist_ok=True)
        for path, values in (("results.json", results), ("evaluation/results.json", evaluation)):
            if values is not None:
                (measured / path).write_text(json.dumps(values))
        pipeline.save_pretrained(tmp_path / "p", facts=CardFacts(measured=measured, **options))
        return (tmp_path / "p" / "README.md").read_text(encoding="utf-8")

    return make


def head(text):
    assert text.startswith("---\n")
    return text.split("---\n")[1].splitlines()


def test_the_head_is_what_the_hub_reads(card):
    lines = head(card(license="cc0-1.0"))
    assert lines[:3] == ["library_name: vqvae2", "license: cc0-1.0", "pipeline_tag: unconditional-image-generation"]
    assert "- vq-vae-2" in lines


def test_a_licence_that_nobody_gave_is_unknown_and_said_to_be(card):
    text = card()
    assert "license: unknown" in head(text)
    assert "Licence of the weights: not said by whoever made this card" in text


@pytest.mark.parametrize("name", ["", "MIT", "my licence", "mit\nother: 1", "mit: x"])
def test_a_licence_is_a_short_name(name):
    with pytest.raises(ConfigError, match=r"`license` must be a short name such as 'apache-2\.0' or 'mit', got"):
        CardFacts(license=name)


def test_sizes_are_those_of_the_parts(card, pipeline, tmp_path):
    text = card()
    count = sum(parameter.numel() for parameter in pipeline.tokenizer.parameters())
    size = (tmp_path / "p" / "tokenizer" / "model.safetensors").stat().st_size
    assert f"| `tokenizer` | {count:,} | {size:,} |" in text
    assert "An image is 120 codes (top 4x6, bottom 8x12), each one of 5: 0.7256 bits per pixel" in text


def test_data_are_told_as_far_as_they_are_known(card, pipeline):
    assert "- Trained on: not named.\n- Training images: 4.\n- Classes: 2: `cat`, `dog`." in card()
    text = card(results=RUN, data_name="Fluent emoji")
    assert "- Trained on: Fluent emoji.\n- Training images: 1,713.\n- Held out: 141 images." in text
    alone = Pipeline(pipeline.tokenizer, PipelineConfig(image_size=(16, 24)))
    assert "- Training images: not recorded.\n- Classes: none." in card_without_results(card, alone)


def card_without_results(card, pipeline):
    return card(pipeline, results={}, evaluation={})


def test_without_results_all_is_called_not_measured(card):
    assert (
        "Not measured, or not told here: error of reconstructions, likelihood of codes, distance of samples to real "
        "images, classification accuracy score, memorization."
    ) in card()


def test_results_of_a_run_are_told_with_their_protocol(card):
    text = card(results=RUN)
    assert (
        "- Held-out images reconstructed: MSE 0.0069 with pixels in -1..1, PSNR 27.61 dB, SSIM 0.9169. "
        "Protocol: 141 held-out images of the run; vqvae2 0.1.0, torch 2.13.0."
    ) in text
    assert "0.3026 bits per pixel of the image; nats per code: top 3.208, bottom 2.554." in text
    assert "Not measured, or not told here: distance of samples to real images, classification" in text


def test_results_of_an_evaluation_go_before_and_each_has_its_protocol(card, pipeline):
    text = card(results=RUN, evaluation=evaluation_of(pipeline))
    protocol = (
        "Protocol: 141 images; reference training images (1,713 images, hash abababababababababababababababab); "
        "at 16x24 pixels; resize crop, Lanczos; network Lite0; vqvae2 0.1.0; torch 2.13.0."
    )
    assert text.count(protocol) == 5
    assert "PSNR 29.00 dB" in text
    assert "PSNR 27.61 dB" not in text
    assert "| set | Fréchet distance | precision | recall |\n|---|---|---|---|" in text
    assert "| samples | 12.25 | 0.7 |  |" in text
    assert "real 61.0%" in text
    assert "12.3% of the samples" in text
    assert "Not measured" not in text


def test_an_evaluation_of_other_models_is_not_told(card, pipeline):
    other = evaluation_of(pipeline) | {"pipeline": {"tokenizer": "0" * 32, "priors": []}}
    assert "PSNR" not in card(evaluation=other)


def test_damaged_results_are_named(card, tmp_path):
    card()
    (tmp_path / "run" / "results.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"results\.json is not readable .*; measure again, or leave it out"):
        card()


def test_results_of_any_shape_make_a_card_or_are_passed_over(card, pipeline):
    shapes = [None, 1, "x", [], {}, [1], {"validation": 3}, {"levels": [3, {"name": 1}], "bits_per_pixel": "x"}]
    shapes += [
        {name: value} for name in (*RUN, *evaluation_of(pipeline)) for value in (None, [], {"sets": [None]}, 1e999)
    ]
    for shape in shapes:
        if not isinstance(shape, dict):
            assert "Not measured" in card(results=shape, evaluation=shape)
        else:
            own = evaluation_of(pipeline)["pipeline"]
            assert "## Use" in card(results=RUN | shape, evaluation=evaluation_of(pipeline) | shape | {"pipeline": own})


def test_names_of_others_cannot_write_markdown(card, pipeline):
    config = PipelineConfig(
        image_size=(16, 24), classes=("a`\n# Hacked", "<script>", "[x](y)"), class_counts=(1, 1, 1), has_priors=False
    )
    text = card(Pipeline(pipeline.tokenizer, config), data_name="x\n\n# Hacked <b>")
    assert "\n# Hacked" not in text
    assert "<script>" not in text
    assert "(y)" not in text or "](y)" not in text


@pytest.mark.parametrize("with_priors", [True, False])
def test_the_code_of_a_card_works(card, pipeline, with_priors, tmp_path, monkeypatch):
    if not with_priors:
        pipeline = Pipeline(pipeline.tokenizer, PipelineConfig(image_size=(16, 24)))
    text = card(pipeline)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["reconstructions"].shape == names["images"].shape == (4, 3, 16, 24)
    assert torch.is_tensor(names["images"])
