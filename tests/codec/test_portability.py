"""A file decodes to the same codes on other instruction sets, thread counts and batch sizes."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import vqvae2
from vqvae2.codec.codec import Codec
from vqvae2.codec.entropy import GUARD_STEPS, STEPS_PER_NAT, round_logits
from vqvae2.codes import Codes
from vqvae2.errors import BitstreamError
from vqvae2.models.checkpoint import fingerprint
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.sampling.sample import sample_codes

SIZE = (12, 20)
NUM_IMAGES = 6
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "portability.py"

# Decodes the files of a folder, and writes all codes.
DECODE = """
import sys
from pathlib import Path

import numpy as np
import torch

from vqvae2 import Pipeline

folder = Path(sys.argv[1])
torch.set_num_threads(int(sys.argv[2]))
files = [path.read_bytes() for path in sorted(folder.glob("*.vq2"))]
codes = Pipeline.from_pretrained(folder / "pipeline").codec.decompress_codes(files)
np.savez(sys.argv[3], *codes)
print(torch.backends.cpu.get_cpu_capability())
"""

# Waiting threads leave the cores to others, which the test runner fills.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(vqvae2.__file__).parents[1]), "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture
def both_families(pipeline, make_prior):
    """A pipeline whose top has a transformer and whose bottom a PixelSNAIL."""
    options = {"num_embeddings": 5, "num_classes": 2, "tokenizer": fingerprint(pipeline.tokenizer)}
    top = make_prior(0, family="transformer", **options).float()
    return Pipeline(pipeline.tokenizer, pipeline.config, (top, pipeline.priors[1]))


@pytest.fixture
def codes(both_families):
    return drawn_codes(both_families, NUM_IMAGES)


def drawn_codes(pipeline: Pipeline, num_images: int) -> Codes:
    shapes = pipeline.tokenizer.config.code_shapes(*SIZE)
    return sample_codes(pipeline.priors, shapes, num_images)


def same(one: Codes, other: Codes) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def disturb():
    """Make a codec of a pipeline whose logits are all off by so much, up or down at random."""

    def make(pipeline: Pipeline, nats: float) -> Codec:
        generator = torch.Generator().manual_seed(0)

        def move(_module, _inputs, logits):
            return logits + nats * (2.0 * torch.randint(2, logits.shape, generator=generator) - 1.0)

        priors = copy.deepcopy(pipeline.priors)
        for prior in priors:
            prior.to_logits.register_forward_hook(move)
        return Codec(pipeline.tokenizer, priors)

    return make


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}, 1),
        ({"ONEDNN_MAX_CPU_ISA": "SSE41"}, 2),
    ],
    ids=["plain kernels", "old instructions, two threads"],
)
def test_files_decode_to_their_codes_in_another_environment(both_families, codes, tmp_path, environment, threads):
    both_families.save_pretrained(tmp_path / "pipeline")
    for number, data in enumerate(both_families.codec.compress_codes(codes, size=SIZE, labels=[None, 0, 1] * 2)):
        (tmp_path / f"{number}.vq2").write_bytes(data)
    command = [sys.executable, "-c", DECODE, str(tmp_path), str(threads), str(tmp_path / "codes.npz")]
    done = subprocess.run(command, env=ENVIRONMENT | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if "ATEN_CPU_CAPABILITY" in environment:
        assert done.stdout.split() == ["DEFAULT"]
    found = np.load(tmp_path / "codes.npz")
    assert all(np.array_equal(found[f"arr_{level}"], maps.numpy()) for level, maps in enumerate(codes))


@pytest.mark.parametrize("batch_size", [1, 4, 5])
def test_files_are_the_same_and_decode_in_batches_of_any_size(both_families, codes, batch_size):
    files = both_families.codec.compress_codes(codes, size=SIZE)
    for start in range(0, NUM_IMAGES, batch_size):
        batch = slice(start, start + batch_size)
        assert both_families.codec.compress_codes(codes.select(batch), size=SIZE, verify=False) == files[batch]
        assert same(both_families.codec.decompress_codes(files[batch]), codes.select(batch))


def test_codes_survive_logits_that_are_off_by_less_than_the_guard(both_families, disturb):
    codes = drawn_codes(both_families, 200)
    files = both_families.codec.compress_codes(codes, size=SIZE, verify=False)
    nats = 1e-12
    assert nats < 0.1 * GUARD_STEPS / STEPS_PER_NAT
    assert same(disturb(both_families, nats).decompress_codes(files), codes)


def test_logits_that_are_off_by_more_are_noticed(both_families, codes, disturb):
    files = both_families.codec.compress_codes(codes, size=SIZE)
    with pytest.raises(BitstreamError, match=r"level 1 of 2 do not match .* not the models that wrote it"):
        disturb(both_families, 1e-2).decompress_codes(files)


@pytest.fixture
def on_the_edge(both_families):
    """A pipeline all of whose logits lie exactly where rounding changes."""
    for prior in both_families.priors:
        torch.nn.init.zeros_(prior.to_logits.weight)
        torch.nn.init.constant_(prior.to_logits.bias, 0.5 / STEPS_PER_NAT)
    return both_families


def test_a_logit_on_the_edge_of_rounding_moves_the_grid(on_the_edge, codes, disturb):
    edge = np.full((1, 5), 0.5 / STEPS_PER_NAT)
    steps = [round_logits(edge + nats, np.zeros(1)) for nats in (-1e-12, 1e-12)]
    assert not np.array_equal(*steps)  # so an unmoved grid would be torn
    files = on_the_edge.codec.compress_codes(codes, size=SIZE)
    assert all(on_the_edge.codec.read(data).header.offset for data in files)
    assert same(on_the_edge.codec.decompress_codes(files), codes)
    assert same(disturb(on_the_edge, 1e-12).decompress_codes(files), codes)


def test_images_on_moved_and_unmoved_grids_share_a_batch(both_families, codes):
    prior = both_families.priors[0]
    for parameter in prior.parameters():
        torch.nn.init.zeros_(parameter)
    # Only the logits for the second class are not 0; so large, the norm's epsilon is nothing beside it.
    signs = torch.tensor([1.0, -1.0]).repeat(4)
    with torch.no_grad():
        prior.conditioning.label.weight[1] = 1024 * signs
        prior.norm.weight.fill_(1.0)
        prior.to_logits.weight[:] = signs * (0.5 / STEPS_PER_NAT / len(signs))
    files = both_families.codec.compress_codes(codes, size=SIZE, labels=[0, 1] * 3)
    assert [bool(both_families.codec.read(data).header.offset) for data in files] == [False, True] * 3
    assert same(both_families.codec.decompress_codes(files), codes)


@pytest.mark.slow
def test_the_benchmark_finds_no_code_that_differs(both_families, tmp_path):
    both_families.save_pretrained(tmp_path / "pipeline")
    out = tmp_path / "portability.json"
    command = [sys.executable, BENCHMARK, tmp_path / "pipeline", "--codes=50", f"--out={out}", "--settings", "batch 1"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert [row["setting"]["name"] for row in results["rows"]] == ["reference", "batch 1"]
    for row in results["rows"]:
        assert (row["codes"], row["differing"]) == (results["codes"], 0)
        assert [level["level"] for level in row["levels"]] == ["top, transformer", "bottom, pixelsnail"]
        assert all(level["largest_deviation_nats"] < results["guard_nats"] / 100 for level in row["levels"])
    assert "| batch 1 |" in done.stdout
