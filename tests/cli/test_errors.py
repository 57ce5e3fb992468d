"""Bad input gets one clear line and its exit code, and nothing that was written is lost."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from vqvae2.__main__ import main as start
from vqvae2.images import encode_png

CPU = ("--device=cpu", "--precision=float32")
INTO = ("--pipeline", "{run}", "--out", "{tmp}/o")


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("images", "flags", "parts"),
    [
        ("empty", [], ("is empty", "folder with images")),
        ("texts", [], ("holds no images",)),
        ("gone", [], ("gone does not exist",)),
        ("photos", ["--images.size", "2", "9"], ("`images.size`", "at least 4", "2")),
        ("photos", ["--preset=huge"], ("`preset` must be one of",)),
    ],
)
def test_a_run_that_cannot_begin_leaves_no_folder(image_folder, tmp_path, refused, toy, images, flags, parts):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    line = refused("run", tmp_path / images, "--out", tmp_path / "run", *toy, *flags)
    assert all(part in line for part in parts), line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--tokenizer.quantizer.decay=1.5"], "`tokenizer.quantizer.decay` must be below 1, got 1.5"),
        (["--priors.0.num-layers=-3"], "`priors.0.num_layers` must be at least 1, got -3"),
        (["--images.size", "0", "16"], "`images.size.0` must be above 0, got 0"),
        (["--images.bit-depth=16"], "`images.bit_depth` must be 8 unless `channels` is 1, got 16 for 3 channels"),
        (["--minutes=-1"], "`minutes` must be at least 0, got -1.0"),
    ],
)
def test_a_config_that_cannot_be_used(image_folder, tmp_path, refused, toy, flags, part):
    assert part in refused("run", image_folder, "--out", tmp_path / "run", *toy, *flags)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--minutes=soon"], "--minutes: must be a number, got 'soon'"),
        (["--priors.0.num-layers=1.5"], "--priors.0.num-layers: must be a whole number, got '1.5'"),
        (["--stage-minutes=soon"], "--stage-minutes: must be of the form {None}|FLOAT, got 'soon'"),
        (["--images.size", "16", "x"], "--images.size: must be of the form INT INT, got '16 x'"),
        (["--tokenizer.strides", "2", "x"], "--tokenizer.strides: must be of the form [INT [INT ...]], got '2 x'"),
        (["--device=gpuu"], "--device: must be of the form {auto,cpu,cuda,mps}, got 'gpuu'"),
        (["--quantizer=grid"], "--quantizer: must be of the form {None,ema,codebook-loss,fsq}, got 'grid'"),
        (["--log-to", "wandb", "paper"], "--log-to: must be of the form {None}|{[{tensorboard,wandb,trackio} ["),
        (["--images.size", "16"], "Missing value for argument '--images.size'. Expected 2 values."),
        (["--tokenizer.quantizer.comitment-cost=1"], "meant: --tokenizer.quantizer.commitment-cost FLOAT"),
        (["--priors.0.colour=5"], "Unrecognized options: --priors.0.colour"),
        (["config:run-config"], "Unrecognized options: config:run-config"),
    ],
)
def test_what_cannot_be_read_is_told_in_the_user_s_words(image_folder, tmp_path, call, monkeypatch, flags, part):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, errors = call("train-tokenizer", image_folder, "--out", tmp_path / "run", *flags)
    assert (code, out) == (2, "")
    told = " ".join(errors.replace("\u2502", " ").split())
    assert part in told
    assert not re.search(r"config\.|Config|<class|typing|NoneType|Subcommands|\(\) with base", told)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "IMAGES", "--out", "run", "--tokenizer.colour=5"],
        ["run", "IMAGES", "--out", "run", "--priors.7.colour=5"],
        ["run", "IMAGES"],
        ["paint"],
        ["sample", "run", "--out", "s", "--num-images=many"],
        [],
    ],
)
def test_a_command_line_that_cannot_be_understood(arguments, image_folder, call):
    code, out, errors = call(*(image_folder if argument == "IMAGES" else argument for argument in arguments))
    assert (code, out) == (2, "")
    assert errors
    assert "Traceback" not in errors


def test_the_version_is_told(call):
    assert call("--version") == (0, "vqvae2 0.1.0\n", "")


def test_a_truncated_image_is_skipped_counted_and_named_and_a_tiny_one_enlarged(image_folder, tmp_path, call, toy):
    cut = (image_folder / "squares" / "0.png").read_bytes()[:60]
    (image_folder / "squares" / "cut.png").write_bytes(cut)
    (image_folder / "squares" / "tiny.png").write_bytes(encode_png(np.full((2, 3, 3), 20, dtype=np.uint8)))
    code, out, errors = call("run", image_folder, "--out", tmp_path / "run", "--json", *toy)
    assert code == 0, errors
    results = json.loads(out)
    assert sum(results["num_images"][side] for side in ("train", "validation")) == 41
    assert results["num_images"]["skipped"] == 1
    assert results["skipped_files"][0]["file"] == "squares/cut.png"
    assert "squares/cut.png" in errors


def test_compiling_without_a_compiler(image_folder, tmp_path, refused, toy, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    line = refused("run", image_folder, *toy, "--out", tmp_path / "out", "--compile")
    assert "`compile` needs a C++ compiler" in line
    assert "install g++" in line
    assert not (tmp_path / "out").exists()


def test_a_prior_that_is_of_another_kind_or_missing(run_folder, tmp_path, refused):
    model, sample = run_folder / "prior-top" / "model.safetensors", ("sample", run_folder, "--out", tmp_path / "s")
    shutil.copy(run_folder / "tokenizer" / "model.safetensors", model)
    assert "must hold a prior, but holds a tokenizer" in refused(*sample)
    model.unlink()
    assert "prior-top/model.safetensors does not exist" in refused(*sample)
    assert not (tmp_path / "s").exists()


def test_force_replaces_pictures_of_the_same_verb_and_nothing_else(shared_run, shared_images, tmp_path, done, refused):
    sample = ("sample", shared_run, "--out", tmp_path / "sample", "--num-images")
    complete = ("complete", shared_images, "--pipeline", shared_run, "--variants=1", "--out", tmp_path / "o", "--limit")
    for command in (sample, complete):
        done(*command, 3)
        (command[-2] / "mine.txt").write_text("mine")
        line = refused(*command, 1)
        assert "must be a new or empty folder" in line
        assert "--force" in line
        done(*command, 1, "--force")
        left = {path.name for path in command[-2].iterdir()} - {"grid.png", "samples.json", "completions.json"}
        assert left == {"000000.png", "mine.txt"}
    for command, other in ((sample, complete), (complete, sample)):
        line = refused(*command[:-2], other[-2], command[-1], 1, "--force")
        assert "holds 000000.png, which no earlier command wrote" in line


def test_another_config_is_refused_and_force_starts_anew_beside_other_files(
    run_folder, image_folder, refused, done, toy
):
    (run_folder / "notes.txt").write_text("mine")
    before = snapshot(run_folder)
    run = ("run", image_folder, "--out", run_folder, *toy, "--tokenizer.quantizer.commitment-cost=0.5", "--force")
    line = refused(*run[:-1])
    assert "`tokenizer.quantizer.commitment_cost` is 0.25, asked for 0.5" in line
    assert "--force" in line
    assert snapshot(run_folder) == before
    done(*run)
    assert (run_folder / "notes.txt").read_text() == "mine"


def test_a_user_s_files_are_never_touched_even_by_force(image_folder, tmp_path, refused, toy):
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "holiday.png").write_text("mine")
    (folder / "prior-art.pdf").write_text("mine")
    before = snapshot(folder)
    forced = "holds images, which are not of a run"
    for flags, part in (([], "must be a new or empty folder"), (["--force"], forced), (["--force"], forced)):
        assert part in refused("run", image_folder, "--out", folder, *toy, *flags)
    assert snapshot(folder) == before


def test_a_run_goes_on_with_its_own_images_only(run_folder, image_folder, tmp_path, refused):
    shutil.copytree(image_folder / "squares", tmp_path / "others")
    line = refused("run", tmp_path / "others", "--out", run_folder, *CPU)
    assert "was begun with 40 files, of which 0 are among these 20" in line
    assert "--force" in line


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--class=cats"], ("`class`", "(squares, stripes), got 'cats'")),
        (["--top-k=13"], ("`top_k` must be in 0..12 at the top level", "got 13")),
        (["--top-k", "12", "13"], ("`top_k` must be in 0..12 at the bottom level",)),
        (["--temperature", "1", "0.9", "0.8"], ("`temperature` must hold at most 2 values", "got 3")),
        (["--temperature"], ("`temperature` must hold 1 or more values",)),
        (["--guidance-scale=-1"], ("`guidance_scale` must be at least 0",)),
        (["--temperature=-1"], ("`temperature.0` must be at least 0",)),
        (["--seed=-1"], ("`seed` must be at least 0, got -1",)),
        (["--num-images=0"], ("`num_images`", "above 0")),
        (["--batch-size=0"], ("`batch_size` must be at least 1, got 0",)),
        (["--device=cuda"], ("`device` must be one that this machine has",)),
    ],
)
def test_sampling_options_that_do_not_fit(shared_run, tmp_path, refused, flags, parts):
    line = refused("sample", shared_run, "--out", tmp_path / "s", *flags)
    assert all(part in line for part in parts), line
    assert not (tmp_path / "s").exists()


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    """A folder of pictures that are no masks of images of 16x16 pixels."""
    folder = tmp_path_factory.mktemp("masks")
    (folder / "text.png").write_text("text")
    for name, height in (("small", 8), ("dark", 16)):
        (folder / f"{name}.png").write_bytes(encode_png(np.zeros((height, 16, 1), dtype=np.uint8)))
    transparent_white = np.full((16, 16, 4), (255, 255, 255, 0), dtype=np.uint8)
    (folder / "clear.png").write_bytes(encode_png(transparent_white))
    return folder


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--known-rows=0.5", "--keep-levels=1"], ("exclude each other, got known_rows and keep_levels",)),
        (["--known-rows=16"], ("`known_rows`",)),
        (["--keep-levels=2"], ("`keep_levels` must be in 1..1, got 2",)),
        (["--variants=0"], ("`variants` must be at least 1, got 0",)),
        (["--batch-size=0"], ("`batch_size` must be at least 1, got 0",)),
        (["--limit=-1"], ("`limit` must be at least 0, got -1",)),
        (["--guidance-scale=2"], ("`guidance_scale` 2 needs a class",)),
        (["--mask", "gone.png"], ("`mask`", "gone.png: the file cannot be read: No such file")),
        (["--mask", "text.png"], ("`mask`", "text.png: not a readable image: the format is unknown")),
        (["--mask", "small.png"], ("`mask` must be 16 pixels high and 16 wide", "small.png is 8")),
        (["--mask", "dark.png"], ("`mask` must be white", "dark.png has nothing of it")),
        (["--mask", "clear.png"], ("`mask` must be white", "clear.png has nothing of it")),
    ],
)
def test_completion_options_that_do_not_fit(
    shared_run, shared_images, masks, tmp_path, refused, flags, parts, monkeypatch
):
    monkeypatch.chdir(masks)
    line = refused("complete", shared_images, "--pipeline", shared_run, "--out", tmp_path / "o", CPU[0], *flags)
    assert all(part in line for part in parts), line
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["sample", "{tmp}", "--out", "{tmp}/s"], "is not a pipeline"),
        (["extract-codes", "{tmp}"], "is not the folder of a run"),
        (["info", "{tmp}/gone"], "`path` must be a preset"),
        (["info", "{tmp}"], "is empty"),
        (["info", "{tmp}/gone.tar"], "gone.tar"),
        (["train-prior", "{run}", "--level=2"], "`level` must be in 0..1"),
        (["reconstruct", "{images}", *INTO, "--levels=3"], "`levels` must be in 1..2, got 3"),
        (["complete", "{tmp}/gone", *INTO], "gone does not exist"),
        (["complete", "{run}/run.json", *INTO], "run.json: not a readable image"),
    ],
)
def test_what_is_not_there(shared_run, shared_images, tmp_path, refused, arguments, part):
    places = {"run": shared_run, "images": shared_images, "tmp": tmp_path}
    assert part in refused(*(argument.format(**places) for argument in arguments))
    assert not list(tmp_path.iterdir())


def test_a_run_without_codes_and_priors_says_what_comes_next(image_folder, tmp_path, done, refused, toy):
    done("train-tokenizer", image_folder, "--out", tmp_path / "run", *toy)
    for arguments in (["sample"], ["complete", image_folder, "--pipeline"]):
        line = refused(*arguments, tmp_path / "run", "--out", tmp_path / "s", CPU[0])
        assert "has no priors" in line
        assert "train a prior for every level" in line
        assert not (tmp_path / "s").exists()
    line = refused("train-prior", tmp_path / "run", "--level=0")
    assert "has no codes yet" in line
    assert "extract-codes" in line


def test_flips_need_codes_of_mirrored_images_and_the_message_s_commands_make_them(
    run_folder, forget_prior, done, refused
):
    train = ["train-prior", run_folder, "--level=0", "--training.horizontal-flips", *CPU]
    before = (run_folder / "run.json").read_bytes()
    refused(*train)  # the prior is trained
    assert (run_folder / "run.json").read_bytes() == before
    forget_prior("top")
    for arguments in (train, ["extract-codes", run_folder, *CPU]):
        line = refused(*arguments)
        assert "codes holds codes with another config (`horizontal_flips` is False, asked for True)" in line
        assert f"delete it and run `vqvae2 extract-codes {run_folder}`" in line
    shutil.rmtree(run_folder / "codes")
    done("extract-codes", run_folder, *CPU)
    done(*train)


def test_codes_of_other_views_are_refused_and_the_run_stays_as_it_is(run_folder, image_folder, forget_prior, refused):
    for level in ("top", "bottom"):
        line = refused("extract-codes", run_folder, "--augment=2", *CPU)
        assert f"prior-{level} holds a prior of codes with another config (`augment` is 0, asked for 2); ask" in line
        forget_prior(level)
    before = (run_folder / "run.json").read_bytes()
    line = refused("extract-codes", run_folder, "--augment=2", *CPU)
    assert "codes holds codes with another config (`augment` is 0, asked for 2); ask for the same, or delete it" in line
    line = refused("run", image_folder, "--out", run_folder, "--extraction.augment=2", *CPU)
    assert "(`extraction.augment` is 0, asked for 2)" in line
    assert (run_folder / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("verb", "changes", "part"),
    [
        (["train-prior", "--level=0"], {"tokenizer": "0" * 32}, "tokenizer 00000000"),
        (["extract-codes"], {"version": 1}, "codes.json is of format version 1, this package reads 3; delete"),
    ],
)
def test_codes_of_another_tokenizer_or_an_older_format(run_folder, refused, verb, changes, part):
    path = run_folder / "codes" / "codes.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert part in refused(*verb, run_folder, *CPU)


@pytest.mark.parametrize("damage", ["", "{", '{"magic": "other", "version": 1}', '{"magic": "vqvae2.run"}'])
def test_a_damaged_run_file(run_folder, refused, damage):
    (run_folder / "run.json").write_text(damage)
    assert "run.json" in refused("extract-codes", run_folder)


def test_an_interrupted_command_resumes(image_folder, tmp_path, call, done, toy, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vqvae2.runs.run.Run.extract_codes", interrupt)
    run = ["run", image_folder, "--out", tmp_path / "run", *toy]
    code, _, errors = call(*run)
    assert code == 130
    assert "vqvae2: interrupted; " in errors
    monkeypatch.undo()
    done(*run)


def test_a_second_command_in_a_folder_is_refused(run_folder, shared_images, tmp_path, refused):
    """Whether it trains, evaluates or writes; what only reads the folder may go on."""
    script = "from pathlib import Path; from vqvae2.system.folder_lock import hold_folder\n"
    script += "import sys\nwith hold_folder(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, run_folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        for arguments in (
            ("run", shared_images, "--out", run_folder),
            ("extract-codes", run_folder),
            ("evaluate", run_folder),
            ("evaluate", "builtin", "--data", shared_images, "--out", run_folder),
            ("tune-sampling", run_folder),
            ("tune-sampling", run_folder, "--out", tmp_path / "table"),
            ("sample", "builtin", "--out", run_folder),
        ):
            assert f"in use by process {holder.pid}" in refused(*arguments)
        assert "in use" not in refused("sample", run_folder, "--out", tmp_path / "samples", "--num-images=-1")
        holder.stdin.close()


@pytest.mark.parametrize("allocate", [lambda *_: torch.empty(2**55), lambda *_: np.empty(2**55)])
def test_a_machine_without_enough_memory(monkeypatch, refused, tmp_path, allocate):
    monkeypatch.setattr("vqvae2.Pipeline.from_pretrained", allocate)
    line = refused("sample", "builtin", "--out", tmp_path / "o", "--device=cpu")
    assert "this machine has too little memory; use a smaller `batch_size`" in line


def test_letters_that_the_output_lacks_are_written_as_their_numbers(run_folder, tmp_path):
    """As when a terminal of another alphabet, or a file, takes the output."""
    run_folder = run_folder.rename(tmp_path / "Größe…")
    command = [sys.executable, "-m", "vqvae2", "extract-codes", run_folder, *CPU]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, check=False)
    assert done.returncode == 0, done.stderr
    assert rb"Gr\xf6\xdfe\u2026" in done.stdout


def test_an_interruption_while_the_command_starts_is_one_line(monkeypatch, capsys):
    class Interrupting:
        @staticmethod
        def find_spec(name, *_):
            if name == "vqvae2.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "vqvae2.cli.main")
    monkeypatch.setattr(sys, "meta_path", [Interrupting, *sys.meta_path])
    assert start() == 130
    assert capsys.readouterr().err == "\nvqvae2: interrupted\n"
