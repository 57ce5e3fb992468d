"""A card tells what is known and measured, each with its protocol, and says what is not."""

import math
import re
from dataclasses import replace

import pytest
import torch

import toy_results as toy
from vqvae2.config import SamplingConfig
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.model_card import CardFacts
from vqvae2.pipeline.pipeline import Pipeline

FULL_PROTOCOL = (
    "reference training images of toys (777 images, hash f00d); at 10x12 pixels; resize crop, Lanczos; network Lite0; "
    "vqvae2 9.8.7."
)


@pytest.fixture
def card(pipeline, tmp_path):
    """Write a card, given results, and read it."""

    def make(pipeline=pipeline, results=None, evaluation=None, are_own=True, **options):
        measured = tmp_path / "run"
        (measured / "evaluation").mkdir(parents=True, exist_ok=True)
        own = pipeline.fingerprints()
        for path, found in (("results.json", results), ("evaluation/results.json", evaluation)):
            if found is not None:
                found = replace(found, pipeline=own) if are_own else found
                found.write(measured / path)
        pipeline.save_pretrained(tmp_path / "p", facts=CardFacts(measured=measured, **options))
        return (tmp_path / "p" / "README.md").read_text(encoding="utf-8")

    return make


@pytest.fixture
def parts(sharp_pipeline, tmp_path):
    """Cut the card of a pipeline with two decoders at its headings, given results of each by their folder."""

    def make(pipeline=sharp_pipeline, **results):
        for folder, (decoder, found) in results.items():
            path = tmp_path / "run" / ("" if folder == "run" else folder.replace("_", "-")) / "results.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(found, pipeline=pipeline.fingerprints(decoder), decoder=decoder).write(path)
        pipeline.save_pretrained(tmp_path / "p", facts=CardFacts(measured=tmp_path / "run"))
        text = (tmp_path / "p" / "README.md").read_text(encoding="utf-8")
        headings = re.findall(r"^##+ (.*)$", text, re.MULTILINE)
        return dict(zip(["", *headings], re.split(r"^##+ .*$", text, flags=re.MULTILINE), strict=True))

    return make


def with_psnr(results, psnr_db):
    errors = results.reconstruction
    return replace(results, reconstruction=replace(errors, validation=replace(errors.validation, psnr_db=psnr_db)))


def test_the_head_is_what_the_hub_reads(card):
    opening, *lines = card(license="cc0-1.0").splitlines()
    assert opening == lines[4] == "---"
    assert lines[:3] == ["library_name: vqvae2", "license: cc0-1.0", "pipeline_tag: unconditional-image-generation"]
    assert "vq-vae-2" in lines[3]
    unlicensed = card()
    assert "\nlicense: unknown\n" in unlicensed
    assert "Licence of the weights: not said by whoever made this card" in unlicensed


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
    text = card(results=toy.of_run(), data_name="Fluent emoji")
    assert "- Trained on: Fluent emoji.\n- Training images: 1,234.\n- Held out: 50 images." in text
    alone = Pipeline(pipeline.tokenizer, PipelineConfig(image_size=(16, 24)))
    assert "- Training images: not recorded.\n- Classes: none." in card(alone)


def test_results_of_a_run_are_told_with_their_protocol_and_what_is_not_measured_is_named(card):
    missing = "Not measured, or not told here: "
    unmeasured = "distance of samples to real images, classification accuracy score, memorization."
    assert f"{missing}error of reconstructions, likelihood of codes, {unmeasured}" in card()
    text = card(results=toy.of_run())
    assert (
        "- Held-out images reconstructed: MSE 0.0123 with pixels in -1..1, PSNR 25.10 dB, SSIM 0.9050. "
        "Protocol: 50 images; reference training images of toys (777 images, hash f00d); at 10x12 pixels; "
        "resize crop, Lanczos; vqvae2 9.8.7."
    ) in text
    assert "0.345 bits per pixel of the image; nats per code: top 3.21, bottom 2.46." in text
    assert missing + unmeasured in text


def test_results_of_an_evaluation_go_before_and_each_has_its_protocol(card):
    found = toy.of_evaluation(Lite0=0.0)
    errors, quality = found.reconstruction, found.quality["Lite0"]
    better = replace(errors, validation=replace(errors.validation, psnr_db=29.0))
    few = replace(quality, sets=(*quality.sets[:-1], replace(quality.sets[-1], recall=math.nan)))
    text = card(results=toy.of_run(), evaluation=replace(found, reconstruction=better, quality={"Lite0": few}))
    assert text.count("Protocol: 50 images; reference training images of toys") == 5
    assert text.count(FULL_PROTOCOL) == 2
    assert "PSNR 29.00 dB" in text
    assert "PSNR 25.10 dB" not in text
    header = "| set | Fréchet distance | Fréchet distance to held-out images | kernel distance | precision | recall |"
    assert f"{header} inception score |\n|---|" in text
    assert "| validation images | 1 |  | 1.01 | 1.03 | 1.04 | 1.02 |" in text
    assert "| samples | 3 | 3.5 | 3.01 | 3.03 | 3.04 | 3.02 |" in text
    assert "| noise | 4 | 4.5 | 4.01 | 4.03 |  | 4.02 |" in text
    assert "real 81.2%" in text
    assert "43.2% of the samples" in text
    assert "Not measured" not in text


