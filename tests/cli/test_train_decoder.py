"""The verb that trains a second decoder, and the verbs that decode with it, as a user would type them."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch

from vqvae2.cli.main import main
from vqvae2.config import RunConfig
from vqvae2.images import decode_image, encode_png, from_pixels, to_pixels
from vqvae2.models.checkpoint import load_model, read_model_file
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.runs.run import Run

CPU = ["--device=cpu", "--precision=float32"]
TRAINING = [
    "--training.steps=6",
    "--training.batch-size=4",
    "--training.loss-network=none",
    "--training.max-validations=1",
]


@pytest.fixture(scope="module")
def sharp_run(shared_run, tmp_path_factory):
    """A finished run with a second decoder, to read only."""
    folder = shutil.copytree(shared_run, tmp_path_factory.mktemp("sharp") / "run")
    assert main(["train-decoder", str(folder), *CPU, *TRAINING]) == 0
    return folder


@pytest.fixture
def sharp_folder(sharp_run, tmp_path):
    """A copy of it, to do with as one likes."""
    return shutil.copytree(sharp_run, tmp_path / "sharp-run")


def parts_of(folder):
    """The bytes of what codes, likelihoods and files depend on."""
    names = ("images", "tokenizer", "codes", "prior-top", "prior-bottom")
    return {
        path.relative_to(folder): path.read_bytes()
        for name in names
        for path in (folder / name).rglob("*")
        if path.is_file()
    }


def pixels_of(path):
    return decode_image(path.read_bytes(), channels=3)


def images_of(folder, *names):
    return from_pixels(torch.from_numpy(np.stack([pixels_of(folder / name) for name in names])))


def test_a_decoder_joins_a_run_and_everything_else_stays_as_it_was(shared_run, sharp_run, done):
    assert parts_of(sharp_run) == parts_of(shared_run)
    described = done("info", sharp_run)
    assert (described["decoders"], described["default_decoder"]) == (["sharp", "faithful"], "sharp")
    _, header = load_model(sharp_run / "sharp-decoder" / "model.safetensors", kind="decoder")
    assert header.config.tokenizer == read_model_file(sharp_run / "tokenizer" / "model.safetensors").fingerprint
    config = json.loads((sharp_run / "run.json").read_text())["config"]
    assert (config["sharp_decoder"], config["default_decoder"]) == (True, "sharp")
    assert config["decoder_training"]["batch_size"] == 4


def test_likelihoods_and_compressed_files_do_not_change(shared_run, sharp_run, shared_images, tmp_path, call, done):
    found = []
    for run in (shared_run, sharp_run):
        done("compress", shared_images, "--pipeline", run, "--out", tmp_path / run.parent.name, "--limit=3")
        files = sorted((tmp_path / run.parent.name).rglob("*.vq2"))
        found.append([file.read_bytes() for file in files])
    assert len(found[0]) == 3
    assert found[0] == found[1]
    likelihoods = []
    for run, flags in ((shared_run, []), (sharp_run, ["--decoder=sharp"]), (sharp_run, ["--decoder=faithful"])):
        copy = shutil.copytree(run, tmp_path / f"copy-{len(likelihoods)}")
        code, out, errors = call("evaluate", copy, "--metrics", "likelihood", *flags, *CPU, "--json")
        assert code == 0, errors
        likelihoods.append(json.loads(out)["likelihood"])
    assert likelihoods[0] == likelihoods[1] == likelihoods[2]


@pytest.mark.parametrize(("flags", "decoder"), [([], "sharp"), (["--decoder=faithful"], "faithful")])
def test_every_verb_that_decodes_takes_the_decoder_that_is_asked_for(
    shared_run, sharp_run, shared_images, tmp_path, done, flags, decoder
):
    pipeline = Pipeline.from_pretrained(sharp_run).using(decoder)
    image = shared_images / "stripes" / "3.png"
    images = images_of(shared_images, "stripes/3.png")
    whole = to_pixels(pipeline.reconstruct(images))[0].numpy()

    done("reconstruct", image, "--pipeline", sharp_run, "--out", tmp_path / "r", *flags)
    assert np.array_equal(pixels_of(tmp_path / "r" / "000000.png"), whole)

    done("compress", image, "--pipeline", shared_run, "--out", tmp_path / "c")  # before there was a second decoder
    done("decompress", tmp_path / "c", "--pipeline", sharp_run, "--out", tmp_path / "d", *flags)
    assert np.array_equal(pixels_of(tmp_path / "d" / "3.png"), whole)

    done("complete", image, "--pipeline", sharp_run, "--out", tmp_path / "o", "--keep-levels=1", "--variants=1", *flags)
    given = pixels_of(tmp_path / "o" / "000000.png")[2:18, 20:36]
    assert np.array_equal(given, to_pixels(pipeline.reconstruct(images, levels=1))[0].numpy())

    done("sample", sharp_run, "--out", tmp_path / "s", "--num-images=2", *flags)
    drawn = to_pixels(pipeline.sample(2)).numpy()
    assert all(np.array_equal(pixels_of(tmp_path / "s" / f"00000{index}.png"), drawn[index]) for index in range(2))

    for listing in ("r/reconstructions.json", "o/completions.json"):
        assert json.loads((tmp_path / listing).read_text())["decoder"] == decoder


def test_a_listing_says_of_each_decompressed_image_which_decoder_made_it(sharp_run, shared_images, tmp_path, done):
    done("compress", shared_images, "--pipeline", sharp_run, "--out", tmp_path / "c", "--limit=2")
    first, second = sorted((tmp_path / "c").rglob("*.vq2"))
    for file, decoder in ((first, "sharp"), (second, "faithful")):
        decompress = ("decompress", file, "--pipeline", sharp_run, "--out", tmp_path / "d", "--force")
        done(*decompress, "--decoder", decoder)
    rows = json.loads((tmp_path / "d" / "decompressed.json").read_text())["images"]
    assert {row["original"]: row["decoder"] for row in rows} == {first.name: "sharp", second.name: "faithful"}


def test_sampling_resumes_with_the_same_decoder_only(sharp_run, tmp_path, done, refused):
    sample = ("sample", sharp_run, "--out", tmp_path / "s", "--num-images=2", "--device=cpu")
    done(*sample[:-1])
    assert "must be a new or empty folder" in refused(*sample, "--decoder=faithful")
    assert done(*sample[:-1], "--decoder=sharp")["codes"] == 0
    request = json.loads((tmp_path / "s" / "samples.json").read_text())["request"]
    assert request["sharp_decoder"] == read_model_file(sharp_run / "sharp-decoder" / "model.safetensors").fingerprint


def test_a_run_adds_it_last_as_the_verb_does_and_keeps_it(run_folder, sharp_run, image_folder, call):
    flags = ["--sharp-decoder", *(flag.replace("--training", "--decoder-training") for flag in TRAINING)]
    name = "sharp-decoder/model.safetensors"
    for added, stages in ((flags, 5), ([], 6)):
        code, out, errors = call("run", image_folder, "--out", run_folder, *CPU, *added, "--json")
        assert code == 0, errors
        results = json.loads(out)
        assert list(results["trainings"]) == [
            *("train tokenizer", "train prior, top", "train prior, bottom", "train decoder")
        ]
        assert (results["decoder"], errors.count("done before")) == ("sharp", stages)
        assert read_model_file(run_folder / name).fingerprint == read_model_file(sharp_run / name).fingerprint


def test_a_training_that_was_stopped_resumes(run_folder, sharp_run, call, done, monkeypatch):
    train = ("train-decoder", run_folder, *CPU, *TRAINING, "--training.checkpoint-seconds=0")
    steps = []

    def interrupt(terminal, progress):
        steps.append(progress.done)
        if progress.done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("vqvae2.cli.console.Terminal.progress", interrupt)
    assert call(*train)[0] == 130
    monkeypatch.undo()
    assert steps == [1, 2, 3]
    assert not (run_folder / "sharp-decoder" / "model.safetensors").exists()
    assert done("info", run_folder)["decoders"] == ["faithful"]  # until it is trained
    assert done(*train)["last_step"] == 6
    name = "sharp-decoder/model.safetensors"
    assert read_model_file(run_folder / name).fingerprint == read_model_file(sharp_run / name).fingerprint


def test_the_default_can_be_changed_later_and_stays(sharp_folder, done):
    model = sharp_folder / "sharp-decoder" / "model.safetensors"
    before = model.read_bytes()
    for flags, expected in ((["--default-decoder=faithful"], "faithful"), ([], "faithful")):
        assert done("train-decoder", sharp_folder, "--precision=float32", *flags)["default"] == expected
        assert json.loads((sharp_folder / "config.json").read_text())["default_decoder"] == expected
        assert json.loads((sharp_folder / "run.json").read_text())["config"]["default_decoder"] == expected
    assert model.read_bytes() == before
    assert done("train-decoder", sharp_folder, "--default-decoder=sharp")["default"] == "sharp"


@pytest.fixture
def change_record(sharp_folder):
    """Change what the run's record says, by a function."""

    def change(how):
        values = json.loads((sharp_folder / "run.json").read_text())
        how(values)
        (sharp_folder / "run.json").write_text(json.dumps(values))

    return change


