"""A pipeline's folder is the old one or the new one, and what others left in it stays."""

import dataclasses

import pytest

from vqvae2.errors import CheckpointError, OutputError
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.folder import CARD_MARK, write_pipeline_folder
from vqvae2.pipeline.pipeline import Pipeline


@pytest.fixture
def alone(pipeline):
    """The tokenizer without priors."""
    return Pipeline(pipeline.tokenizer, PipelineConfig(image_size=(16, 24)))


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_saved_pipeline_is_its_files_and_a_card(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "a" / "p")
    parts = {f"{part}/model.safetensors" for part in ("tokenizer", "prior-top", "prior-bottom")}
    assert names(tmp_path) == {f"a/p/{name}" for name in parts | {"config.json", "README.md"}}


def test_another_pipeline_takes_the_place_of_the_first(pipeline, alone, tmp_path):
    pipeline.save_pretrained(tmp_path)
    alone.save_pretrained(tmp_path)
    assert names(tmp_path) == {"tokenizer/model.safetensors", "config.json", "README.md"}
    assert not (tmp_path / "prior-top").exists()
    pipeline.save_pretrained(tmp_path)
    assert len(Pipeline.from_pretrained(tmp_path).priors) == 2


def test_a_sharp_decoder_comes_and_goes_with_its_pipeline(pipeline, sharp_pipeline, tmp_path):
    sharp_pipeline.save_pretrained(tmp_path)
    parts = {f"{part}/model.safetensors" for part in ("tokenizer", "sharp-decoder", "prior-top", "prior-bottom")}
    assert names(tmp_path) == parts | {"config.json", "README.md"}
    assert Pipeline.from_pretrained(tmp_path).decoders == ("sharp", "faithful")
    pipeline.save_pretrained(tmp_path)
    assert names(tmp_path) == parts - {"sharp-decoder/model.safetensors"} | {"config.json", "README.md"}
    assert not (tmp_path / "sharp-decoder").exists()
    assert Pipeline.from_pretrained(tmp_path).decoders == ("faithful",)


def test_the_config_says_whether_there_are_priors(pipeline, tmp_path):
    pipeline.config = dataclasses.replace(pipeline.config, has_priors=False)
    pipeline.save_pretrained(tmp_path)
    assert len(Pipeline.from_pretrained(tmp_path).priors) == 2


def test_other_files_stay(pipeline, alone, tmp_path):
    (tmp_path / "prior-top").mkdir()
    for name in (".gitattributes", "notes.txt"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "prior-top").rmdir()
    pipeline.save_pretrained(tmp_path)
    (tmp_path / "prior-top" / "log.jsonl").write_text("mine")
    alone.save_pretrained(tmp_path)
    assert {".gitattributes", "notes.txt", "prior-top/log.jsonl"} < names(tmp_path)


def test_a_card_of_somebody_s_own_stays(pipeline, tmp_path):
    (tmp_path / "README.md").write_text("# Mine\n")
    pipeline.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "# Mine\n"
    (tmp_path / "README.md").write_text(f"# Old\n\n{CARD_MARK}\n")
    pipeline.save_pretrained(tmp_path)
    assert "VQ-VAE-2" in (tmp_path / "README.md").read_text()


def test_a_save_that_fails_leaves_the_old_pipeline(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "p")
    before = {name: (tmp_path / "p" / name).read_bytes() for name in names(tmp_path / "p")}
    other = VQVAE2(pipeline.tokenizer.config).eval()

    def fail(folder):
        raise KeyboardInterrupt

    for place in ("p", "new"):
        with pytest.raises(KeyboardInterrupt):
            write_pipeline_folder(tmp_path / place, other, PipelineConfig(), [], None, card=fail)
    assert {name: (tmp_path / "p" / name).read_bytes() for name in names(tmp_path / "p")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_folder_in_the_middle_of_a_swap_is_no_pipeline(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()  # as the swap does first
    with pytest.raises(CheckpointError, match=r"is not a pipeline: it has no config\.json"):
        Pipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "saved_to", "message"),
    [
        ("config.json", ".", r"holds config\.json, but no pipeline; choose another folder"),
        ("sharp-decoder", ".", "holds sharp-decoder, but no pipeline; choose another folder"),
        ("tokenizer", ".", "holds tokenizer, but no pipeline; choose another folder"),
        ("prior-bottom", ".", "holds prior-bottom, but no pipeline; choose another folder"),
        ("run.json", ".", "is the folder of a run, whose models belong to its trainings"),
        ("p", "p", "must be a folder for a pipeline, but is a file"),
    ],
)
def test_files_of_others_are_not_replaced(pipeline, name, saved_to, message, tmp_path):
    (tmp_path / name).write_text("{}")
    with pytest.raises(OutputError, match=message):
        pipeline.save_pretrained(tmp_path / saved_to)
    assert (tmp_path / name).read_text() == "{}"


def test_the_working_folder_can_be_saved_to(pipeline, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipeline.save_pretrained(".")
    assert len(Pipeline.from_pretrained(".").priors) == 2
