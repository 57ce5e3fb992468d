"""Every verb, end to end, at toy size: as a user would type it."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from vqvae2.config import CodebookLossConfig
from vqvae2.config.presets import PRESETS, find_preset
from vqvae2.data import CodeStore, ImageStore
from vqvae2.images import decode_image, encode_png, from_pixels, image_info, save_png, to_8_bits, to_pixels
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


def test_a_run_that_is_done_is_not_repeated_and_one_that_was_stopped_resumes(run_folder, image_folder, call):
    expected = {path: path.read_bytes() for path in run_folder.glob("*/model.safetensors")}
    run = ("run", image_folder, "--out", run_folder, "--device=cpu", "--precision=float32")
    code, _, errors = call(*run)
    assert (code, errors.count("done before")) == (0, 5)
    assert {path: path.read_bytes() for path in expected} == expected
    for stage in ("codes", "prior-top", "prior-bottom"):
        shutil.rmtree(run_folder / stage)
    state = json.loads((run_folder / "run.json").read_text())
    state["seconds"] = {name: value for name, value in state["seconds"].items() if name == "train tokenizer"}
    (run_folder / "run.json").write_text(json.dumps(state))
    code, _, errors = call(*run)
    assert (code, errors.count("done before")) == (0, 2)
    assert {path: path.read_bytes() for path in expected} == expected


def test_the_stages_one_by_one_are_the_run(run_folder, image_folder, tmp_path, done, toy):
    by_hand = tmp_path / "by-hand"
    common = ["--device=cpu", "--precision=float32"]
    for arguments in (
        ["train-tokenizer", image_folder, "--out", by_hand, *toy],
        ["extract-codes", by_hand, *common],
        ["train-prior", by_hand, "--level=0", *common],
        ["train-prior", by_hand, "--level=1", *common],
    ):
        assert done(*arguments)
    for part in ("tokenizer", "prior-top", "prior-bottom"):
        name = f"{part}/model.safetensors"
        assert (by_hand / name).read_bytes() == (run_folder / name).read_bytes()


def test_a_prior_can_be_changed_before_it_is_trained(run_folder, tmp_path, done, forget_prior):
    forget_prior("bottom")
    flags = ("--prior=transformer", "--network.feedforward-channels=12", "--network.num-layers=3", "--training.steps=3")
    done("train-prior", run_folder, "--level=1", *flags)
    network = done("info", run_folder / "prior-bottom")["config"]["network"]
    assert (network["family"], network["feedforward_channels"], network["num_layers"]) == ("transformer", 12, 3)
    done("sample", run_folder, "--out", tmp_path / "samples", "--num-images=2")


def test_a_run_encodes_mirrored_images_if_one_prior_is_trained_on_them(image_folder, tmp_path, done, toy):
    done("run", image_folder, "--out", tmp_path / "run", *toy, "--prior-trainings.1.horizontal-flips")
    assert CodeStore.open(tmp_path / "run" / "codes").extraction.horizontal_flips


def test_further_views_are_extracted_and_the_run_remembers_them(run_folder, image_folder, call, done, forget_prior):
    shutil.rmtree(run_folder / "codes")
    forget_prior("top")
    forget_prior("bottom")
    options = ("--augment=2", "--max-shift-pixels=1")
    for arguments in (options, options, ()):
        results = done("extract-codes", run_folder, *arguments)
        assert (results["views"], results["mirrored_too"]) == (3, False)
    for level in (0, 1):
        done("train-prior", run_folder, f"--level={level}")
    described = done("info", run_folder / "codes")
    assert (described["views"], described["extraction"]["max_shift_pixels"]) == (3, 1)
    code, out, errors = call("run", image_folder, "--out", run_folder, "--device=cpu", "--precision=float32", "--json")
    assert (code, errors.count("done before")) == (0, 5)
    assert json.loads(out)["config"]["extraction"]["augment"] == 2


def test_a_prior_that_gets_no_better_stops_and_says_so_and_stays_stopped(run_folder, call, forget_prior):
    forget_prior("top")
    # At this rate it does not get better sixty times in a row.
    training = {"steps": 60, "max-validations": 60, "patience": 1, "learning-rate": 0.1, "ema-decay": 0.0}
    flags = [*(f"--training.{name}={value}" for name, value in training.items()), "--device=cpu", "--json"]
    kept = []
    for part in ("loss", "done before"):
        code, out, errors = call("train-prior", run_folder, "--level=0", *flags)
        assert code == 0, errors
        result = json.loads(out)
        assert result["last_step"] < 60
        message = f"stopped at step {result['last_step']} of 60: no better validation since step {result['best_step']}"
        assert message in errors
        assert part == "loss" or f"train prior, top: {part}" in errors
        files = {path: path.read_bytes() for path in (run_folder / "prior-top").rglob("*.*t*")}
        kept.append((result | {"seconds": None}, files, json.loads((run_folder / "run.json").read_text())["seconds"]))
    assert kept[0] == kept[1]


def test_sample_writes_images_a_grid_and_a_listing(shared_run, tmp_path, done):
    out = tmp_path / "samples"
    options = ("--top-k", "4", "0", "--temperature", "0.9", "--guidance-scale=2")
    results = done("sample", shared_run, "--out", out, "--num-images=5", "--batch-size=2", *options)
    assert results["codes"] == 5 * (4 * 4 + 8 * 8)
    assert results["codes_per_second"] == pytest.approx(results["codes"] / results["seconds"])
    assert sorted(path.name for path in out.glob("0*.png")) == [f"{index:06d}.png" for index in range(5)]
    listing = json.loads((out / "samples.json").read_text())
    assert {row["class"] for row in listing["images"]} <= {"squares", "stripes"}
    sampling = {"temperature": [0.9], "top_k": [4, 0], "top_p": [1.0], "guidance_scale": 2.0}
    assert listing["request"]["sampling"] == sampling
    with Image.open(out / "grid.png") as grid:
        assert grid.size == (3 * 18 + 2, 2 * 18 + 2)


def test_samples_of_a_seed_depend_on_neither_the_batch_size_nor_how_the_pipeline_is_named(
    shared_run, tmp_path, done, refused
):
    for size, named in ((1, [shared_run]), (4, ["--pipeline", shared_run])):
        flags = ("--num-images=4", f"--batch-size={size}", "--class=stripes")
        done("sample", *named, "--out", tmp_path / f"s{size}", *flags)
    for index in range(4):
        first, second = ((tmp_path / f"s{size}" / f"{index:06d}.png").read_bytes() for size in (1, 4))
        assert first == second
    line = refused("sample", shared_run, "--pipeline", tmp_path, "--out", tmp_path / "c")
    assert "`pipeline` must be given once" in line


def test_sampling_that_was_interrupted_resumes(shared_run, tmp_path, call, done, monkeypatch):
    def save(pixels, path):
        if path.name == "000005.png":
            raise KeyboardInterrupt
        save_png(pixels, path)

    sample = ("sample", shared_run, "--num-images=8", "--batch-size=2", "--out")
    monkeypatch.setattr("vqvae2.cli.sample_folder._SAVING_SHARE", 1e9)  # bring the listing up to date at every batch
    monkeypatch.setattr("vqvae2.cli.sample_folder.save_png", save)
    assert call(*sample, tmp_path / "a", "--device=cpu")[0] == 130
    monkeypatch.undo()
    assert done(*sample, tmp_path / "a")["codes"] == 4 * (4 * 4 + 8 * 8)  # of the two batches that were not whole
    done(*sample, tmp_path / "b")
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab")
    assert first == second


def test_reconstruct_keeps_each_image_s_size(shared_run, tmp_path, done):
    odd = tmp_path / "odd"
    odd.mkdir()
    for height, width in ((1, 1), (7, 30), (33, 18)):
        (odd / f"{height}x{width}.png").write_bytes(encode_png(np.zeros((height, width, 3), dtype=np.uint8)))
    (odd / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    results = done("reconstruct", odd, "--pipeline", shared_run, "--out", tmp_path / "out")
    assert results["images"] == 3
    assert results["skipped"][0]["file"] == "broken.jpg"
    for row in json.loads((tmp_path / "out" / "reconstructions.json").read_text())["images"]:
        with Image.open(tmp_path / "out" / row["file"]) as image:
            assert f"{image.height}x{image.width}.png" == row["original"]


def test_reconstruct_leaves_out_what_is_too_large(shared_run, tmp_path, done):
    (tmp_path / "odd").mkdir()
    for name, width in (("small", 14), ("large", 17)):
        save_png(np.zeros((9, width, 3), dtype=np.uint8), tmp_path / "odd" / f"{name}.png")
    options = ("--pipeline", shared_run, "--out", tmp_path / "out", "--max-pixels=200")  # 9 x 14 are padded to 12 x 16
    results = done("reconstruct", tmp_path / "odd", *options)
    assert results["images"] == 1
    assert results["skipped"] == [
        {"file": "large.png", "reason": "it has more than `max_pixels` (200); give a larger number"}
    ]


def test_reconstruct_one_file_from_the_top_alone(shared_run, shared_images, tmp_path, done):
    original = shared_images / "stripes" / "3.png"
    results = done("reconstruct", original, "--pipeline", shared_run, "--out", tmp_path / "o", "--levels=1")
    assert results["images"] == 1
    images = from_pixels(torch.from_numpy(decode_image(original.read_bytes(), channels=3)[None]))
    wanted = to_pixels(Pipeline.from_pretrained(shared_run).reconstruct(images, levels=1))[0].numpy()
    assert np.array_equal(decode_image((tmp_path / "o" / "000000.png").read_bytes(), channels=3), wanted)


def columns_of(path, count):
    """The pictures that stand side by side, `(count, 16, 16, 3)`."""
    pixels = decode_image(path.read_bytes(), channels=3)
    assert pixels.shape == (16 + 4, count * 18 + 2, 3)
    return np.stack([pixels[2:18, 2 + 18 * index : 18 + 18 * index] for index in range(count)])


def test_complete_shows_original_given_and_variants(shared_run, shared_images, tmp_path, done):
    out = tmp_path / "out"
    flags = ("--known-rows=0.25", "--variants=3", "--limit=3", "--batch-size=2", "--temperature", "1", "0.9")
    results = done("complete", shared_images, "--pipeline", shared_run, "--out", out, *flags, "--class=stripes")
    assert results["images"] == 3
    listing = json.loads((out / "completions.json").read_text())
    assert [row["file"] for row in listing["images"]] == ["000000.png", "000001.png", "000002.png"]
    assert listing["known_rows"] == 0.25
    assert listing["columns"] == ["original", "given", "variant 0", "variant 1", "variant 2"]
    for row in listing["images"]:
        columns = columns_of(out / row["file"], 5)
        original = decode_image((shared_images / row["original"]).read_bytes(), channels=3)
        assert np.array_equal(columns[0], original)
        assert (columns[1:, :4] == original[:4]).all()  # a quarter of the rows is known
        assert (columns[1, 4:] == 128).all()
        assert not np.array_equal(columns[2], columns[3])


@pytest.mark.parametrize("known", [(0, 0, 0, 255), (255, 255, 255, 0)], ids=["black", "transparent"])
def test_complete_one_file_under_a_mask(shared_run, shared_images, tmp_path, done, known):
    mask = np.full((16, 16, 4), known, dtype=np.uint8)
    mask[8:, 8:] = 255
    (tmp_path / "mask.png").write_bytes(encode_png(mask))
    flags = ("--out", tmp_path / "out", "--mask", tmp_path / "mask.png", "--variants=1")
    done("complete", shared_images / "squares" / "0.png", "--pipeline", shared_run, *flags)
    original, given, variant = columns_of(tmp_path / "out" / "000000.png", 3)
    known = np.ones((16, 16), dtype=bool)
    known[8:, 8:] = False
    assert np.array_equal(variant[known], original[known])
    assert (given[~known] == 128).all()


def test_complete_below_the_kept_levels(shared_run, shared_images, tmp_path, done):
    flags = ("--out", tmp_path / "out", "--keep-levels=1", "--limit=1")
    done("complete", shared_images, "--pipeline", shared_run, *flags)
    original, given, *_ = columns_of(tmp_path / "out" / "000000.png", 6)
    images = from_pixels(torch.from_numpy(original[None]))
    preview = Pipeline.from_pretrained(shared_run).reconstruct(images, levels=1)
    assert np.array_equal(given, to_pixels(preview)[0].numpy())


def test_completions_do_not_depend_on_the_batch_size_or_on_broken_files(shared_run, shared_images, tmp_path, done):
    shutil.copytree(shared_images / "stripes", tmp_path / "some")
    (tmp_path / "some" / "1.png").write_bytes(b"broken")
    complete = ("complete", tmp_path / "some", "--pipeline", shared_run, "--limit=4", "--variants=2")
    for size in (1, 3):
        results = done(*complete, "--out", tmp_path / f"o{size}", f"--batch-size={size}")
        assert results["skipped"][0]["file"] == "1.png"
    first, second = (sorted((tmp_path / f"o{size}").glob("*.png")) for size in (1, 3))
    assert [path.name for path in first] == ["000000.png", "000002.png", "000003.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_info_describes_what_a_run_left_and_the_built_in_pipeline(run_folder, done):
    kinds = {"": "pipeline", "tokenizer": "tokenizer", "prior-bottom/model.safetensors": "prior", "codes": "codes"}
    for name, kind in {**kinds, "images": "images"}.items():
        assert done("info", run_folder / name)["kind"] == kind
    assert done("info", "builtin")["kind"] == "pipeline"
    assert "train tokenizer" in done("info", run_folder)["stages"]
    (run_folder / "config.json").unlink()
    assert done("info", run_folder)["kind"] == "run"


def test_info_of_images_prints_what_a_run_tells_first_and_keeps(image_folder, tmp_path, call, done, toy):
    (image_folder / "notes.txt").write_text("not an image")
    described = done("info", image_folder)
    assert (described.pop("kind"), described["classes"]) == ("images", "2 (squares 20, stripes 20)")
    assert described["left_aside"] == {".txt files": "1, such as notes.txt"}
    out = image_folder / "run"  # inside of the images
    code, _, plan = call("run", image_folder, "--out", out, *toy, "--dry-run")
    assert (code, out.exists()) == (0, False)
    code, _, errors = call("train-tokenizer", image_folder, "--out", out, *toy)
    assert code == 0, errors
    told = plan.splitlines()
    assert told[0].startswith("read images: 40 images in")
    assert errors.splitlines()[: len(told)] == told
    assert errors.index("classes: 2") < errors.index("prepare images") < errors.index("train tokenizer")
    assert json.loads((out / "image-summary.json").read_text()) == described
    assert done("info", image_folder)["left_aside"]["folders that vqvae2 wrote"] == "1, such as run"
    code, _, errors = call("train-tokenizer", image_folder, "--out", out, *toy)
    assert (code, errors.count("done before")) == (0, 2)  # the run's own pictures are no images


def test_info_tells_the_decoders_of_a_pipeline(pipeline, sharp_pipeline, tmp_path, done):
    sharp_pipeline.using("faithful").save_pretrained(tmp_path / "p")
    described = done("info", tmp_path / "p")
    assert described["decoders"] == ["faithful", "sharp"]
    assert described["default_decoder"] == "faithful"
    count = sum(parameter.numel() for parameter in sharp_pipeline.sharp_decoder.parameters())
    assert described["sharp_decoder_parameters"] == count
    pipeline.save_pretrained(tmp_path / "alone")
    alone = done("info", tmp_path / "alone")
    assert (alone["decoders"], "sharp_decoder_parameters" in alone) == (["faithful"], False)


def test_info_prints_nested_configs_as_fields(call):
    _, out, _ = call("info", "cpu64")
    assert "{" not in out
    assert "\n  quantizer:\n    num embeddings: 256\n" in out


@pytest.mark.parametrize(
    ("preset", "shapes", "bits_per_pixel"),
    [("imagenet256", [32, 64], 0.703), ("ffhq1024", [32, 64, 128], 0.185)],
)
def test_the_papers_presets_have_the_papers_code_sizes(done, preset, shapes, bits_per_pixel):
    described = done("info", preset)
    levels = described["levels"]
    assert [level["shape"] for level in levels] == [[side, side] for side in shapes]
    assert sum(level["bits_per_pixel"] for level in levels) == pytest.approx(bits_per_pixel, abs=5e-4)
    assert described["bits_per_pixel"] == pytest.approx(bits_per_pixel, abs=5e-4)
    assert "images/s" in described["measured"]


def test_demo_does_everything_with_the_built_in_images(tmp_path, call, toy, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, errors = call("demo", "--json", "--num-samples=9", *toy)
    assert code == 0, errors
    results = json.loads(out)
    assert results["num_images"]["train"] + results["num_images"]["validation"] == 4044
    assert len(list((tmp_path / "vqvae2-demo" / "samples").glob("*.png"))) == 20  # a picture per class, of at most 20
    assert "vqvae2 run IMAGES" in errors  # what to try next


@pytest.mark.parametrize("verb", ["run", "train-tokenizer"])
def test_help_tells_the_minutes_of_each_preset(verb, call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = call(verb, "--help")
    assert code == 0
    told = " ".join(out.replace("\u2502", " ").split())
    assert all(f"{name} {find_preset(name).minutes:g}" in told for name in PRESETS)


def test_demo_s_dry_run_prints_its_config(tmp_path, monkeypatch, done):
    monkeypatch.chdir(tmp_path)
    assert done("demo", "--dry-run", "--minutes=2")["minutes"] == 2.0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("strides", "channels"), [(["2"], 1), (["2", "2", "2"], 4)], ids=["one grey level", "three levels with alpha"]
)
def test_run_with_other_levels_and_channels(image_folder, tmp_path, strides, channels, toy, done):
    toy = [argument for argument in toy if argument != "2"]
    position = toy.index("--tokenizer.strides") + 1
    toy = [*toy[:position], *strides, *toy[position:]]
    toy += [f"--images.channels={channels}", f"--tokenizer.in-channels={channels}"]
    results = done("run", image_folder, "--out", tmp_path / "run", *toy)
    assert len(results["reconstruction"]["levels"]) == len(strides)


def test_run_with_finite_scalar_codes_which_are_then_the_run_s_default(image_folder, tmp_path, toy, done):
    flags = [flag for flag in toy if "tokenizer.quantizer" not in flag]
    flags += ["--quantizer=fsq", "--tokenizer.quantizer.num-values", "3", "4"]
    for options in (flags, ["--precision=float32"]):
        results = done("run", image_folder, "--out", tmp_path / "run", *options)
        assert [level["num_embeddings"] for level in results["reconstruction"]["levels"]] == [12, 12]


def test_another_quantizer_has_its_own_defaults_and_priors_of_another_family_keep_width_and_depth(
    image_folder, tmp_path, done
):
    flags = ("--dry-run", "--preset=cpu32", "--quantizer=codebook-loss", "--prior=transformer")
    config = done("run", image_folder, "--out", tmp_path / "run", *flags)
    assert config["tokenizer"]["quantizer"] == CodebookLossConfig().to_dict()
    for network, other in zip(config["priors"], find_preset("cpu32").priors, strict=True):
        assert network["family"] == "transformer"
        assert (network["hidden_channels"], network["num_layers"]) == (other.hidden_channels, other.num_layers)


@pytest.mark.parametrize("size", [(12, 22), (22, 9)])
def test_images_that_are_not_square(image_folder, tmp_path, call, toy, size, done):
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
    assert done("info", run / "images")["size"] == list(size)
    described = done("info", run)
    assert described["image_size"] == list(size)
    assert [level["shape"] for level in described["levels"]] == shapes
    done("sample", run, "--out", samples, "--num-images=3")
    done("reconstruct", image_folder, "--pipeline", run, "--out", out_folder, "--limit=2")
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


def test_16_bit_grey_images_stay_16_bit(deep_folder, tmp_path, call, toy, done):
    run, samples, out_folder = tmp_path / "run", tmp_path / "samples", tmp_path / "out"
    code, out, errors = call("run", deep_folder, "--out", run, "--json", *toy)
    assert code == 0, errors
    assert "1 channels of 16 bits" in errors
    results = json.loads(out)
    likelihood = results["likelihood"]
    assert likelihood["compression_ratio"] == pytest.approx(16 / likelihood["bits_per_pixel"])
    assert len(np.unique(ImageStore.open(run / "images").pixels)) >= 24
    for name in ("images", ""):
        assert done("info", run / name)["bit_depth"] == 16
    done("sample", run, "--out", samples, "--num-images=2")
    done("reconstruct", deep_folder, "--pipeline", run, "--out", out_folder)
    written = [*samples.glob("*.png"), *out_folder.glob("*.png"), *run.glob("*.png"), run / "samples/000.png"]
    assert {path.name for path in run.glob("*.png")} == {"reconstructions.png", "completions.png"}
    assert {image_info(path.read_bytes()).bit_depth for path in written} == {16}


@pytest.mark.parametrize(("bit_depth", "flags"), [(16, []), (8, ["--images.bit-depth=8"])])
def test_a_pipeline_of_16_or_8_bits_takes_images_of_both(deep_folder, tmp_path, toy, done, bit_depth, flags):
    (tmp_path / "shallow").mkdir()
    for path in deep_folder.iterdir():
        pixels = to_8_bits(decode_image(path.read_bytes(), channels=1, bit_depth=16))
        (tmp_path / "shallow" / path.name).write_bytes(encode_png(pixels))
    done("train-tokenizer", deep_folder, "--out", tmp_path / "run", *toy, *flags)
    assert ImageStore.open(tmp_path / "run" / "images").bit_depth == bit_depth
    errors = []
    for images in (deep_folder, tmp_path / "shallow"):
        out = tmp_path / f"of-{images.name}"
        errors.append(done("reconstruct", images, "--pipeline", tmp_path / "run", "--out", out)["mse"])
        assert image_info((out / "000000.png").read_bytes()) == (20, 28, True, bit_depth)
    assert errors[0] == pytest.approx(errors[1], abs=0.02)  # the same images but for rounding


def test_options_are_checked_with_the_defaults_of_the_preset_and_the_images(image_folder, tmp_path, done, refused):
    run = ("run", image_folder, "--out", tmp_path / "o", "--dry-run")
    strides = ("--tokenizer.strides", 8, 4, 4)  # too many for images of 64 pixels, which no preset is for
    assert done(*run, "--preset=gpu256", *strides)["tokenizer"]["strides"] == [8, 4, 4]
    assert "`images.size` must be at least 128 pixels each way" in refused(*run, "--preset=cpu64", *strides)
    for path in image_folder.rglob("*.png"):
        save_png(decode_image(path.read_bytes(), channels=1), path)
    assert done(*run, "--tokenizer.in-channels=1")["images"]["channels"] == 1
