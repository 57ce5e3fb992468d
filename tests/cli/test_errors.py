"""Bad input gets one clear line and its exit code, and nothing that was written is lost."""

import json
import shutil

import numpy as np
import pytest

from vqvae2.images import encode_png


def assert_one_line(result, code, *parts):
    got, out, errors = result
    lines = [line for line in errors.splitlines() if line.startswith("vqvae2: ")]
    assert got == code, errors
    assert len(lines) == 1, errors
    assert "Traceback" not in errors
    assert out == ""
    for part in parts:
        assert part in lines[0]


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_empty_folder(tmp_path, call, toy):
    (tmp_path / "empty").mkdir()
    assert_one_line(
        call("run", tmp_path / "empty", "--out", tmp_path / "run", *toy), 1, "is empty", "folder with images"
    )
    assert not (tmp_path / "run").exists()


def test_a_folder_without_images(tmp_path, call, toy):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    assert_one_line(call("run", tmp_path / "texts", "--out", tmp_path / "run", *toy), 1, "holds no images")


def test_a_folder_that_does_not_exist(tmp_path, call, toy):
    assert_one_line(call("run", tmp_path / "gone", "--out", tmp_path / "run", *toy), 1, "gone does not exist")


def test_a_truncated_image_among_good_ones_is_skipped_counted_and_named(image_folder, tmp_path, call, toy):
    cut = (image_folder / "squares" / "0.png").read_bytes()[:60]
    (image_folder / "squares" / "cut.png").write_bytes(cut)
    code, out, errors = call("run", image_folder, "--out", tmp_path / "run", "--json", *toy)
    assert code == 0, errors
    results = json.loads(out)
    assert results["num_images"]["skipped"] == 1
    assert results["skipped_files"][0]["file"] == "squares/cut.png"
    assert "squares/cut.png" in errors


def test_images_smaller_than_the_stride(image_folder, tmp_path, call, toy):
    result = call("run", image_folder, "--out", tmp_path / "run", *toy, "--images.size", "2", "9")
    assert_one_line(result, 1, "`images.size` must be at least 4 pixels", "got 2 9")


def test_a_quantizer_that_does_not_exist(image_folder, tmp_path, call, toy):
    code, out, errors = call("run", image_folder, "--out", tmp_path / "run", *toy, "--quantizer=grid")
    assert (code, out) == (2, "")
    assert "codebook-loss" in errors


def test_a_quantizer_that_cannot_be_built(image_folder, tmp_path, call, toy):
    code, out, errors = call("run", image_folder, "--out", tmp_path / "run", *toy, "--tokenizer.quantizer.decay=1.5")
    assert (code, out) == (2, "")
    assert "`decay` must be below 1, got 1.5" in " ".join(errors.replace("\u2502", " ").split())


