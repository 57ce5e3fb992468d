"""The format is frozen: files of version 2, written once, decode for ever, and are still written so.

`make_pipeline(num_embeddings=50, scale=0.3)` of `conftest.py` drew the weights. They lie beside the files, since random
initialization differs between processors. `torch.randint` drew the codes.
"""

import json
from pathlib import Path

import pytest
import torch

from vqvae2 import Codes, Pipeline
from vqvae2.codec import hierarchy_coder

FOLDER = Path(__file__).with_name("golden")
SIZE = (13, 20)
OPTIONS = {"raw": {"mode": "raw"}, "prior": {}, "class": {"labels": [1]}, "top": {}, "offset": {}}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.from_pretrained(FOLDER / "pipeline")


@pytest.fixture(scope="module")
def codes() -> Codes:
    levels = json.loads((FOLDER / "codes.json").read_text())
    return Codes(tuple(torch.tensor([level]) for level in levels))


def wanted(name: str, codes: Codes) -> Codes:
    return Codes(codes.maps[:1]) if name == "top" else codes


@pytest.mark.parametrize("name", OPTIONS)
def test_a_golden_file_decodes_to_its_codes(pipeline, codes, reference, name):
    data = (FOLDER / f"{name}.vq2").read_bytes()
    found = pipeline.codec.decompress_codes([data])
    assert [level.tolist() for level in found] == [level.tolist() for level in wanted(name, codes)]
    assert reference.decode(data, pipeline.tokenizer, pipeline.priors) == [level[0].tolist() for level in found]
    assert pipeline.codec.read(data).header.size == SIZE


@pytest.mark.parametrize("name", OPTIONS)
def test_a_golden_file_is_written_again(pipeline, codes, monkeypatch, name):
    if name == "offset":
        monkeypatch.setattr(hierarchy_coder, "GRID_OFFSETS", (74,))
    (data,) = pipeline.codec.compress_codes(wanted(name, codes), size=SIZE, **OPTIONS[name])
    assert data == (FOLDER / f"{name}.vq2").read_bytes()