@pytest.mark.parametrize(("default", "other"), [("sharp", "faithful"), ("faithful", "sharp")])
def test_a_card_tells_two_decoders_and_their_sizes(parts, sharp_pipeline, default, other, tmp_path):
    text = parts(sharp_pipeline.using(default))
    assert f'The default is `{default}`; for the other one, take `pipeline.using("{other}")`' in text[""]
    assert f"`--decoder {other}`" in text[""]
    count = sum(parameter.numel() for parameter in sharp_pipeline.sharp_decoder.parameters())
    size = (tmp_path / "p" / "sharp-decoder" / "model.safetensors").stat().st_size
    assert f"| `sharp-decoder` | {count:,} | {size:,} |" in text["Sizes"]
    headings = [f"Decoded by the {decoder} decoder" for decoder in (default, other)]
    assert list(text)[3:-1] == ["Measured", *headings]
    for heading, missing in (
        ("Measured", "likelihood of codes."),
        (headings[0], "error of"),
        (headings[1], "error of"),
    ):
        assert f"Not measured, or not told here: {missing}" in text[heading]


def test_results_of_two_decoders_are_told_apart(parts):
    sharp = with_psnr(toy.of_evaluation(Lite0=0.0), 21.0)
    text = parts(run=("faithful", toy.of_run()), evaluation_sharp=("sharp", sharp))
    assert "PSNR 25.10 dB" in text["Decoded by the faithful decoder"]  # measured before there was another
    assert "PSNR 21.00 dB" in text["Decoded by the sharp decoder"]
    assert "in features of Lite0" in text["Decoded by the sharp decoder"]
    assert "Not measured" not in text["Decoded by the sharp decoder"]
    missing = "distance of samples to real images, classification accuracy score, memorization."
    assert f"Not measured, or not told here: {missing}" in text["Decoded by the faithful decoder"]
    assert [name for name, part in text.items() if "0.345 bits per pixel" in part] == ["Measured"]
    assert "- Training images: 1,234.\n- Held out: 50 images." in text["Data"]


def test_an_evaluation_goes_before_a_run_of_the_same_decoder(parts):
    run, evaluation = ("sharp", with_psnr(toy.of_run(), 21.0)), ("sharp", with_psnr(toy.of_evaluation(), 22.0))
    text = parts(run=run, evaluation=("faithful", toy.of_evaluation()), evaluation_sharp=evaluation)
    assert "PSNR 22.00 dB" in text["Decoded by the sharp decoder"]
    assert "PSNR 25.10 dB" in text["Decoded by the faithful decoder"]
    assert not any("PSNR 21.00 dB" in part for part in text.values())


def test_results_of_other_models_are_not_told_and_damaged_ones_are_named(card, tmp_path):
    assert "PSNR" not in card(results=toy.of_run(), evaluation=toy.of_evaluation(), are_own=False)
    (tmp_path / "run" / "results.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"results\.json .*delete it, and run"):
        card()


def test_names_of_others_cannot_write_markdown(card, pipeline):
    config = PipelineConfig(
        image_size=(16, 24), classes=("a`\n# Hacked", "<script>", "[x](y)"), class_counts=(1, 1, 1), has_priors=False
    )
    text = card(Pipeline(pipeline.tokenizer, config), data_name="x\n\n# Hacked <b>")
    assert "\n# Hacked" not in text
    assert "<script>" not in text
    assert "(y)" not in text or "](y)" not in text


@pytest.mark.parametrize("kind", ["with priors", "without", "with two decoders"])
def test_the_code_of_a_card_works(card, pipeline, sharp_pipeline, kind, tmp_path, monkeypatch):
    bare = Pipeline(pipeline.tokenizer, PipelineConfig(image_size=(16, 24)))
    text = card({"with priors": pipeline, "without": bare, "with two decoders": sharp_pipeline}[kind])
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["reconstructions"].shape == names["images"].shape == (4, 3, 16, 24)
    assert torch.is_tensor(names["images"])
    assert ("faithful" in names) == (kind == "with two decoders")
    assert not torch.equal(names.get("faithful", names["images"]), names["reconstructions"])


def test_sampling_settings_are_told_beside_what_temperature_1_gives(sharp_pipeline, parts):
    plain, tried, own = (SamplingConfig(temperature=(value, 1.0)) for value in (1.0, 0.5, 0.9))
    name = "Sampling settings"
    assert name not in parts()
    tuned = replace(sharp_pipeline, config=replace(sharp_pipeline.config, sampling=own))
    assert parts(tuned)[name].strip() == (
        "Images are drawn with temperature 0.9 / 1 unless other settings are given. Values of levels: top first."
    )
    found = replace(toy.of_evaluation(Lite0=0.0), tuning={"Lite0": toy.tuning("Lite0", (plain, tried, own))})
    text = parts(tuned, tuning=("faithful", found))[name]
    assert "features of Lite0, decoded by the faithful decoder. The settings were chosen among 3 on these" in text
    assert FULL_PROTOCOL in text
    header, _, *rows = (line for line in text.splitlines() if line.startswith("|"))
    assert header == "| settings | Fréchet distance to held-out images | kernel distance | precision | recall |"
    assert rows == ["| temperature 1 | 7 | 7.01 | 7.03 | 7.04 |", "| temperature 0.9 / 1 | 5 | 5.01 | 5.03 | 5.04 |"]
    assert "was not measured" not in text
    text = parts(sharp_pipeline, tuning=("faithful", found))[name]
    assert text.count("\n| temperature") == 1
    other = replace(tuned, config=replace(tuned.config, sampling=SamplingConfig(top_k=(2,))))
    assert "Drawing with top-k 2 was not measured so." in parts(other, tuning=("faithful", found))[name]


def test_the_settings_of_samples_are_told_with_their_scores(card):
    found = toy.of_evaluation(Lite0=0.0)
    lite0 = found.quality["Lite0"]
    protocol = replace(lite0.protocol, sampling=SamplingConfig(top_p=(0.9, 1.0)))
    text = card(evaluation=replace(found, quality={"Lite0": replace(lite0, protocol=protocol)}))
    assert "network Lite0; samples drawn with top-p 0.9 / 1; vqvae2 9.8.7." in text
