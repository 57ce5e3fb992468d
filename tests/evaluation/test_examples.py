"""Pictures of a run show what they say."""

import numpy as np
import pytest
import torch

from vqvae2.config import EvaluationConfig
from vqvae2.evaluation.bench import Bench, EvaluationSubject
from vqvae2.evaluation.examples import draw_reconstructions
from vqvae2.images import from_pixels, to_pixels
from vqvae2.report.pictures import read_grid
from vqvae2.system.progress import Listener
from vqvae2.training.extraction import extract_codes


@pytest.fixture
def drawn(real_images, runtime, tmp_path):
    """Draw the reconstructions of a pipeline; give their labels and pixels, row by row."""

    def draw(pipeline):
        subject = EvaluationSubject(pipeline=pipeline, images=real_images, data_name="toy", resize="none")
        bench = Bench(
            subject=subject, directory=tmp_path, config=EvaluationConfig(), runtime=runtime, listener=Listener()
        )
        codes = extract_codes(pipeline.tokenizer, real_images, tmp_path / "codes")
        strips = draw_reconstructions(bench, codes)
        originals = from_pixels(torch.from_numpy(real_images.read(np.array(strips.images))))
        rows = read_grid(tmp_path / strips.file, real_images.size)
        return {label: row for (label, _), row in zip(strips.rows, rows, strict=True)}, originals

    return draw


def pixels(images):
    return to_pixels(images, bit_depth=8).numpy()


def test_reconstructions_are_shown_level_by_level(drawn, pipeline):
    rows, originals = drawn(pipeline)
    assert list(rows) == ["original", "top only", "all levels"]
    assert np.array_equal(rows["original"], pixels(originals))
    assert np.array_equal(rows["all levels"], pixels(pipeline.reconstruct(originals)))


@pytest.mark.parametrize("default", ["faithful", "sharp"])
def test_two_decoders_are_shown_below_each_other(drawn, sharp_pipeline, default):
    rows, originals = drawn(sharp_pipeline.using(default))
    assert list(rows) == ["original", "top only", "all levels, faithful", "all levels, sharp"]
    for decoder in ("faithful", "sharp"):
        expected = pixels(sharp_pipeline.using(decoder).reconstruct(originals))
        assert np.array_equal(rows[f"all levels, {decoder}"], expected)
    assert np.array_equal(rows["top only"], pixels(sharp_pipeline.using(default).reconstruct(originals, levels=1)))
    assert not np.array_equal(rows["all levels, faithful"], rows["all levels, sharp"])
