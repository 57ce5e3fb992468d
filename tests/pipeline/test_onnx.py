"""What is exported computes the same in another runtime."""

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from toy_models import TOY_TOKENIZER
from vqvae2 import ConfigError, FSQConfig, Pipeline, PipelineConfig, export_onnx
from vqvae2.codes import Codes
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline import onnx


def run(file, *arrays):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([entry.name for entry in session.get_inputs()], arrays, strict=True)))


def check(pipeline, folder):
    """Compare with PyTorch, for other numbers and sizes of images than the graphs were made with."""
    tokenizer = pipeline.tokenizer.config
    for number, rows, columns in ((1, 1, 1), (3, 2, 4), (2, 5, 1)):
        shape = (number, tokenizer.in_channels, rows * tokenizer.stride, columns * tokenizer.stride)
        images = torch.rand(shape) * 2.0 - 1.0
        maps = run(folder / "encoder.onnx", images.numpy())
        assert all(np.array_equal(found, wanted) for found, wanted in zip(maps, pipeline.encode(images), strict=True))
        codes = Codes(tuple(map(torch.from_numpy, maps)))
        for name in pipeline.decoders:
            (decoded,) = run(folder / f"decoder-{name}.onnx", *maps)
            np.testing.assert_allclose(decoded, pipeline.decode(codes, decoder=name), atol=1e-4)


def test_codes_are_equal_and_pixels_too(sharp_pipeline, tmp_path):
    files = export_onnx(sharp_pipeline, tmp_path / "new")
    names = ["encoder.onnx", "decoder-sharp.onnx", "decoder-faithful.onnx", "tokenizer.json"]
    assert [file.name for file in files] == names
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(names)
    check(sharp_pipeline, tmp_path / "new")
    facts = json.loads(files[-1].read_text())
    config = sharp_pipeline.tokenizer.config
    assert facts["stride"] == config.stride
    assert facts["image_size"] == [16, 24]
    assert facts["decoders"] == ["sharp", "faithful"]
    assert [level["num_embeddings"] for level in facts["levels"]] == list(config.codebook_sizes)
    assert [level["name"] for level in facts["levels"]] == ["top", "bottom"]


@pytest.mark.parametrize(
    "changes",
    [
        {"strides": (2,), "in_channels": 1},
        {"strides": (4, 2, 2), "detail_channels": 16},
        {"quantizer": FSQConfig(num_values=(4, 3))},
    ],
    ids=["one level, grey", "three levels, details", "FSQ"],
)
def test_any_tokenizer_is_exported(changes, tmp_path):
    tokenizer = VQVAE2(replace(TOY_TOKENIZER, **changes)).eval()
    if tokenizer.config.detail_channels:
        torch.nn.init.normal_(tokenizer.details[-2].weight)  # which begins with zeros
    pipeline = Pipeline(tokenizer, PipelineConfig(image_size=(32, 32)))
    export_onnx(pipeline, tmp_path)
    check(pipeline, tmp_path)


def test_without_the_extra_one_line_says_what_to_install(pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "_PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ConfigError, match=r"needs no_such_package; install them with `pip install 'vqvae2\[onnx\]'`"):
        export_onnx(pipeline, tmp_path / "new")
    assert not (tmp_path / "new").exists()
