"""What the page draws is what the command that it shows draws."""

import io
import shlex
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from vqvae2.cli.main import main
from vqvae2.config import ClassifierConfig, ResNetConfig, SamplingConfig
from vqvae2.images import decode_image
from vqvae2.models.checkpoint import build_model, save_model
from vqvae2.sampling.request import DrawRequest
from vqvae2.studio.live_work import watch
from vqvae2.studio.sample_tab import SampleRequest, Samples, draw, grid_html, grid_png, samples_zip, shown_pixels
from vqvae2.studio.server import load_context
from vqvae2.studio.walk_view import WalkStep

SETTINGS = SamplingConfig(temperature=(0.8, 1.2), top_k=(3,), top_p=(0.9, 1.0), guidance_scale=1.5)
REQUESTS = {
    "plain": SampleRequest(num_images=5),
    "of a class, with settings": SampleRequest(num_images=3, drawing=DrawRequest(seed=2, label=0, sampling=SETTINGS)),
    "of the surest": SampleRequest(num_images=4, acceptance_rate=0.25, drawing=DrawRequest(seed=3)),
}


@pytest.fixture(scope="module")
def saved(pipeline, tmp_path_factory):
    """The tiny pipeline in a folder, with a classifier of random weights, as a studio loads it."""
    folder = tmp_path_factory.mktemp("saved") / "a pipeline"  # a shell needs quotes for it
    pipeline.save_pretrained(folder)
    (folder / "classifier").mkdir()
    network = ResNetConfig(hidden_channels=4, num_blocks=(1,))
    classifier = build_model(ClassifierConfig(classes=pipeline.config.classes, network=network)).eval()
    save_model(classifier, folder / "classifier" / "model.safetensors")
    return load_context(folder, runs_folder=folder, device="cpu")


def ignore(step):
    pass


@pytest.mark.parametrize("name", REQUESTS)
def test_the_command_that_is_shown_draws_the_same_images(saved, tmp_path, monkeypatch, name, capsys):
    request = REQUESTS[name]
    samples, command = draw(saved, request, ignore), request.command(saved)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    assert words[:2] == ["vqvae2", "sample"]
    assert main(words[1:]) == 0, capsys.readouterr().err
    files = sorted(path.name for path in (tmp_path / "samples").glob("[0-9]*.png"))
    assert files == [f"{number:06d}.png" for number in samples.numbers]
    drawn = [decode_image((tmp_path / "samples" / file).read_bytes(), channels=3) for file in files]
    assert np.array_equal(np.stack(drawn), samples.pixels)
    assert (tmp_path / "samples" / "grid.png").read_bytes() == grid_png(samples.pixels)
    with zipfile.ZipFile(io.BytesIO(samples_zip(samples, command))) as archive:
        assert archive.namelist() == [*files, "command.txt"]
        assert archive.read("command.txt").decode() == command + "\n"
        assert all(archive.read(file) == (tmp_path / "samples" / file).read_bytes() for file in files)
    labels = saved.pipeline.labels(max(samples.numbers) + 1, request.drawing)
    assert samples.classes == tuple(saved.pipeline.config.classes[labels[number]] for number in samples.numbers)


def test_a_command_says_only_what_differs_from_its_defaults(context):
    assert SampleRequest(num_images=2).command(context) == "vqvae2 sample toy --out samples --num-images 2 --seed 0"
    request = SampleRequest(drawing=DrawRequest(sampling=SamplingConfig(temperature=(0.5, 1.0))))
    assert request.command(context).endswith("--seed 0 --temperature 0.5 1.0")


def test_a_command_names_settings_that_are_not_plain_or_not_the_pipelines(context):
    own = SamplingConfig(temperature=(0.9,))
    pipeline = replace(context.pipeline, config=replace(context.pipeline.config, sampling=own))
    context = replace(context, pipeline=pipeline)
    for sampling, value in ((None, 0.9), (own, 0.9), (SamplingConfig(), 1.0)):
        request = SampleRequest(drawing=DrawRequest(sampling=sampling))
        assert request.command(context).endswith(f"--seed 0 --temperature {value}")


def test_a_drawing_takes_the_decoder_of_its_visitor_and_its_command_names_it(
    sharp_pipeline, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    sharp_pipeline.save_pretrained("toy")
    context = load_context("toy", decoder="faithful", runs_folder=tmp_path, device="cpu")
    assert context.pipeline.config.default_decoder == "faithful"
    grids = set()
    for name, own in context.by_decoder.items():
        steps = []
        samples, command = (
            draw(own, SampleRequest(num_images=2), steps.append),
            SampleRequest(num_images=2).command(own),
        )
        assert f"--decoder {name}" in command
        assert main([*shlex.split(command)[1:], "--force"]) == 0, capsys.readouterr().err
        grids.add((tmp_path / "samples" / "grid.png").read_bytes())
        assert grid_png(samples.pixels) in grids
        last = [step for step in steps if isinstance(step, WalkStep)][-1]
        assert np.array_equal(shown_pixels(own, last), samples.pixels)
    assert len(grids) == 2


@pytest.mark.parametrize("name", ["plain", "of the surest"])
def test_fronts_of_samples_and_kept_images_are_shown_while_they_are_drawn(saved, name):
    steps = []
    samples = draw(saved, REQUESTS[name], steps.append)
    walks, kept = ([step for step in steps if isinstance(step, kind)] for kind in (WalkStep, Samples))
    assert shown_pixels(saved, walks[0]) is None
    assert (walks[-1].front is None) == (name == "of the surest")  # candidates are not shown
    for last in (walks[-1], kept[-1]):
        assert (last is walks[-1] and last.front is None) or np.array_equal(shown_pixels(saved, last), samples.pixels)


@pytest.mark.parametrize("name", ["plain", "of the surest"])
def test_a_drawing_ends_when_its_watcher_leaves(saved, name):
    ended = threading.Event()

    def work(tell):
        try:
            return draw(saved, replace(REQUESTS[name], num_images=64), tell)
        finally:
            ended.set()

    steps = watch(work, ignore)
    next(steps)
    assert not ended.is_set()
    steps.close()
    assert ended.wait(20.0)


def test_a_grid_is_enlarged_by_a_whole_factor():
    html = grid_html(np.zeros((4, 64, 64, 3), dtype=np.uint8), ("a", "b", "<c>", "d"))
    assert 'width="518"' in html  # two images of 4 x 64 pixels, and three gaps of 2
    assert "4 images: a, b, &lt;c&gt;, d" in html
