"""`score`: what images cost under the priors, from the command line."""

import json
import math
import shutil

import numpy as np
import pytest
import torch

from vqvae2.images import decode_image, from_pixels
from vqvae2.pipeline.pipeline import Pipeline


@pytest.fixture
def folder(shared_images, tmp_path):
    """Five images of the set."""
    chosen = sorted(path for path in shared_images.rglob("*") if path.is_file())[:5]
    (tmp_path / "images").mkdir()
    for path in chosen:
        shutil.copyfile(path, tmp_path / "images" / path.name)
    return tmp_path / "images"


def test_images_are_listed_by_their_cost_and_drawn_with_maps(done, folder, shared_run, tmp_path):
    (folder / "broken.png").write_bytes(b"no image")
    results = done("score", folder, "--pipeline", shared_run, "--out", tmp_path / "scores", "--batch-size=2")
    assert (results["images"], [row["file"] for row in results["skipped"]]) == (5, ["broken.png"])
    rows = json.loads((tmp_path / "scores" / "scores.json").read_text())["images"]
    costs = [row["bits"] for row in rows]
    assert costs == sorted(costs, reverse=True)
    assert [row["original"] for row in results["least_likely"]] == [row["original"] for row in rows]
    pipeline = Pipeline.from_pretrained(shared_run)
    height, width = pipeline.config.image_size
    for row in rows:
        pixels = decode_image((folder / row["original"]).read_bytes(), channels=3, size=(height, width))
        image = from_pixels(torch.from_numpy(pixels)[None])
        levels = [-level.sum().item() / math.log(2.0) for level in pipeline.log_likelihood(image)]
        assert row["bits_of_levels"] == pytest.approx(levels, rel=1e-4)
        assert row["bits"] == pytest.approx(sum(levels), rel=1e-4)
        assert row["bits_per_pixel"] == pytest.approx(row["bits"] / (height * width))
        assert row["mse"] == pytest.approx((pipeline.reconstruct(image) - image).square().mean().item(), rel=1e-3)
        picture = decode_image((tmp_path / "scores" / row["file"]).read_bytes(), channels=3)
        assert picture.shape == (4 + height, 2 + 3 * (2 + width), 3)
        assert np.array_equal(picture[2 : 2 + height, 2 : 2 + width], pixels)


def test_red_are_the_codes_that_cost_the_most(done, folder, shared_run, tmp_path):
    done("score", folder, "--pipeline", shared_run, "--out", tmp_path / "scores", "--limit=1")
    (row,) = json.loads((tmp_path / "scores" / "scores.json").read_text())["images"]
    pipeline = Pipeline.from_pretrained(shared_run)
    height, width = pipeline.config.image_size
    image = torch.from_numpy(decode_image((folder / row["original"]).read_bytes(), channels=3, size=(height, width)))
    most = math.log(pipeline.tokenizer.config.codebook_sizes[0])
    top = -pipeline.log_likelihood(from_pixels(image[None]))[0][0] / most
    picture = decode_image((tmp_path / "scores" / row["file"]).read_bytes(), channels=3).astype(float)
    over = picture[2 : 2 + height, 4 + width : 4 + 2 * width]
    grey = image.double().mean(-1).numpy() / 2 + 127.5
    share = np.kron(top.clamp(0, 1).numpy(), np.ones((height // top.shape[0], width // top.shape[1])))
    np.testing.assert_allclose(over[..., 1], grey * (1 - share), atol=1.5)
    np.testing.assert_allclose(over[..., 0], grey * (1 - share) + 255 * share, atol=1.5)


def test_a_class_is_told_to_the_priors(done, refused, folder, shared_run, tmp_path):
    name = Pipeline.from_pretrained(shared_run).config.classes[0]
    arguments = ("score", folder, "--pipeline", shared_run, "--limit=1")
    done(*arguments, "--out", tmp_path / "without")
    done(*arguments, "--out", tmp_path / "with", "--class", name)
    without, given = (json.loads((tmp_path / out / "scores.json").read_text()) for out in ("without", "with"))
    assert (without["class"], given["class"]) == (None, name)
    assert without["images"][0]["bits"] != given["images"][0]["bits"]
    assert "`class` must be one of" in refused(*arguments, "--out", tmp_path / "o", "--class", "nothing")
