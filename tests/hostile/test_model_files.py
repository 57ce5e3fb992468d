"""Whatever a model file holds, it gives the model that was saved, or a `CheckpointError`, and takes little memory."""

import dataclasses
import json
import struct
from contextlib import nullcontext

import pytest
import torch
from safetensors.torch import save

from toy_models import TOY_TOKENIZER
from vqvae2.config import ClassifierConfig, DecoderConfig, FSQConfig, PriorConfig, ResNetConfig
from vqvae2.errors import CheckpointError
from vqvae2.models.checkpoint import build_model, load_model, read_model_file, save_model
from vqvae2.models.vqvae import VQVAE2


@pytest.fixture
def path(tmp_path):
    """The file of a small tokenizer."""
    save_model(VQVAE2(TOY_TOKENIZER), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture(params=["tokenizer", "fsq", "decoder", "prior", "transformer", "classifier"])
def saved(request, make_prior, tmp_path):
    """Path, kind and fingerprint of a small model of each kind."""
    kind = {"fsq": "tokenizer", "transformer": "prior"}.get(request.param, request.param)
    if kind == "prior":
        model = make_prior(1, family="pixelsnail" if request.param == "prior" else "transformer").float()
    else:
        network = ResNetConfig(hidden_channels=4, num_blocks=(1, 1))
        configs = {
            "tokenizer": TOY_TOKENIZER,
            "fsq": dataclasses.replace(TOY_TOKENIZER, quantizer=FSQConfig(num_values=(3, 4))),
            "decoder": DecoderConfig(tokenizer_config=TOY_TOKENIZER, tokenizer="0" * 32),
            "classifier": ClassifierConfig(classes=("a", "b"), network=network),
        }
        model = build_model(configs[request.param])
    path = tmp_path / "model.safetensors"
    return path, kind, save_model(model.eval(), path, metadata={"step": 3})


def split(data: bytes) -> tuple[dict, dict, bytes]:
    """Take a model file apart: safetensors header, our own one, weights."""
    (size,) = struct.unpack("<Q", data[:8])
    outer = json.loads(data[8 : 8 + size])
    return outer, json.loads(outer["__metadata__"]["vqvae2"]), data[8 + size :]


def join(outer: bytes, weights: bytes) -> bytes:
    return struct.pack("<Q", len(outer)) + outer + weights


def with_header(data: bytes, header: bytes) -> bytes:
    outer, _, weights = split(data)
    outer["__metadata__"]["vqvae2"] = header.decode(errors="replace")
    return join(json.dumps(outer).encode(), weights)


def change_config(path, **changes) -> None:
    header = split(path.read_bytes())[1]
    header["config"] |= changes
    path.write_bytes(with_header(path.read_bytes(), json.dumps(header).encode()))


def load_or_refuse(path, kind, digest) -> bool:
    try:
        header = read_model_file(path)
        model, _ = load_model(path, kind=kind)
    except CheckpointError:
        return False
    assert header.fingerprint == digest
    assert all(tensor.device.type == "cpu" for tensor in model.state_dict().values())
    return True


def test_changed_files_give_the_same_weights_or_an_error(saved, mutator, foreign_files):
    path, kind, digest = saved
    data = path.read_bytes()
    for foreign in foreign_files:
        path.write_bytes(foreign)
        assert not load_or_refuse(path, kind, digest)
    outer, header, weights = split(data)
    ways = (
        lambda: mutator.change_bytes(data),
        lambda: mutator.change_bytes(data),
        lambda: join(mutator.change_json(outer), weights),
        lambda: with_header(data, mutator.change_json(header)),
        lambda: with_header(data, json.dumps(header | {"config": mutator.change_values(header["config"])}).encode()),
    )
    outcomes = set()
    for turn in range(250):
        path.write_bytes(ways[turn % len(ways)]())
        outcomes.add(load_or_refuse(path, kind, digest))
    assert outcomes == {True, False}  # costs and the like may differ
    path.write_bytes(data)
    assert load_or_refuse(path, kind, digest)


HUGE_TOKENIZERS = [
    *({"hidden_channels": 10**6}, {"hidden_channels": 10**30}, {"in_channels": 2**60}, {"residual_layers": 128}),
    *({"detail_channels": 8 * 10**6}, {"detail_channels": 2**70}),
    *({"residual_layers": 16, "strides": [2] * 16}, {"strides": [2] * 10**6}, {"strides": [2**40]}),
    {"quantizer": {"family": "ema", "num_embeddings": 10**9, "embedding_dim": 4096}},
    {"quantizer": {"family": "fsq", "num_values": [2] * 10**5}},
]
HUGE_PRIORS = [
    {"network": {"family": "transformer", "num_layers": 10**9}},
    {"network": {"num_layers": 256, "output_layers": 256, "attention_every": 1, "family": "pixelsnail"}},
    {"network": {"family": "transformer", "hidden_channels": 2**20, "num_heads": 2**18, "num_kv_heads": 2**18}},
    {"network": {"family": "pixelsnail", "kernel_size": 10**6 + 1}},
    *({"space": {"num_embeddings": [10**12]}}, {"space": {"num_classes": 10**15}}),
    {"space": {"level": 10**6, "num_embeddings": [2] * (10**6 + 1), "upsampling": [2] * 10**6}},
]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *((kind, changes) for kind in ("tokenizer", "decoder") for changes in HUGE_TOKENIZERS),
        *(("prior", changes) for changes in HUGE_PRIORS),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_config_of_a_huge_model_is_refused_before_memory_is_taken(path, peak, make_prior, kind, changes):
    if kind == "prior":
        save_model(make_prior().float(), path)
    if kind == "decoder":
        save_model(build_model(DecoderConfig(tokenizer_config=TOY_TOKENIZER, tokenizer="")), path)
        changes = {"network": TOY_TOKENIZER.to_dict() | changes}
    change_config(path, **changes)
    with peak() as grown, pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(path, kind=kind)
    assert grown.mib < 64 + 96 * path.stat().st_size / 2**20


def test_a_huge_header_is_refused_before_it_is_parsed(path, peak):
    path.write_bytes(join(b'{"a":"' + b"x" * 50_000_000 + b'"}', b""))
    with peak() as grown, pytest.raises(CheckpointError, match="its header claims 50000008 bytes"):
        load_model(path, kind="tokenizer")
    assert grown.mib < 16


def test_loading_takes_a_few_times_the_memory_of_the_file(path, peak):
    save_model(VQVAE2(dataclasses.replace(TOY_TOKENIZER, hidden_channels=512)), path)
    with peak() as grown:
        load_model(path, kind="tokenizer")
    assert grown.mib < 16 + 3 * path.stat().st_size / 2**20


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_a_model_is_loaded_as_it_was_saved_under_any_default_type(path, dtype, default):
    digest = save_model(VQVAE2(TOY_TOKENIZER).to(dtype), path)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(default)
        model, _ = load_model(path, kind="tokenizer")
    finally:
        torch.set_default_dtype(before)
    tensors = (*model.parameters(), *model.buffers())
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {dtype}
    assert save_model(model, path) == digest


@pytest.mark.parametrize("change", [torch.int32, torch.float64, torch.complex64, torch.bool])
def test_weights_of_other_types_are_refused(path, change):
    header = split(path.read_bytes())[1]
    weights = {name: tensor.contiguous() for name, tensor in VQVAE2(TOY_TOKENIZER).state_dict().items()}
    first = next(iter(weights))
    weights[first] = weights[first].to(change)
    path.write_bytes(save(weights, metadata={"vqvae2": json.dumps(header)}))
    with pytest.raises(CheckpointError, match="the weights do not fit their own config"):
        load_model(path, kind="tokenizer")


def test_a_config_that_is_refused_names_the_file(path, make_prior):
    change_config(path, in_channels=0)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: `in_channels` must be above 0, got 0"):
        load_model(path, kind="tokenizer")
    save_model(build_model(DecoderConfig(tokenizer_config=TOY_TOKENIZER, tokenizer="")), path)
    change_config(path, tokenizer_config=TOY_TOKENIZER.to_dict() | {"hidden_channels": 10})
    with pytest.raises(CheckpointError, match=r"model\.safetensors: the weights do not fit their own config"):
        load_model(path, kind="decoder")
    save_model(make_prior().float(), path)
    change_config(path, **PriorConfig().to_dict())
    with pytest.raises(CheckpointError, match=r"model\.safetensors: the weights do not fit their own config"):
        load_model(path, kind="prior")


@pytest.mark.parametrize("part", ["metadata", "config", "tensors"])
def test_a_header_takes_a_bounded_multiple_of_its_text(path, peak, part):
    outer, header, weights = split(path.read_bytes())
    if part == "tensors":
        outer |= {f"t{index}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for index in range(35_000)}
    else:
        header[part] = {"a": [[]] * 700_000}
        outer["__metadata__"]["vqvae2"] = json.dumps(header, separators=(",", ":"))
    text = json.dumps(outer).encode()
    assert 2**21 < len(text) < 2**22
    path.write_bytes(join(text, weights))
    with peak() as grown, pytest.raises(CheckpointError) if part != "metadata" else nullcontext():
        load_model(path, kind="tokenizer")
    assert grown.mib < 64 + 96 * len(text) / 2**20