def test_compiling_without_a_compiler(image_folder, tmp_path, call, toy, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    result = call("run", image_folder, "--out", tmp_path / "run", *toy, "--compile")
    assert_one_line(result, 1, "`compile` needs a C++ compiler", "install g++")


def test_sampling_compiled_without_a_compiler(run_folder, tmp_path, call, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    result = call("sample", run_folder, "--out", tmp_path / "samples", "--device=cpu", "--compile")
    assert_one_line(result, 1, "`compile` needs a C++ compiler", "install g++")
    assert not (tmp_path / "samples").exists()


def test_16_bits_of_color(image_folder, tmp_path, call, toy):
    code, out, errors = call("run", image_folder, "--out", tmp_path / "run", *toy, "--images.bit-depth=16")
    assert (code, out) == (2, "")
    assert "`bit_depth` must be 8 unless `channels` is 1, got 16 for 3 channels" in " ".join(errors.split())
    assert not (tmp_path / "run").exists()


def test_tiny_images_are_enlarged(tmp_path, call, toy):
    folder = tmp_path / "tiny"
    folder.mkdir()
    for index in range(12):
        (folder / f"{index}.png").write_bytes(encode_png(np.full((2, 3, 3), index * 20, dtype=np.uint8)))
    code, _, errors = call("run", folder, "--out", tmp_path / "run", *toy)
    assert code == 0, errors


def test_a_checkpoint_of_another_kind(run_folder, tmp_path, call):
    shutil.copy(run_folder / "tokenizer" / "model.safetensors", run_folder / "prior-top" / "model.safetensors")
    result = call("sample", run_folder, "--out", tmp_path / "samples")
    assert_one_line(result, 1, "must hold a prior, but holds a tokenizer")
    assert not (tmp_path / "samples").exists()


def test_a_prior_of_another_tokenizer(run_folder, tmp_path, call, image_folder, toy):
    code, _, errors = call("run", image_folder, "--out", tmp_path / "other", *toy, "--tokenizer-training.seed=1")
    assert code == 0, errors
    shutil.copy(tmp_path / "other" / "prior-top" / "model.safetensors", run_folder / "prior-top" / "model.safetensors")
    assert_one_line(
        call("sample", run_folder, "--out", tmp_path / "s"),
        1,
        "was trained on codes of tokenizer",
        "train the prior again",
    )


def test_a_missing_level(run_folder, tmp_path, call):
    (run_folder / "prior-bottom" / "model.safetensors").unlink()
    result = call("sample", run_folder, "--out", tmp_path / "samples")
    assert_one_line(result, 1, "prior-bottom/model.safetensors does not exist", "train")


def test_a_level_that_does_not_exist(run_folder, call):
    assert_one_line(call("train-prior", run_folder, "--level=2"), 1, "`level` must be in 0..1")


def test_codes_of_another_tokenizer(run_folder, call):
    path = run_folder / "codes" / "codes.json"
    header = json.loads(path.read_text())
    header["tokenizer"] = "0" * 32
    path.write_text(json.dumps(header))
    result = call("train-prior", run_folder, "--level=0", "--device=cpu", "--precision=float32")
    assert_one_line(result, 1, "the codes were made by tokenizer 00000000")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "IMAGES", "--out", "run", "--tokenizer.colour=5"],
        ["run", "IMAGES"],
        ["paint"],
        ["sample", "run", "--out", "s", "--num-images=many"],
        [],
    ],
)
def test_a_command_line_that_cannot_be_understood(arguments, image_folder, call):
    code, out, errors = call(*(image_folder if argument == "IMAGES" else argument for argument in arguments))
    assert code == 2
    assert out == ""
    assert errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("verb", ["run", "train-tokenizer"])
def test_a_full_output_folder(image_folder, tmp_path, call, toy, verb):
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    assert_one_line(call(verb, image_folder, "--out", full, *toy), 1, "must be a new or empty folder")
    assert [path.name for path in full.iterdir()] == ["thesis.txt"]


def test_a_full_output_folder_of_samples(run_folder, tmp_path, call):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "000000.png").write_text("mine")
    result = call("sample", run_folder, "--out", tmp_path / "full")
    assert_one_line(result, 1, "must be a new or empty folder", "--force")
    assert (tmp_path / "full" / "000000.png").read_text() == "mine"


def test_force_replaces_samples_and_nothing_else(run_folder, tmp_path, call):
    for flags in ([], ["--force"]):
        count = "--num-images=1" if flags else "--num-images=3"
        code, _, errors = call("sample", run_folder, "--out", tmp_path / "s", count, "--device=cpu", *flags)
        assert code == 0, errors
        (tmp_path / "s" / "mine.txt").write_text("mine")
    left = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert left == ["000000.png", "grid.png", "mine.txt", "samples.json"]


def test_a_run_with_another_config_in_the_same_folder(run_folder, image_folder, call, toy):
    before = snapshot(run_folder)
    result = call("run", image_folder, "--out", run_folder, *toy, "--tokenizer.quantizer.commitment-cost=0.5")
    assert_one_line(result, 1, "`tokenizer.quantizer.commitment_cost` is 0.25, asked for 0.5", "--force")
    assert snapshot(run_folder) == before


def test_force_starts_a_run_anew_and_keeps_what_is_not_its_own(run_folder, image_folder, call, toy):
    (run_folder / "notes.txt").write_text("mine")
    result = call(
        "run", image_folder, "--out", run_folder, *toy, "--tokenizer.quantizer.commitment-cost=0.5", "--force"
    )
    assert result[0] == 0, result[2]
    assert (run_folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("times", [1, 2])
def test_force_never_touches_a_user_s_files_of_the_same_names(image_folder, tmp_path, call, toy, times):
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "holiday.png").write_text("mine")
    (folder / "prior-art.pdf").write_text("mine")
    before = snapshot(folder)
    for _ in range(times):
        result = call("run", image_folder, "--out", folder, *toy, "--force")
        assert_one_line(result, 1, "holds images, which are not of a run")
    assert snapshot(folder) == before


