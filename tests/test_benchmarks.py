"""The benchmarks run, and their plain port is what it is said to be."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from toy_models import TOY_TOKENIZER
from vqvae2 import VQVAE2, ClassifierConfig, ImageConfig, Pipeline, PipelineConfig, ResNetConfig, RunConfig, export_onnx
from vqvae2.data import ImageFolder, prepare_images
from vqvae2.models.checkpoint import build_model, fingerprint, save_model
from vqvae2.models.classifier import ResNetClassifier
from vqvae2.runs.record import RunRecord
from vqvae2.training.extraction import extract_codes

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def run(run_script, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return lambda script, *arguments: run_script(BENCHMARKS / script, *arguments)


@pytest.fixture
def judge(tmp_path):
    """File of a network that compares images."""
    network = ResNetClassifier(ClassifierConfig(classes=("a", "b"), network=ResNetConfig(hidden_channels=2)))
    save_model(network, tmp_path / "judge.safetensors")
    return tmp_path / "judge.safetensors"


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import plain

    return plain


@pytest.mark.parametrize(("strides", "sides"), [((4,), [8]), ((4, 2), [8, 4]), ((8, 2, 2), [4, 2, 1])])
def test_the_plain_port_has_the_levels_that_are_asked_for(plain, strides, sides):
    model = plain.PlainVQVAE2(strides, hidden=8, residual=4, num_embeddings=16, embedding_dim=4)
    images = torch.rand(16, 3, 32, 32)
    model.start_from(images)
    reconstruction, codes, loss = model(images)
    assert reconstruction.shape == images.shape
    assert [level.shape for level in codes] == [(16, side, side) for side in sides]
    assert loss.isfinite()


def test_the_plain_quantizer_takes_the_nearest_code(plain):
    quantizer = plain.OneHotQuantizer(16, 4).eval()
    features = torch.randn(2, 3, 3, 4)
    _, codes, _ = quantizer(features)
    assert torch.equal(codes, torch.cdist(features, quantizer.codebook.t()).argmin(-1))


@pytest.mark.slow
def test_the_quantizers_are_compared(run, tmp_path):
    out = tmp_path / "speed.json"
    table = run("tokenizer.py", "quantizer", "--rounds=1", "--warmup=0", "--steps=1", "--threads=1", f"--out={out}")
    assert all(f"| {name} |" in table for name in ("plain port", "library", "ours"))
    assert [row["contender"] for row in json.loads(out.read_text())["quantizer, cpu"]["rows"]][-1] == "ours"


@pytest.mark.slow
@pytest.mark.parametrize(("what", "ours"), [("train --loading", 2), ("profile", 2), ("encode", 1)])
def test_the_tokenizers_are_compared(run, what, ours):
    table = run(
        "tokenizer.py", *what.split(), "--batch-size=1", "--rounds=1", "--warmup=0", "--steps=1", "--device=cpu"
    )
    assert table.count("ours, ") == ours


def test_the_steps_of_a_preset_are_timed(run):
    options = ("--batch-size=1", "--steps=1", "--ways", "float32", "--profile", "--device=cpu")
    table = run("steps.py", "cpu32", *options)
    assert all(f"| {model}, float32 | 1 |" in table for model in ("tokenizer", "prior 0", "prior 1"))


@pytest.mark.slow
def test_quality_is_compared_at_equal_time(run, tmp_path):
    out, picture = tmp_path / "quality.json", tmp_path / "quality.svg"
    table = run("quality.py", "--minutes=0.02", "--validations=2", "--tiny", "--out", out, "--plot", picture)
    assert set(json.loads(out.read_text())) == {"ours", "plain", "plain-zero-start"}
    assert "| ours |" in table
    assert "<svg" in picture.read_text()


def test_one_image_is_followed_through_compress(run):
    printed = run("trace.py")
    assert "pipeline/pipeline.py: Pipeline.compress" in printed
    assert "sampling/walk.py" in printed


def test_precision_is_measured(run, image_store, tmp_path):
    run_folder = tmp_path / "run"
    pipeline = Pipeline(VQVAE2(TOY_TOKENIZER).eval(), PipelineConfig(image_size=image_store.size))
    pipeline.save_pretrained(run_folder)
    shutil.copytree(tmp_path / "images", run_folder / "images")
    printed = run("precision.py", run_folder)
    assert "top: " in printed
    assert "bfloat16: MSE" in printed


@pytest.mark.slow
def test_exported_graphs_are_timed_beside_torch(run, sharp_pipeline, tmp_path):
    sharp_pipeline.save_pretrained(tmp_path / "p")
    export_onnx(sharp_pipeline, tmp_path / "onnx")
    printed = run("export.py", tmp_path / "p", tmp_path / "onnx", "--rounds=1", "--out", tmp_path / "rates.json")
    rows = json.loads((tmp_path / "rates.json").read_text())["images_per_second"]
    assert [(row["work"], row["batch_size"]) for row in rows] == [
        (work, size) for size in (1, 32) for work in ("encode", "decode, sharp", "decode, faithful")
    ]
    assert printed.count("onnxruntime") == 6


def test_outliers_are_told_by_bits_and_by_error(run, tmp_path):
    for folder, rows in (("inside", [(1.0, 5.0), (2.0, 6.0)]), ("outside", [(1.5, 4.0), (3.0, 3.0)])):
        (tmp_path / folder).mkdir()
        images = [{"bits": bits, "bits_of_levels": [bits], "mse": mse} for bits, mse in rows]
        (tmp_path / folder / "scores.json").write_text(json.dumps({"images": images}))
    printed = run("outliers.py", tmp_path / "inside", tmp_path / "outside")
    assert "bits: 0.750 (2 inside, 2 outside)" in printed
    assert "squared error: 0.000" in printed


@pytest.mark.slow
def test_collapse_is_measured(run):
    table = run("collapse.py", "--codes=512", "--steps=2", "--only", "no revival", "no warm start")
    assert "| built-in | 512 | no warm start |" in table


def test_priors_are_compared_at_equal_time_and_go_on_where_they_were(run, image_store, tmp_path):
    run_folder, out = tmp_path / "run", tmp_path / "priors.json"
    RunRecord.begin(run_folder, RunConfig(images=ImageConfig(size=image_store.size), tokenizer=TOY_TOKENIZER))
    extract_codes(VQVAE2(TOY_TOKENIZER).eval(), image_store, run_folder / "codes")
    arguments = [run_folder, "--minutes=0.01", "--tiny", "--threads=1", "--device=cpu", "--out", out]
    arguments += ["--folder", tmp_path / "trainings"]
    table = run("priors.py", *arguments)
    results = json.loads(out.read_text())
    assert list(results) == ["frequency alone", "code above alone", "pixelsnail", "transformer"]
    assert all(f"| {name} |" in table for name in results)
    assert min(results["pixelsnail"]["planned_steps"]) >= 20
    models = {path: path.read_bytes() for path in (tmp_path / "trainings").glob("pixelsnail/*/*.safetensors")}
    assert len(models) == 4  # the best and the last of both levels
    assert run("priors.py", *arguments) == table
    assert {path: path.read_bytes() for path in models} == models


def test_the_walk_is_timed_against_forward_prefix_and_another_checkout(run, tmp_path):
    out = tmp_path / "sampling.json"
    arguments = ["--networks=file", "--grids=32", "--batch-sizes=1", "--rounds=1", "--threads=1", f"--out={out}"]
    table = run("sampling.py", *arguments, f"--baseline={Path(__file__).parents[1]}")
    row = json.loads(out.read_text())["file, 32x32, 1"]
    assert (row["steps"], len(row["rounds"]["baseline"])) == (94, 1)
    assert f"| file, 32x32, 1 | 94 | {row['forward_seconds']:.2f} |" in table


@pytest.mark.slow
def test_an_evaluation_s_time_and_memory_are_measured(run, tmp_path):
    out = tmp_path / "evaluation.json"
    table = run("evaluation.py", "--network=resnet", "--counts", 16, 24, f"--out={out}")
    assert table.count("| ResNet |") == 2
    rows = json.loads(out.read_text())["resnet"]["rows"]
    assert [row["num_images"] for row in rows] == [16, 24]
    assert all(row["features_seconds"] > 0 for row in rows)


@pytest.mark.parametrize("channels", [1, 3])
def test_files_of_codes_are_compared_with_those_of_other_formats(run, image_folder, tmp_path, channels, make_prior):
    store = prepare_images(
        ImageFolder(image_folder), tmp_path / "images", ImageConfig(size=(16, 16), channels=channels)
    )
    tokenizer = VQVAE2(replace(TOY_TOKENIZER, in_channels=channels)).eval()
    options = {"num_embeddings": 12, "above_num_embeddings": 12, "num_classes": 2, "tokenizer": fingerprint(tokenizer)}
    config = PipelineConfig(image_size=store.size, classes=store.classes, class_counts=(1, 1), has_priors=True)
    run_folder, out = tmp_path / "run", tmp_path / "codec.json"
    Pipeline(tokenizer, config, [make_prior(level, **options).float() for level in (0, 1)]).save_pretrained(run_folder)
    shutil.copytree(tmp_path / "images", run_folder / "images")
    curves, pictures = tmp_path / "codec.svg", tmp_path / "pictures.png"
    arguments = ["--tiny", "--images=3", "--batch-size=2", "--threads=1", "--timed-images=1", "--network=none"]
    arguments += [f"--out={out}", f"--plot={curves}", f"--pictures={pictures}"]
    printed = run("codec.py", run_folder, *arguments)
    results = json.loads(out.read_text())
    points = {(point["format"], point["setting"]): point for point in results["points"]}
    ours = {setting: point for (name, setting), point in points.items() if name == "vqvae2"}
    assert list(ours) == ["top only", "prior", "raw", "prior without class"]
    assert ours["prior"]["psnr_db"] == ours["raw"]["psnr_db"] == ours["prior without class"]["psnr_db"]
    assert points["PNG", "lossless"]["psnr_db"] is None
    assert 0.0 < results["our_files"]["excess_bytes"] < 40.0
    assert all(f"| {name} | {setting} |" in printed for name, setting in points)
    assert "<svg" in curves.read_text()
    assert pictures.exists()


def test_a_plan_for_a_cluster_is_printed(run):
    printed = run("scaling.py", "--presets", "cpu32", "--peak=312")
    assert len(re.findall(r"^\|---", printed, flags=re.MULTILINE)) == 6
    assert printed.count("| cpu32: tokenizer |") == 4 + 3  # of the networks, on three numbers of cards
    hours = next(line for line in printed.splitlines() if "tokenizer" in line and line.count("|") == 5)
    assert float(hours.split("|")[2]) == pytest.approx(2.5 * float(hours.split("|")[4]), rel=0.01)


def test_a_plan_s_counts_are_those_of_a_model_with_values_and_of_arithmetic_by_hand(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import scaling
    from torch.nn import functional
    from torch.utils.flop_counter import FlopCounterMode

    for stage in list(scaling.stages("cpu32", num_classes=3))[::2]:  # no attention, which is its own check
        counts = scaling.count(stage)
        model = build_model(stage.model)
        with FlopCounterMode(display=False) as counter:
            scaling.loss(model, stage.size).backward()
        assert counter.get_total_flops() == 2 * counts.step_macs
        assert sum(parameter.numel() for parameter in model.parameters()) == counts.parameters
    images, weight, heads = torch.zeros(1, 8, 10, 12), torch.zeros(16, 8, 3, 3), torch.zeros(1, 4, 20, 8)
    assert scaling.macs(lambda: functional.conv2d(images, weight, padding=1)) == 10 * 12 * 16 * 8 * 3 * 3
    assert scaling.macs(lambda: functional.scaled_dot_product_attention(heads, heads, heads)) == 2 * 4 * 20 * 20 * 8


def test_a_batch_is_accumulated_in_the_fewest_parts_that_fit(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from scaling import accumulation

    fewest = [accumulation(1024, 8, 128), accumulation(1024, 8, 127), accumulation(1024, 8, 1)]
    assert [*fewest, accumulation(1024, 7, 128), accumulation(1024, 8, 0)] == [1, 2, 128, "no", "no"]


@pytest.mark.slow
def test_reading_is_measured(run):
    for what in ("speed", "memory", "share"):
        lines = run("loading.py", what, "--images=130", "--kinds", "tar").splitlines()
        assert lines[1].startswith("tar      {")


@pytest.mark.slow
def test_priors_of_a_small_set_are_compared_with_and_without_further_views(
    run, image_folder, tmp_path, sharp_pipeline, judge
):
    pipeline = replace(sharp_pipeline, config=replace(sharp_pipeline.config, image_size=(16, 16)))
    pipeline.save_pretrained(tmp_path / "pipeline")
    out = tmp_path / "recipe.json"
    arguments = [tmp_path / "pipeline", image_folder, "--validation-fraction=0.5", "--steps", 1, 1, "--seeds", 3]
    arguments += ["--samples=4", "--classifier-steps=1", "--threads=1", f"--features={judge}"]
    table = run("recipe.py", *arguments, "--folder", tmp_path / "trainings", f"--out={out}")
    rows = json.loads(out.read_text())["rows"]
    assert [row["variant"] for row in rows] == ["real images", "as they are", "views"]
    assert all(len(row["held_out_nats"]) == 2 for row in rows[1:])
    assert table.count("| 3 |") == 3


@pytest.mark.slow
def test_a_training_is_timed_beside_busy_processes(run, tmp_path):
    out = tmp_path / "contention.json"
    table = run("contention.py", "steps", "--seconds=1", "--rounds=1", f"--out={out}")
    assert [row["busy_processes"] for row in json.loads(out.read_text())["steps"]["rows"]] == [0, 1, 2]
    assert table.count("| now |") == 3


def test_two_decoders_are_compared_and_their_parts(run, image_folder, tmp_path, sharp_pipeline, judge):
    folder, out, picture = tmp_path / "run", tmp_path / "decoders.json", tmp_path / "decoders.png"
    pipeline = replace(sharp_pipeline, config=replace(sharp_pipeline.config, image_size=(16, 16)))
    pipeline.save_pretrained(folder)
    prepare_images(ImageFolder(image_folder), folder / "images", ImageConfig(size=(16, 16), validation_fraction=0.5))
    (folder / "sharp-decoder" / "log.jsonl").write_text('{"step": 4, "seconds": 2.0, "images_per_second": 8.0}\n')
    arguments = ["--images=4", f"--features={judge}", f"--out={out}"]
    run("decoders.py", "compare", folder, *arguments, f"--picture={picture}")
    found = json.loads(out.read_text())["found"]
    faithful, sharp = found["decoders"]["faithful"], found["decoders"]["sharp"]
    assert list(faithful) == list(sharp)
    assert found["change"]["psnr_db"] == pytest.approx(sharp["psnr_db"] - faithful["psnr_db"])
    assert picture.exists()
    run("decoders.py", "parts", folder, *arguments, "--steps=1", "--seeds", 0, "--loss-network=none")
    rows = json.loads(out.read_text())["found"]
    assert [row["parts"] for row in rows][:2] == ["faithful", "squared error"]
    assert rows[0]["psnr_db"] == faithful["psnr_db"]


def test_each_stage_of_a_pipeline_is_compared(run, image_folder, tmp_path, pipeline, judge):
    pipeline.save_pretrained(tmp_path / "run")
    prepare_images(
        ImageFolder(image_folder), tmp_path / "run" / "images", ImageConfig(size=(16, 24), validation_fraction=0.4)
    )
    printed = run("stages.py", tmp_path / "run", "--images=6", "--device=cpu", "--features", judge)
    rows = [line.split(" | ")[0] for line in printed.splitlines()]
    assert rows[2:] == ["| held-out images", "| reconstructions", "| drawn: bottom", "| samples"]
    assert printed.splitlines()[2].endswith("| 0.500 |")  # held-out images


@pytest.mark.parametrize("augment", [0, 1])
def test_a_prior_that_starts_is_compared_with_one_from_nothing(run, image_folder, tmp_path, pipeline, augment):
    folder, images = tmp_path / "run", ImageConfig(size=(16, 24), validation_fraction=0.4)
    networks = tuple(prior.config.network for prior in pipeline.priors)
    RunRecord.begin(folder, RunConfig(images=images, tokenizer=pipeline.tokenizer.config, priors=networks))
    pipeline.save_pretrained(tmp_path / "start")
    shutil.copytree(tmp_path / "start", folder, dirs_exist_ok=True)
    prepare_images(ImageFolder(image_folder), folder / "images", images)
    printed = run("start.py", folder, "--from", tmp_path / "start", "--steps=4", f"--augment={augment}", "--threads=1")
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines()[3:]]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "best"]
    assert all(started != nothing for _, started, nothing in rows)


def test_convolutions_over_blocks_give_the_same(run):
    printed = run("convolutions.py", "--size=32", "--batch-size=2", "--channels=16", "--threads=1", "--device=cpu")
    rows = [
        line.strip("|").split(" | ")
        for line in printed.splitlines()
        if line.startswith(("| first", "| last", "| one", "| 1x1"))
    ]
    assert [float(row[-1]) < 2e-6 for row in rows] == [True, True, True, True]
