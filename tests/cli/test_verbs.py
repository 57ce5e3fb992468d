"""Every verb, end to end, at toy size: as a user would type it."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from vqvae2.config import CodebookLossConfig
from vqvae2.config.presets import find_preset
from vqvae2.data import CodeStore, ImageStore
from vqvae2.images import decode_image, encode_png, from_pixels, image_info, to_8_bits, to_pixels
from vqvae2.pipeline.pipeline import Pipeline


def test_run_goes_from_images_to_a_report(image_folder, tmp_path, call, toy):
    code, out, errors = call("run", image_folder, "--out", tmp_path / "run", "--json", *toy)
    assert code == 0, errors
    results = json.loads(out)
    assert results["num_images"]["train"] + results["num_images"]["validation"] == 40
    assert [level["name"] for level in results["reconstruction"]["levels"]] == ["top", "bottom"]
    likelihood = results["likelihood"]
    for level in likelihood["levels"]:
        assert level["gap_nats_per_code"] == level["nll_nats_per_code"] - level["train_nll_nats_per_code"]
        assert level["unigram_nats_per_code"] > 0.0
    assert [level["given_above_nats_per_code"] is None for level in likelihood["levels"]] == [True, False]
    assert likelihood["bits_per_dim"] == pytest.approx(likelihood["bits_per_pixel"] / 3)
    assert results["trainings"]["train prior, top"]["planned_steps"] == 4
    assert "<html" in (tmp_path / "run" / "report.html").read_text()
    on_disk = json.loads((tmp_path / "run" / "results.json").read_text())
    assert on_disk == {key: value for key, value in results.items() if key != "report"}
    assert "preset cpu32" in errors
    assert "vqvae2 sample" in errors  # what to try next


def test_a_run_that_is_done_is_not_repeated(run_folder, image_folder, call):
    weights = (run_folder / "prior-bottom" / "model.safetensors").read_bytes()
    code, _, errors = call("run", image_folder, "--out", run_folder, "--device=cpu", "--precision=float32")
    assert code == 0
    assert errors.count("done before") == 5
    assert (run_folder / "prior-bottom" / "model.safetensors").read_bytes() == weights


def test_a_run_goes_on_where_it_was_stopped(run_folder, image_folder, tmp_path, call):
    expected = {path.name: path.read_bytes() for path in run_folder.glob("*/model.safetensors")}
    for stage in ("codes", "prior-top", "prior-bottom"):
        shutil.rmtree(run_folder / stage)
    state = json.loads((run_folder / "run.json").read_text())
    state["seconds"] = {name: value for name, value in state["seconds"].items() if name == "train tokenizer"}
    (run_folder / "run.json").write_text(json.dumps(state))
    code, _, errors = call("run", image_folder, "--out", run_folder, "--device=cpu", "--precision=float32")
    assert code == 0, errors
    assert {path.name: path.read_bytes() for path in run_folder.glob("*/model.safetensors")} == expected


def test_the_stages_one_by_one_are_the_run(run_folder, image_folder, tmp_path, call, toy):
    by_hand = tmp_path / "by-hand"
    common = ["--device=cpu", "--precision=float32"]
    for arguments in (
        ["train-tokenizer", image_folder, "--out", by_hand, *toy],
        ["extract-codes", by_hand, *common],
        ["train-prior", by_hand, "--level=0", *common],
        ["train-prior", by_hand, "--level=1", *common],
    ):
        code, out, errors = call(*arguments)
        assert code == 0, errors
        assert out
    for part in ("tokenizer", "prior-top", "prior-bottom"):
        name = f"{part}/model.safetensors"
        assert (by_hand / name).read_bytes() == (run_folder / name).read_bytes()


def test_a_prior_can_be_changed_before_it_is_trained(run_folder, call):
    shutil.rmtree(run_folder / "prior-top")
    state = json.loads((run_folder / "run.json").read_text())
    del state["steps"]["train prior, top"], state["seconds"]["train prior, top"]
    (run_folder / "run.json").write_text(json.dumps(state))
    code, _, errors = call(
        "train-prior", run_folder, "--level=0", "--network.num-layers=3", "--training.steps=3", "--device=cpu"
    )
    assert code == 0, errors
    code, out, _ = call("info", run_folder / "prior-top", "--json")
    assert json.loads(out)["config"]["network"]["num_layers"] == 3


def test_a_level_can_have_a_transformer(run_folder, tmp_path, call):
    shutil.rmtree(run_folder / "prior-bottom")
    state = json.loads((run_folder / "run.json").read_text())
    del state["steps"]["train prior, bottom"], state["seconds"]["train prior, bottom"]
    (run_folder / "run.json").write_text(json.dumps(state))
    code, _, errors = call(
        "train-prior",
        run_folder,
        "--level=1",
        "--prior=transformer",
        "--network.feedforward-channels=12",
        "--training.steps=3",
        "--device=cpu",
    )
    assert code == 0, errors
    code, out, _ = call("info", run_folder / "prior-bottom", "--json")
    network = json.loads(out)["config"]["network"]
    assert (network["family"], network["feedforward_channels"]) == ("transformer", 12)
    code, _, errors = call("sample", run_folder, "--out", tmp_path / "samples", "--num-images=2", "--device=cpu")
    assert code == 0, errors


def test_a_run_encodes_mirrored_images_if_one_prior_is_trained_on_them(image_folder, tmp_path, call, toy):
    run = tmp_path / "run"
    code, _, errors = call("run", image_folder, "--out", run, *toy, "--prior-trainings.1.horizontal-flips")
    assert code == 0, errors
    assert "extract codes: 40 images, also mirrored" in errors
    assert CodeStore.open(run / "codes").has_flipped


def test_a_prior_that_gets_no_better_stops_and_says_so_and_stays_stopped(run_folder, call):
    shutil.rmtree(run_folder / "prior-top")
    state = json.loads((run_folder / "run.json").read_text())
    del state["steps"]["train prior, top"], state["seconds"]["train prior, top"]
    (run_folder / "run.json").write_text(json.dumps(state))
    # At this rate it does not get better sixty times in a row.
    training = {"steps": 60, "max-validations": 60, "patience": 1, "learning-rate": 0.1, "ema-decay": 0.0}
    flags = [*(f"--training.{name}={value}" for name, value in training.items()), "--device=cpu", "--json"]
    code, out, errors = call("train-prior", run_folder, "--level=0", *flags)
    assert code == 0, errors
    result = json.loads(out)
    assert result["last_step"] < 60
    message = f"stopped at step {result['last_step']} of 60: no better validation since step {result['best_step']}"
    assert message in errors
    seconds = json.loads((run_folder / "run.json").read_text())["seconds"]
    files = {path: path.read_bytes() for path in (run_folder / "prior-top").rglob("*.*t*")}
    code, out, errors = call("train-prior", run_folder, "--level=0", *flags)
    assert "train prior, top: done before" in errors
    assert message in errors
    assert json.loads(out)["last_step"] == result["last_step"]
    assert json.loads((run_folder / "run.json").read_text())["seconds"] == seconds
    assert {path: path.read_bytes() for path in files} == files


def test_sample_writes_images_a_grid_and_a_listing(run_folder, tmp_path, call):
    out = tmp_path / "samples"
    code, written, errors = call(
        *("sample", run_folder, "--out", out, "--num-images=5", "--batch-size=2", "--device=cpu", "--json"),
        *("--top-k", "4", "0", "--temperature", "0.9", "--guidance-scale=2"),
    )
    assert code == 0, errors
    results = json.loads(written)
    assert results["codes"] == 5 * (4 * 4 + 8 * 8)
    assert results["codes_per_second"] == pytest.approx(results["codes"] / results["seconds"])
    assert sorted(path.name for path in out.glob("0*.png")) == [f"{index:06d}.png" for index in range(5)]
    listing = json.loads((out / "samples.json").read_text())
    assert {row["class"] for row in listing["images"]} <= {"squares", "stripes"}
    assert listing["request"]["sampling"] == {
        "temperature": [0.9],
        "top_k": [4, 0],
        "top_p": [1.0],
        "guidance_scale": 2.0,
    }
    with Image.open(out / "grid.png") as grid:
        assert grid.size == (3 * 18 + 2, 2 * 18 + 2)


def test_a_pipeline_to_sample_may_be_named_like_those_of_other_verbs(run_folder, tmp_path, call):
    options = ("--num-images=2", "--device=cpu")
    for out, named in (("a", [run_folder]), ("b", ["--pipeline", run_folder])):
        code, _, errors = call("sample", *named, "--out", tmp_path / out, *options)
        assert code == 0, errors
    assert (tmp_path / "a/000001.png").read_bytes() == (tmp_path / "b/000001.png").read_bytes()
    code, _, errors = call("sample", run_folder, "--pipeline", tmp_path, "--out", tmp_path / "c", *options)
    assert code == 1
    assert "`pipeline` must be given once" in errors


def test_samples_of_a_seed_do_not_depend_on_the_batch_size(run_folder, tmp_path, call):
    for batch_size in (1, 4):
        call(
            "sample",
            run_folder,
            "--out",
            tmp_path / f"s{batch_size}",
            "--num-images=4",
            f"--batch-size={batch_size}",
            "--class=stripes",
            "--device=cpu",
        )
    for index in range(4):
        first, second = ((tmp_path / f"s{size}" / f"{index:06d}.png").read_bytes() for size in (1, 4))
        assert first == second


def test_reconstruct_keeps_each_image_s_size(run_folder, tmp_path, call):
    odd = tmp_path / "odd"
    odd.mkdir()
    for height, width in ((1, 1), (7, 30), (33, 18)):
        (odd / f"{height}x{width}.png").write_bytes(encode_png(np.zeros((height, width, 3), dtype=np.uint8)))
    (odd / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    code, out, errors = call(
        "reconstruct", odd, "--pipeline", run_folder, "--out", tmp_path / "out", "--json", "--device=cpu"
    )
    assert code == 0, errors
    results = json.loads(out)
    assert results["images"] == 3
    assert results["skipped"][0]["file"] == "broken.jpg"
    for row in json.loads((tmp_path / "out" / "reconstructions.json").read_text())["images"]:
        with Image.open(tmp_path / "out" / row["file"]) as image:
            assert f"{image.height}x{image.width}.png" == row["original"]


def test_reconstruct_from_the_top_alone(run_folder, image_folder, tmp_path, call):
    code, out, errors = call(
        "reconstruct",
        image_folder,
        "--pipeline",
        run_folder,
        "--out",
        tmp_path / "out",
        "--levels=1",
        "--limit=3",
        "--json",
        "--device=cpu",
    )
    assert code == 0, errors
    assert json.loads(out)["images"] == 3


def columns_of(path, count):
    """The pictures that stand side by side, `(count, 16, 16, 3)`."""
    pixels = decode_image(path.read_bytes(), channels=3)
    assert pixels.shape == (16 + 4, count * 18 + 2, 3)
    return np.stack([pixels[2:18, 2 + 18 * index : 18 + 18 * index] for index in range(count)])


def test_complete_shows_original_given_and_variants(run_folder, image_folder, tmp_path, call):
    out = tmp_path / "out"
    code, written, errors = call(
        *("complete", image_folder, "--pipeline", run_folder, "--out", out, "--known-rows=0.25", "--variants=3"),
        *("--limit=3", "--batch-size=2", "--device=cpu", "--json", "--temperature", "1", "0.9", "--class=stripes"),
    )
    assert code == 0, errors
    assert json.loads(written)["images"] == 3
    listing = json.loads((out / "completions.json").read_text())
    assert [row["file"] for row in listing["images"]] == ["000000.png", "000001.png", "000002.png"]
    assert listing["known_rows"] == 0.25
    assert listing["columns"] == ["original", "given", "variant 0", "variant 1", "variant 2"]
    for row in listing["images"]:
        columns = columns_of(out / row["file"], 5)
        original = decode_image((image_folder / row["original"]).read_bytes(), channels=3)
        assert np.array_equal(columns[0], original)
        assert (columns[1:, :4] == original[:4]).all()  # a quarter of the rows is known
        assert (columns[1, 4:] == 128).all()
        assert not np.array_equal(columns[2], columns[3])


def test_complete_one_file_under_a_mask(run_folder, image_folder, tmp_path, call):
    mask = np.zeros((16, 16, 1), dtype=np.uint8)
    mask[8:, 8:] = 255
    (tmp_path / "mask.png").write_bytes(encode_png(mask))
    code, _, errors = call(
        *("complete", image_folder / "squares" / "0.png", "--pipeline", run_folder, "--out", tmp_path / "out"),
        *("--mask", tmp_path / "mask.png", "--variants=1", "--device=cpu"),
    )
    assert code == 0, errors
    original, given, variant = columns_of(tmp_path / "out" / "000000.png", 3)
    known = mask[:, :, 0] == 0
    assert np.array_equal(variant[known], original[known])
    assert (given[~known] == 128).all()


def test_complete_below_the_kept_levels(run_folder, image_folder, tmp_path, call):
    code, _, errors = call(
        *("complete", image_folder, "--pipeline", run_folder, "--out", tmp_path / "out", "--keep-levels=1"),
        *("--limit=1", "--device=cpu"),
    )
    assert code == 0, errors
    pipeline = Pipeline.from_pretrained(run_folder)
    original, given, *_ = columns_of(tmp_path / "out" / "000000.png", 6)
    preview = pipeline.reconstruct(from_pixels(torch.from_numpy(original[None])), levels=1)
    assert np.array_equal(given, to_pixels(preview)[0].numpy())


def test_completions_do_not_depend_on_the_batch_size_or_on_broken_files(run_folder, image_folder, tmp_path, call):
    shutil.copytree(image_folder / "stripes", tmp_path / "some")
    (tmp_path / "some" / "1.png").write_bytes(b"broken")
    for batch_size in (1, 3):
        code, out, errors = call(
            *("complete", tmp_path / "some", "--pipeline", run_folder, "--out", tmp_path / f"o{batch_size}"),
            *("--limit=4", f"--batch-size={batch_size}", "--variants=2", "--device=cpu", "--json"),
        )
        assert code == 0, errors
        assert json.loads(out)["skipped"][0]["file"] == "1.png"
    first, second = (sorted((tmp_path / f"o{size}").glob("*.png")) for size in (1, 3))
    assert [path.name for path in first] == ["000000.png", "000002.png", "000003.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize("name", ["", "tokenizer", "prior-bottom/model.safetensors", "codes", "images"])
def test_info_describes_what_a_run_left(run_folder, name, call):
    code, out, errors = call("info", run_folder / name, "--json")
    assert code == 0, errors
    kinds = {"": "pipeline", "prior-bottom/model.safetensors": "prior"}
    assert json.loads(out)["kind"] == kinds.get(name, name)


def test_info_describes_a_preset(call):
    code, out, _ = call("info", "gpu256", "--json")
    assert code == 0
    assert [level["shape"] for level in json.loads(out)["levels"]] == [[32, 32], [64, 64]]


@pytest.mark.parametrize(
    ("preset", "shapes", "bits_per_pixel"),
    [("imagenet256", [32, 64], 0.703), ("ffhq1024", [32, 64, 128], 0.185)],
)
def test_the_papers_presets_have_the_papers_code_sizes(call, preset, shapes, bits_per_pixel):
    code, out, _ = call("info", preset, "--json")
    levels = json.loads(out)["levels"]
    assert code == 0
    assert [level["shape"] for level in levels] == [[side, side] for side in shapes]
    assert sum(level["bits_per_pixel"] for level in levels) == pytest.approx(bits_per_pixel, abs=5e-4)
    assert json.loads(out)["bits_per_pixel"] == pytest.approx(bits_per_pixel, abs=5e-4)
    assert "images/s" in json.loads(out)["measured"]


def test_demo_does_everything_with_the_built_in_images(tmp_path, call, toy, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, errors = call("demo", "--json", "--num-samples=9", *toy)
    assert code == 0, errors
    results = json.loads(out)
    assert results["num_images"]["train"] + results["num_images"]["validation"] == 1854
    assert len(list((tmp_path / "vqvae2-demo" / "samples").glob("*.png"))) == 9  # a picture a class
    assert "vqvae2 run IMAGES" in errors  # what to try next


def test_demo_s_dry_run_prints_its_config(tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("demo", "--dry-run", "--json", "--minutes=2")
    assert code == 0
    assert json.loads(out)["minutes"] == 2.0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("strides", "channels"), [(["2"], 1), (["2", "2", "2"], 4)], ids=["one grey level", "three levels with alpha"]
)
def test_run_with_other_levels_and_channels(image_folder, tmp_path, call, strides, channels, toy):
    toy = [argument for argument in toy if argument != "2"]
    position = toy.index("--tokenizer.strides") + 1
    toy = [*toy[:position], *strides, *toy[position:]]
    code, out, errors = call(
        "run",
        image_folder,
        "--out",
        tmp_path / "run",
        "--json",
        *toy,
        f"--images.channels={channels}",
        f"--tokenizer.in-channels={channels}",
    )
    assert code == 0, errors
    assert len(json.loads(out)["levels"]) == len(strides)


def test_run_with_finite_scalar_codes(image_folder, tmp_path, call, toy):
    flags = [flag for flag in toy if "tokenizer.quantizer" not in flag]
    flags += ["--quantizer=fsq", "--tokenizer.quantizer.num-values", "3", "4"]
    code, out, errors = call("run", image_folder, "--out", tmp_path / "run", "--json", *flags)
    assert code == 0, errors
    assert [level["num_embeddings"] for level in json.loads(out)["levels"]] == [12, 12]
    # The run's own quantizer is now the default.
    code, _, errors = call("run", image_folder, "--out", tmp_path / "run", "--device=cpu", "--precision=float32")
    assert code == 0, errors
    assert errors.count("done before") == 5


def test_another_quantizer_comes_with_its_own_defaults(image_folder, tmp_path, call):
    code, out, errors = call(
        "run", image_folder, "--out", tmp_path / "run", "--dry-run", "--json", "--quantizer=codebook-loss"
    )
    assert code == 0, errors
    assert json.loads(out)["tokenizer"]["quantizer"] == CodebookLossConfig().to_dict()


def test_priors_of_another_family_keep_width_and_depth(image_folder, tmp_path, call):
    code, out, errors = call(
        "run", image_folder, "--out", tmp_path / "run", "--dry-run", "--json", "--preset=cpu32", "--prior=transformer"
    )
    assert code == 0, errors
    before = find_preset("cpu32").priors
    for network, other in zip(json.loads(out)["priors"], before, strict=True):
        assert network["family"] == "transformer"
        assert (network["hidden_channels"], network["num_layers"]) == (other.hidden_channels, other.num_layers)


@pytest.mark.parametrize("size", [(12, 22), (22, 9)])
def test_images_that_are_not_square(image_folder, tmp_path, call, toy, size):
    height, width = size
    run, samples, out_folder = tmp_path / "run", tmp_path / "samples", tmp_path / "out"
    position = toy.index("--images.size") + 1
    toy = [*toy[:position], str(height), str(width), *toy[position + 2 :]]
    code, out, errors = call("run", image_folder, "--out", run, "--json", "--images.resize=pad", *toy)
    assert code == 0, errors
    assert f"({height}x{width} pixels)" in errors
    assert f"40 files to {height}x{width}, 3 channels" in errors
    results = json.loads(out)["likelihood"]
    shapes = [[-(-side // 4) * fine for side in size] for fine in (1, 2)]
    assert [level["shape"] for level in results["levels"]] == shapes
    bits = sum(level["nll_bits_per_code"] * level["shape"][0] * level["shape"][1] for level in results["levels"])
    assert results["bits_per_pixel"] == pytest.approx(bits / (height * width))
    assert results["compression_ratio"] == pytest.approx(24 / results["bits_per_pixel"])
    assert json.loads(call("info", run / "images", "--json")[1])["size"] == list(size)
    described = json.loads(call("info", run, "--json")[1])
    assert described["image_size"] == list(size)
    assert [level["shape"] for level in described["levels"]] == shapes
    code, _, errors = call("sample", run, "--out", samples, "--num-images=3", "--device=cpu")
    assert code == 0, errors
    code, _, errors = call("reconstruct", image_folder, "--pipeline", run, "--out", out_folder, "--limit=2")
    assert code == 0, errors
    for path, sides in ((samples / "000002.png", size), (out_folder / "000001.png", (16, 16))):
        with Image.open(path) as image:
            assert (image.height, image.width) == sides


@pytest.fixture
def deep_folder(tmp_path):
    """Grey images of 16 bits that differ by less than a step of 8 bits, 20 x 28 pixels."""
    folder = tmp_path / "deep"
    folder.mkdir()
    for index in range(12):
        pixels = np.full((20, 28, 1), 40_000 + index * 10, dtype=np.uint16)
        pixels[5:9, 5:9] += 7
        (folder / f"{index}.png").write_bytes(encode_png(pixels))
    return folder


def test_16_bit_grey_images_stay_16_bit(deep_folder, tmp_path, call, toy):
    run, samples, out_folder = tmp_path / "run", tmp_path / "samples", tmp_path / "out"
    code, out, errors = call("run", deep_folder, "--out", run, "--json", *toy)
    assert code == 0, errors
    assert "1 channels of 16 bits" in errors
    results = json.loads(out)
    assert results["compression_ratio"] == pytest.approx(16 / results["bits_per_pixel"])
    assert len(np.unique(ImageStore.open(run / "images").pixels)) >= 24
    for name in ("images", ""):
        assert json.loads(call("info", run / name, "--json")[1])["bit_depth"] == 16
    code, _, errors = call("sample", run, "--out", samples, "--num-images=2", "--device=cpu")
    assert code == 0, errors
    code, _, errors = call("reconstruct", deep_folder, "--pipeline", run, "--out", out_folder, "--device=cpu")
    assert code == 0, errors
    written = [*samples.glob("*.png"), *out_folder.glob("*.png"), *run.glob("*.png"), run / "samples/000.png"]
    assert {path.name for path in run.glob("*.png")} == {"reconstructions.png", "completions.png"}
    assert {image_info(path.read_bytes()).bit_depth for path in written} == {16}


def test_a_pipeline_of_16_bits_takes_8_bits_too_and_the_other_way_round(deep_folder, tmp_path, call, toy):
    (tmp_path / "shallow").mkdir()
    for path in deep_folder.iterdir():
        pixels = to_8_bits(decode_image(path.read_bytes(), channels=1, bit_depth=16))
        (tmp_path / "shallow" / path.name).write_bytes(encode_png(pixels))
    for bit_depth, trained_on, other in (
        (16, deep_folder, tmp_path / "shallow"),
        (8, tmp_path / "shallow", deep_folder),
    ):
        run, errors_of = tmp_path / f"run{bit_depth}", {}
        code, _, errors = call("train-tokenizer", trained_on, "--out", run, *toy)
        assert code == 0, errors
        for images in (trained_on, other):
            out_folder = tmp_path / f"{bit_depth}-{images.name}"
            code, out, errors = call("reconstruct", images, "--pipeline", run, "--out", out_folder, "--json")
            assert code == 0, errors
            assert image_info((out_folder / "000000.png").read_bytes()) == (20, 28, True, bit_depth)
            errors_of[images] = json.loads(out)["mse"]
        assert errors_of[trained_on] == pytest.approx(errors_of[other], abs=0.02)  # the same images but for rounding


def test_16_bit_images_can_be_read_at_8_bits(deep_folder, tmp_path, call, toy):
    code, _, errors = call("train-tokenizer", deep_folder, "--out", tmp_path / "run", *toy, "--images.bit-depth=8")
    assert code == 0, errors
    assert ImageStore.open(tmp_path / "run" / "images").bit_depth == 8


def test_a_grey_flat_folder_makes_a_grey_pipeline_without_classes(tmp_path, call, toy):
    folder = tmp_path / "grey"
    folder.mkdir()
    for index in range(12):
        pixels = np.full((20, 28, 1), index * 20, dtype=np.uint8)
        (folder / f"{index}.png").write_bytes(encode_png(pixels))
    code, _, errors = call("run", folder, "--out", tmp_path / "run", *toy)
    assert code == 0, errors
    _, out, _ = call("info", tmp_path / "run" / "images", "--json")
    assert json.loads(out)["channels"] == 1
    code, _, errors = call("sample", tmp_path / "run", "--out", tmp_path / "s", "--num-images=2", "--device=cpu")
    assert code == 0, errors