def test_once_it_is_trained_nobody_needs_the_network_of_its_loss(
    sharp_folder, image_folder, change_record, call, done, refused
):
    change_record(lambda values: values["config"]["decoder_training"].update(loss_network="vgg16"))
    assert done("train-decoder", sharp_folder, "--default-decoder=faithful")["loss_network"] == "vgg16"
    assert done("info", sharp_folder)["default_decoder"] == "faithful"
    code, _, errors = call("run", image_folder, "--out", sharp_folder, *CPU, "--default-decoder=sharp")
    assert (code, errors.count("done before")) == (0, 6), errors
    assert done("info", sharp_folder)["default_decoder"] == "sharp"
    change_record(lambda values: values["seconds"].pop("train decoder"))
    line = refused("run", image_folder, "--out", sharp_folder, *CPU)
    assert "must be auto, lite0 or none where no file of weights is given, got 'vgg16'; leave `--sharp-decoder`" in line


def test_a_run_that_could_not_have_the_weights_of_a_network_does_not_begin(image_folder, tmp_path, refused, toy):
    flags = ("--sharp-decoder", "--decoder-training.loss-network=vgg16")
    line = refused("run", image_folder, "--out", tmp_path / "run", *toy, *flags)
    assert f"then run `vqvae2 train-decoder {tmp_path / 'run'} --training.loss-network vgg16 --loss-network-w" in line
    assert not (tmp_path / "run").exists()


