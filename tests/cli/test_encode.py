"""`encode` and `decode`: the codes of images as arrays, and back, from the command line."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from vqvae2.codes import Codes
from vqvae2.data import CodeStore
from vqvae2.images import decode_image, from_pixels, to_pixels
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.training import extraction


@pytest.fixture
def encode(done, shared_images, shared_run, tmp_path):
    """Encode the images of the run."""
    return lambda *more: done(
        "encode", shared_images, "--pipeline", shared_run, "--out", tmp_path / "encoded", "--batch-size=7", *more
    )


def test_arrays_hold_codes_in_the_order_of_names_and_labels(encode, shared_images, shared_run, tmp_path):
    results = encode()
    pipeline, folder = Pipeline.from_pretrained(shared_run), tmp_path / "encoded" / "codes"
    assert sorted(path.name for path in (tmp_path / "encoded").iterdir()) == [
        "codes",
        "encode.json",
        "image-summary.json",
    ]
    facts = json.loads((folder / "codes.json").read_text())
    levels = [np.load(folder / f"level{level}.npy") for level in range(2)]
    assert results["images"] == len(facts["names"]) == len(levels[0])
    assert all(level.dtype == np.uint8 for level in levels)
    for number in (0, 17, len(levels[0]) - 1):
        name = facts["names"][number]
        pixels = decode_image((shared_images / name).read_bytes(), channels=3, size=pipeline.config.image_size)
        codes = pipeline.encode(from_pixels(torch.from_numpy(pixels)[None]))
        assert all(np.array_equal(level[number, :1], maps) for level, maps in zip(levels, codes, strict=True))
        assert facts["classes"][facts["labels"][number]] == name.split("/")[0]


def test_decoding_gives_the_reconstructions(encode, done, refused, shared_run, tmp_path):
    encode()
    folder = tmp_path / "encoded" / "codes"
    arguments = ("decode", folder, "--pipeline", shared_run)
    assert done(*arguments, "--out", tmp_path / "d", "--limit=5", "--batch-size=2")["images"] == 5
    done(*arguments, "--out", tmp_path / "top", "--limit=1", "--levels=1")
    pipeline, codes = Pipeline.from_pretrained(shared_run), CodeStore.open(folder)
    for number, row in enumerate(json.loads((tmp_path / "d" / "decoded.json").read_text())["images"]):
        assert row["original"] == codes.names[number]
        expected = to_pixels(pipeline.decode(codes.batch(np.array([number]))))[0].numpy()
        found = decode_image((tmp_path / "d" / row["file"]).read_bytes(), channels=3)
        assert np.abs(found.astype(int) - expected).max() <= 1
    preview = to_pixels(pipeline.decode(codes.batch(np.array([0])), levels=1))[0].numpy()
    found = decode_image((tmp_path / "top" / "000000.png").read_bytes(), channels=3)
    assert np.abs(found.astype(int) - preview).max() <= 1
    assert "`levels` must be in 1..2, got 3" in refused(*arguments, "--out", tmp_path / "o", "--levels=3")
    assert "made by tokenizer" in refused("decode", folder, "--pipeline", "builtin", "--out", tmp_path / "o")


def test_images_whose_sides_are_no_multiple_of_a_code_keep_their_size(done, pipeline, shared_images, tmp_path):
    replace(pipeline, config=replace(pipeline.config, image_size=(14, 21))).save_pretrained(tmp_path / "p")
    done("encode", shared_images, "--pipeline", tmp_path / "p", "--out", tmp_path / "e")
    done("decode", tmp_path / "e" / "codes", "--pipeline", tmp_path / "p", "--out", tmp_path / "d", "--limit=1")
    assert decode_image((tmp_path / "d" / "000000.png").read_bytes(), channels=3).shape == (14, 21, 3)


def test_the_same_command_goes_on_where_it_was_stopped(encode, monkeypatch, tmp_path):
    encode()
    whole = {path.name: path.read_bytes() for path in (tmp_path / "encoded" / "codes").iterdir()}
    shutil.rmtree(tmp_path / "encoded")
    original, seen = extraction.spread_batches, []

    def stops_after_two(images, indices, batch_size, work):
        seen.append(indices)
        for turn, result in enumerate(original(images, indices, batch_size, work)):
            if turn == 2 and len(seen) == 1:
                raise OSError("no space left")
            yield result

    monkeypatch.setattr(extraction, "spread_batches", stops_after_two)
    with pytest.raises(AssertionError, match="no space left"):
        encode()
    encode()
    assert [indices.start for indices in seen] == [0, 14]
    assert {path.name: path.read_bytes() for path in (tmp_path / "encoded" / "codes").iterdir()} == whole
    encode()  # done before
    assert len(seen) == 2


def test_a_folder_of_other_things_is_refused_and_force_begins_anew(
    encode, refused, shared_images, shared_run, tmp_path
):
    encode()
    arguments = ("encode", shared_images, "--pipeline", shared_run)
    other = refused(*arguments, "--out", tmp_path / "encoded", "--resize=pad")
    assert "was begun with other images, another tokenizer or another `resize`" in other
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "must be a new or empty folder" in refused(*arguments, "--out", tmp_path / "mine")
    before = CodeStore.open(tmp_path / "encoded" / "codes").names
    encode("--resize=pad", "--force")
    assert CodeStore.open(tmp_path / "encoded" / "codes").names == before


def test_codebooks_and_vectors_decode_to_the_same_images(sharp_pipeline):
    codes = sharp_pipeline.encode(torch.rand(2, 3, 16, 24) * 2.0 - 1.0)
    vectors = [book[maps].permute(0, 3, 1, 2) for book, maps in zip(sharp_pipeline.codebooks, codes, strict=True)]
    for name in ("sharp", "faithful"):
        decoded = sharp_pipeline.decode_vectors(vectors, decoder=name)
        assert torch.equal(decoded, sharp_pipeline.decode(Codes(codes.maps), decoder=name))