def test_force_never_overwrites_pictures_that_no_command_wrote(run_folder, tmp_path, call):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "000000.png").write_text("mine")
    result = call("sample", run_folder, "--out", tmp_path / "full", "--force")
    assert_one_line(result, 1, "holds 000000.png, which no earlier command wrote")
    assert (tmp_path / "full" / "000000.png").read_text() == "mine"


def test_a_run_goes_on_with_its_own_images_only(run_folder, image_folder, tmp_path, call):
    shutil.copytree(image_folder / "squares", tmp_path / "others")
    result = call("run", tmp_path / "others", "--out", run_folder, "--device=cpu", "--precision=float32")
    assert_one_line(result, 1, "was begun with 40 files, of which 0 are among these 20", "--force")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--class=cats"], "`class` must be one of the pipeline's classes (squares, stripes), got 'cats'"),
        (["--top-k=13"], "`top_k` must be in 0..12 at the top level (its codebook size), got 13"),
        (["--top-k", "12", "13"], "`top_k` must be in 0..12 at the bottom level"),
        (["--temperature", "1", "0.9", "0.8"], "`temperature` must hold at most 2 values, one per level, got 3"),
        (["--temperature"], "`temperature` must hold 1 or more values"),
        (["--guidance-scale=-1"], "`guidance_scale` must be at least 0"),
        (["--temperature=-1"], "`temperature.0` must be at least 0"),
        (["--seed=-1"], "`seed` must be at least 0, got -1"),
        (["--num-images=0"], "`num_images` and `batch_size` must be above 0"),
        (["--device=cuda"], "`device` must be one that this machine has"),
    ],
)
def test_sampling_options_that_do_not_fit(run_folder, tmp_path, call, flags, message):
    assert_one_line(call("sample", run_folder, "--out", tmp_path / "s", *flags), 1, message)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--known-rows=0.5", "--keep-levels=1"], "exclude each other, got known_rows and keep_levels"),
        (
            ["--known-rows=16"],
            "`known_rows` must be a share of the height below 1 or a whole number of pixel rows below",
        ),
        (["--keep-levels=2"], "`keep_levels` must be in 1..1, got 2"),
        (["--variants=0"], "`variants` must be at least 1, got 0"),
        (["--batch-size=0"], "`batch_size` must be at least 1, got 0"),
        (["--limit=-1"], "`limit` must be at least 0, got -1"),
        (["--class=cats"], "`class` must be one of the pipeline's classes (squares, stripes), got 'cats'"),
        (["--guidance-scale=2"], "`guidance_scale` 2 needs a class; give one, or leave it at 1"),
        (["--top-k=13"], "`top_k` must be in 0..12 at the top level"),
        (["--seed=-1"], "`seed` must be at least 0, got -1"),
        (["--mask", "gone.png"], "`mask` must be a picture, but gone.png: the file cannot be read: No such file"),
        (["--mask", "run.json"], "run.json: not a readable image: the format is unknown"),
        (
            ["--mask", "small.png"],
            "`mask` must be 16 pixels high and 16 wide, like the pipeline's images, but small.png is 8",
        ),
        (["--mask", "dark.png"], "`mask` must be white where images are drawn anew, but dark.png is dark"),
    ],
)
def test_completion_options_that_do_not_fit(run_folder, image_folder, tmp_path, call, flags, message, monkeypatch):
    monkeypatch.chdir(run_folder)
    for name, height in (("small", 8), ("dark", 16)):
        (run_folder / f"{name}.png").write_bytes(encode_png(np.zeros((height, 16, 1), dtype=np.uint8)))
    result = call("complete", image_folder, "--pipeline", run_folder, "--out", tmp_path / "o", "--device=cpu", *flags)
    assert_one_line(result, 1, message)
    assert not (tmp_path / "o").exists()


def test_completing_what_is_not_there_or_no_image(run_folder, tmp_path, call):
    (tmp_path / "text.png").write_text("text")
    for images, message in (("gone", "gone does not exist"), ("text.png", "text.png: not a readable image")):
        result = call("complete", tmp_path / images, "--pipeline", run_folder, "--out", tmp_path / "o")
        assert_one_line(result, 1, message)
        assert not (tmp_path / "o").exists()


def test_completions_are_replaced_with_force_and_samples_never(run_folder, image_folder, tmp_path, call):
    complete = ["complete", image_folder, "--pipeline", run_folder, "--device=cpu", "--variants=1", "--limit=1"]
    assert call(*complete, "--out", tmp_path / "o")[0] == 0
    assert_one_line(call(*complete, "--out", tmp_path / "o"), 1, "must be a new or empty folder", "--force")
    assert call(*complete, "--out", tmp_path / "o", "--force")[0] == 0
    assert call("sample", run_folder, "--out", tmp_path / "s", "--num-images=1", "--device=cpu")[0] == 0
    result = call(*complete, "--out", tmp_path / "s", "--force")
    assert_one_line(result, 1, "holds 000000.png, which no earlier command wrote")