def test_a_half_trained_decoder_is_not_used(sharp_folder, change_record, done, runtime):
    change_record(lambda values: values["seconds"].pop("train decoder"))
    Run.open(sharp_folder, runtime=runtime).train_tokenizer()
    assert done("info", sharp_folder)["decoders"] == ["faithful"]


def test_options_of_a_second_decoder_change_those_of_the_run(image_folder, sharp_folder, done, refused):
    run = ("run", image_folder, "--out", sharp_folder, "--preset=cpu32")
    earlier = json.loads((sharp_folder / "run.json").read_text())["config"]["decoder_training"]
    config = done(*run, "--dry-run", "--decoder-training.seed=3", "--default-decoder=faithful")
    assert (config["sharp_decoder"], config["default_decoder"]) == (True, "faithful")
    assert config["decoder_training"] == {**earlier, "seed": 3}
    before = (sharp_folder / "run.json").read_bytes()
    run = ("run", image_folder, "--out", sharp_folder, *CPU)
    for flag, expected in (
        ("--decoder-training.seed=3", "`seed` is 0, asked for 3"),
        ("--no-sharp-decoder", "`sharp_decoder` must be True for a run that has or plans a second decoder, got False"),
    ):
        assert expected in refused(*run, flag)
    assert (sharp_folder / "run.json").read_bytes() == before


def test_the_terminal_says_what_the_loss_looks_through(run_folder, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    flags = [flag for flag in TRAINING if "network" not in flag]
    code, out, errors = call("train-decoder", run_folder, *CPU, *flags, "--json")
    assert code == 0, errors
    assert "looks through no network, so the discriminator judges patches of pixels alone; for features of" in errors
    assert "pip install 'vqvae2[eval]'" in errors
    assert json.loads(out)["loss_network"] == "none"
    assert json.loads((run_folder / "run.json").read_text())["config"]["decoder_training"]["loss_network"] == "none"


def test_another_config_is_refused_and_nothing_changes(sharp_folder, refused):
    before = {path: path.read_bytes() for path in sharp_folder.rglob("*") if path.is_file()}
    line = refused("train-decoder", sharp_folder, *CPU, "--training.seed=1", "--default-decoder=faithful")
    assert "holds a training with another config (`seed` is 0, asked for 1)" in line
    line = refused("train-decoder", sharp_folder, *CPU, "--training.loss-network=lite0")
    assert "`loss_network` is 'none', asked for 'lite0'" in line
    assert {path: path.read_bytes() for path in sharp_folder.rglob("*") if path.is_file()} == before


def test_a_decoder_begun_for_another_tokenizer_is_refused(sharp_folder, image_folder, tmp_path, done, refused, toy):
    done("train-tokenizer", image_folder, "--out", tmp_path / "other", *toy, "--tokenizer-training.seed=1")
    shutil.copy(tmp_path / "other" / "tokenizer" / "model.safetensors", sharp_folder / "tokenizer")
    assert "`tokenizer` is '" in refused("train-decoder", sharp_folder, *CPU)
    line = refused("reconstruct", image_folder, "--pipeline", sharp_folder, "--out", tmp_path / "r")
    assert "the sharp decoder was trained for tokenizer" in line
    assert "train it again" in line


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--stage-minutes=-1"], "`minutes` must be at least 0, got -1"),
        (
            ["--training.loss-network=vgg16"],
            "`loss_network_weights` must be the file of VGG16's published weights, got none",
        ),
        (
            ["--training.loss-network=vgg16", "--loss-network-weights=gone.pth"],
            "gone.pth is missing, damaged, or no file of",
        ),
    ],
)
def test_what_cannot_begin_plans_nothing(run_folder, refused, flags, part):
    before = (run_folder / "run.json").read_bytes()
    assert part in refused("train-decoder", run_folder, *CPU, *flags)
    assert (run_folder / "run.json").read_bytes() == before
    assert not (run_folder / "sharp-decoder").exists()


