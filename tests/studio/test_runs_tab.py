"""What is seen of runs, whole, damaged or in the middle; and nothing is written into them."""

import json
import shutil

import numpy as np
import pytest

from vqvae2.data import ImageFolder, index_images, prepare_images
from vqvae2.errors import CheckpointError, ConfigError, DataError
from vqvae2.images import encode_png
from vqvae2.models.checkpoint import LAST_MODEL_FILE, save_model
from vqvae2.pipeline.config import PipelineConfig, write_pipeline_config
from vqvae2.studio.run_view import decode_held_out, find_runs, model_version, read_log, read_run, run_version
from vqvae2.studio.runs_tab import Charts, held_out_html, named_pictures, report_frame, run_directory, stages_html


@pytest.fixture
def run_in_training(begin_run, image_folder, pipeline):
    """A run with images and the tokenizer of a validation."""
    directory = begin_run()
    prepare_images(ImageFolder(image_folder), directory / "images", size=(16, 24), channels=3, validation_fraction=0.3)
    save_model(pipeline.tokenizer, directory / "tokenizer" / LAST_MODEL_FILE)
    return directory


def test_runs_are_the_folders_with_a_record_the_last_changed_first(begin_run, context):
    for name in ("old", "new"):
        begin_run(name)
    (context.runs_folder / "no-run").mkdir()
    (context.runs_folder / "file").write_text("")
    assert find_runs(context.runs_folder) == ["new", "old"]


def test_a_folder_that_is_a_run_is_found_in_itself(begin_run):
    assert find_runs(begin_run()) == ["."]


def test_a_folder_that_is_not_there_has_no_runs(tmp_path):
    assert find_runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize("name", ["../run", "..", "gone", ""])
def test_only_runs_that_are_found_can_be_asked_for(begin_run, context, name):
    begin_run()
    with pytest.raises(ConfigError, match=r"there is no run .* any more; look again"):
        run_directory(context.runs_folder, name)


def test_a_run_is_read_as_it_is_now(begin_run):
    view = read_run(begin_run(num_lines=7))
    tokenizer, *priors = view.stages
    assert (tokenizer.name, tokenizer.state, tokenizer.last_step, tokenizer.planned_steps) == (
        "train tokenizer",
        "training",
        7,
        100,
    )
    assert [stage.name for stage in priors] == ["train prior, top", "train prior, bottom"]
    assert {stage.state for stage in priors} == {"not begun"}
    assert not view.is_finished


def test_a_stage_with_a_time_is_done(begin_run):
    directory = begin_run()
    record = read_run(directory).record
    record.seconds["train tokenizer"] = 61.0
    record.save()
    view = read_run(directory)
    assert view.stages[0].state == "done"
    assert "done in 1 min 1 s" in stages_html(view)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is not the folder of a run"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "line",
    [b'{"step": 4, "loss"', b"", b"[1, 2]", b"\xff\xfe", b'{"loss": 1.0}', b'{"step": "4"}', b"[" * 100_000, b"NaN"],
)
def test_a_damaged_line_is_passed_over(tmp_path, line):
    path = tmp_path / "log.jsonl"
    rows = [{"step": step, "loss": 1.0} for step in (1, 2)]
    whole = [json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join([whole[0], line, whole[1]]))
    assert read_log(path) == rows
    path.write_bytes(b"\n".join([*whole, line]))
    assert read_log(path) == rows


def test_what_is_no_number_is_left_out_of_a_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": NaN, "note": "x", "flag": true, "rate": 0.5}\n')
    assert read_log(path) == [{"step": 1, "rate": 0.5}]


def test_a_log_that_is_not_there_has_no_lines(tmp_path):
    assert read_log(tmp_path / "log.jsonl") == []


def test_damaged_results_are_passed_over(begin_run):
    directory = begin_run()
    (directory / "results.json").write_text("{")
    assert read_run(directory).results == {}


def test_the_curves_are_those_of_the_report(begin_run):
    html = Charts().html(read_run(begin_run()))
    for title in ("mean squared error", "perplexity", "codes in use", "seconds a step", "learning rate"):
        assert (title in html) == (title != "learning rate")  # which this log lacks
    assert html.count("<svg") == html.count("<figure>") == 5


def test_the_time_of_a_prior_is_drawn_too(begin_run):
    directory = begin_run()
    (directory / "prior-top").mkdir()
    shutil.copy(directory / "tokenizer" / "log.jsonl", directory / "prior-top")
    html = Charts().html(read_run(directory))
    assert "Prior of top: nats per code" in html
    assert "Train prior, top: seconds a step" in html


def test_a_run_that_has_logged_nothing_has_no_curves(begin_run):
    assert "Nothing is logged yet" in Charts().html(read_run(begin_run(num_lines=0)))