def test_a_folder_that_is_no_pipeline(tmp_path, call):
    assert_one_line(call("sample", tmp_path, "--out", tmp_path / "s"), 1, "is not a pipeline")


def test_a_folder_that_is_no_run(tmp_path, call):
    assert_one_line(call("extract-codes", tmp_path), 1, "is not the folder of a run")


def test_a_pipeline_without_priors_cannot_sample(image_folder, tmp_path, call, toy):
    call("train-tokenizer", image_folder, "--out", tmp_path / "run", *toy)
    for arguments in (["sample"], ["complete", image_folder, "--pipeline"]):
        result = call(*arguments, tmp_path / "run", "--out", tmp_path / "s", "--device=cpu")
        assert_one_line(result, 1, "has no priors", "train a prior for every level")
        assert not (tmp_path / "s").exists()


def test_priors_need_codes_first(image_folder, tmp_path, call, toy):
    call("train-tokenizer", image_folder, "--out", tmp_path / "run", *toy)
    assert_one_line(call("train-prior", tmp_path / "run", "--level=0"), 1, "has no codes yet", "extract-codes")


def test_flips_need_codes_of_mirrored_images_and_the_message_s_commands_make_them(run_folder, call):
    device = ["--device=cpu", "--precision=float32"]
    shutil.rmtree(run_folder / "prior-top")
    state = json.loads((run_folder / "run.json").read_text())
    del state["steps"]["train prior, top"], state["seconds"]["train prior, top"]
    (run_folder / "run.json").write_text(json.dumps(state))
    train = ["train-prior", run_folder, "--level=0", "--training.horizontal-flips", *device]
    parts = ("codes lacks the codes of mirrored images", f"delete it and run `vqvae2 extract-codes {run_folder}`")
    assert_one_line(call(*train), 1, *parts)
    assert_one_line(call("extract-codes", run_folder, *device), 1, *parts)
    shutil.rmtree(run_folder / "codes")
    for arguments in (["extract-codes", run_folder, *device], train):
        code, _, errors = call(*arguments)
        assert code == 0, errors


def test_a_prior_that_is_trained_refuses_flips_and_the_run_forgets_them(run_folder, call):
    before = (run_folder / "run.json").read_bytes()
    device = ["--device=cpu", "--precision=float32"]
    code, _, _ = call("train-prior", run_folder, "--level=0", "--training.horizontal-flips", *device)
    assert code == 1
    assert (run_folder / "run.json").read_bytes() == before


def test_codes_of_an_older_format(run_folder, call):
    path = run_folder / "codes" / "codes.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 1}))
    result = call("extract-codes", run_folder, "--device=cpu")
    assert_one_line(result, 1, "codes.json is of format version 1, this package reads 2; delete", "and make it again")


@pytest.mark.parametrize("damage", ["", "{", '{"magic": "other", "version": 1}', '{"magic": "vqvae2.run"}'])
def test_a_damaged_run_file(run_folder, call, damage):
    (run_folder / "run.json").write_text(damage)
    assert_one_line(call("extract-codes", run_folder), 1, "run.json")


def test_an_unknown_preset(image_folder, tmp_path, call):
    assert_one_line(call("run", image_folder, "--out", tmp_path / "r", "--preset=huge"), 1, "`preset` must be one of")


def test_info_of_something_else(tmp_path, call):
    assert_one_line(call("info", tmp_path / "gone"), 1, "`path` must be a preset")


def test_levels_that_are_not_there(run_folder, image_folder, tmp_path, call):
    result = call("reconstruct", image_folder, "--pipeline", run_folder, "--out", tmp_path / "o", "--levels=3")
    assert_one_line(result, 1, "`levels` must be in 1..2, got 3")


def test_an_interrupted_command_says_how_to_go_on(image_folder, tmp_path, call, toy, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vqvae2.runs.run.Run.extract_codes", interrupt)
    code, _, errors = call("run", image_folder, "--out", tmp_path / "run", *toy)
    assert code == 130
    assert "vqvae2: interrupted; " in errors
    monkeypatch.undo()
    code, _, errors = call("run", image_folder, "--out", tmp_path / "run", *toy)
    assert code == 0, errors