def test_a_decoder_learns_by_drawn_codes_where_the_bottom_has_a_prior(run_folder, sharp_run, done, refused):
    flags = (*CPU, *TRAINING, "--training.drawn-share=0.5")
    prior = (run_folder / "prior-bottom" / "model.safetensors").rename(run_folder / "elsewhere")
    line = refused("train-decoder", run_folder, *flags)
    assert "`drawn_share` needs the prior of the bottom, but" in line
    assert not (run_folder / "sharp-decoder").exists()
    prior.rename(run_folder / "prior-bottom" / "model.safetensors")
    done("train-decoder", run_folder, *flags)
    made, other = (folder / "sharp-decoder" / "model.safetensors" for folder in (run_folder, sharp_run))
    assert made.read_bytes() != other.read_bytes()


def test_what_is_not_there_is_said(shared_run, run_folder, shared_images, tmp_path, refused):
    into = ("--pipeline", shared_run, "--out", tmp_path / "o", "--decoder=sharp")
    for arguments in (["sample", *into], ["reconstruct", shared_images, *into], ["complete", shared_images, *into]):
        line = refused(*arguments)
        assert "`decoder` must be 'faithful' for this pipeline, got 'sharp'; train a sharp one with" in line
    assert not (tmp_path / "o").exists()
    assert "is not the folder of a run" in refused("train-decoder", tmp_path)
    shutil.rmtree(run_folder / "tokenizer")
    line = refused("train-decoder", run_folder, *CPU, *TRAINING)
    assert "tokenizer/model.safetensors does not exist; train or copy that part first" in line


def test_minutes_become_steps_and_features_are_measured_with_lite0(run_folder, call):
    flags = ("--training.loss-network=lite0", "--training.loss-network-pixels=1", "--training.batch-size=2")
    code, out, errors = call("train-decoder", run_folder, *CPU, *flags, "--stage-minutes=0.01", "--json")
    assert code == 0, errors
    assert "timing a few steps" in errors
    assert "the loss looks through the network lite0" in errors
    result = json.loads(out)
    assert result["last_step"] >= 20
    assert 0.0 < result["validation"]["feature_distance"] < 4.0
    assert result["decoder"] == str(run_folder / "sharp-decoder")


def test_grey_images_of_16_bits_get_one_too(tmp_path, done, toy):
    generator = np.random.default_rng(0)
    (tmp_path / "deep").mkdir()
    for index in range(12):
        pixels = generator.integers(0, 65536, (20, 28, 1), dtype=np.uint16)
        (tmp_path / "deep" / f"{index}.png").write_bytes(encode_png(pixels))
    done("train-tokenizer", tmp_path / "deep", "--out", tmp_path / "run", *toy)
    done("train-decoder", tmp_path / "run", *CPU[1:], *TRAINING)
    pipeline = Pipeline.from_pretrained(tmp_path / "run")
    assert (pipeline.decoders, pipeline.config.bit_depth) == (("sharp", "faithful"), 16)
    done("reconstruct", tmp_path / "deep", "--pipeline", tmp_path / "run", "--out", tmp_path / "r")


@pytest.mark.parametrize("verb", ["run", "demo"])
def test_a_dry_run_shows_the_plan(image_folder, tmp_path, done, verb):
    images = [image_folder] if verb == "run" else []
    flags = ("--sharp-decoder", "--default-decoder=faithful", "--decoder-training.loss-network=none", "--dry-run")
    config = RunConfig.from_dict(done(verb, *images, "--out", tmp_path / "run", *flags))
    assert (config.sharp_decoder, config.default_decoder, config.decoder_training.loss_network) == (
        True,
        "faithful",
        "none",
    )
    assert not (tmp_path / "run").exists()