def test_curves_are_drawn_anew_only_where_a_log_grew(begin_run):
    directory, charts = begin_run(), Charts()
    first = charts.html(read_run(directory))
    assert charts.html(read_run(directory)) == first
    with (directory / "tokenizer" / "log.jsonl").open("a") as file:
        file.write('{"step": 50, "loss": 9.0, "reconstruction_mse": 9.0}\n')
    assert charts.html(read_run(directory)) != first


def test_the_table_tells_how_far_a_training_is(begin_run):
    html = stages_html(read_run(begin_run()))
    assert "3 of 100" in html
    assert "0.250 MSE" in html


def test_a_run_in_the_middle_shows_held_out_images_from_its_last_tokenizer(run_in_training):
    rows = decode_held_out(run_in_training)
    assert [label for label, _ in rows] == ["original", "top only", "all levels"]
    assert {pixels.shape[1:] for _, pixels in rows} == {(16, 24, 3)}
    html = held_out_html(run_in_training)
    assert html.count("<img") == 3 * len(rows[0][1])


def test_a_run_without_a_model_says_so(begin_run):
    assert "has saved no tokenizer yet" in held_out_html(begin_run())


def test_a_run_without_images_says_so(run_in_training):
    shutil.rmtree(run_in_training / "images")
    assert "No held-out images can be shown" in held_out_html(run_in_training)


def test_a_tokenizer_of_other_channels_is_refused(run_in_training, image_folder):
    shutil.rmtree(run_in_training / "images")
    prepare_images(ImageFolder(image_folder), run_in_training / "images", size=(16, 24), channels=1)
    with pytest.raises(DataError, match="have 1 channels, its tokenizer takes others"):
        decode_held_out(run_in_training)


def test_streamed_images_are_not_read(run_in_training, image_folder):
    """Reading them could note a broken file in the run's folder."""
    shutil.rmtree(run_in_training / "images")
    index_images(
        ImageFolder(image_folder),
        run_in_training / "images",
        size=(16, 24),
        channels=3,
        bit_depth=8,
        resize="crop",
        validation_fraction=0.3,
        group_pattern=None,
    )
    with pytest.raises(DataError):
        decode_held_out(run_in_training)


def test_nothing_is_written_into_a_run(run_in_training, snapshot):
    (run_in_training / "reconstructions.png").write_bytes(encode_png(np.zeros((8, 8, 3), dtype=np.uint8)))
    before = snapshot(run_in_training)
    view = read_run(run_in_training)
    Charts().html(view)
    stages_html(view)
    held_out_html(run_in_training)
    named_pictures(run_in_training)
    run_version(run_in_training)
    assert snapshot(run_in_training) == before


def test_a_version_changes_with_what_is_shown(run_in_training):
    versions = [run_version(run_in_training)]
    for change in (
        lambda: (run_in_training / "tokenizer" / "log.jsonl").write_text('{"step": 9}\n'),
        lambda: (run_in_training / "report.html").write_text("<html>"),
        lambda: (run_in_training / "completions.png").write_bytes(b""),
    ):
        change()
        versions.append(run_version(run_in_training))
    assert len(set(versions)) == 4
    assert run_version(run_in_training) == versions[-1]


def test_a_new_tokenizer_is_noticed(run_in_training, pipeline):
    before = model_version(run_in_training)
    save_model(pipeline.tokenizer, run_in_training / "tokenizer" / LAST_MODEL_FILE)
    assert model_version(run_in_training) != before


def test_pictures_are_named_by_class_and_damaged_ones_left_out(begin_run, noise):
    directory = begin_run()
    write_pipeline_config(PipelineConfig(classes=("cat", "dog"), class_counts=(1, 1)), directory)
    (directory / "samples").mkdir()
    for number in (0, 1):
        (directory / "samples" / f"{number:03d}.png").write_bytes(encode_png(noise))
    (directory / "completions.png").write_bytes(b"half a picture")
    pictures = named_pictures(directory)
    assert [text for _, text in pictures] == ["samples cat", "samples dog"]
    assert np.array_equal(pictures[0][0], noise)


def test_pictures_of_a_run_that_is_no_pipeline_yet_have_numbers(begin_run, noise):
    directory = begin_run()
    (directory / "samples").mkdir()
    (directory / "samples" / "000.png").write_bytes(encode_png(noise))
    assert [text for _, text in named_pictures(directory)] == ["samples 000"]


def test_a_report_stands_in_a_frame_in_which_nothing_runs(begin_run):
    directory = begin_run()
    (directory / "report.html").write_text('<p title="a">done</p><script>alert(1)</script>')
    html = report_frame(directory)
    assert "<script" not in html
    assert 'srcdoc="&lt;p title=&quot;a&quot;&gt;done' in html
    assert "<iframe sandbox " in html


def test_a_run_without_a_report_says_so(begin_run):
    with pytest.raises(DataError, match=r"has no report.html yet; it is the last that a run writes"):
        report_frame(begin_run())


def test_a_report_that_is_huge_is_not_read(begin_run):
    directory = begin_run()
    with (directory / "report.html").open("wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(DataError, match="is larger than 67108864 bytes; open it in a browser"):
        report_frame(directory)
