"""Saved models.

A model is one safetensors file. Its header holds the version of the format, the kind of model, its config, facts about
it (`metadata`), and the fingerprint of its weights. So the file alone rebuilds the model, and shows damage.

A model file may come from anyone. Its config must describe exactly the tensors of the file and cannot make the builder
allocate much larger ones, so loading takes a few times the memory of the file at most, see `docs/trust.md`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vqvae2.config import (
    ClassifierConfig,
    Config,
    DecoderConfig,
    Lite0Config,
    PriorConfig,
    TransformerConfig,
    VQVAE2Config,
)
from vqvae2.errors import CheckpointError, ConfigError, VQVAE2Error
from vqvae2.models.classifier import ResNetClassifier
from vqvae2.models.decoder import Decoder
from vqvae2.models.efficientnet_lite import Lite0Classifier
from vqvae2.models.pixelsnail import PixelSNAILPrior
from vqvae2.models.transformer import TransformerPrior
from vqvae2.models.vqvae import VQVAE2
from vqvae2.system.files import atomic_write_bytes, require_small_header

__all__ = [
    "LAST_MODEL_FILE",
    "MODEL_FILE",
    "MODEL_VERSION",
    "AllocationLimit",
    "AllocationLimitError",
    "Kind",
    "ModelFile",
    "build_model",
    "fingerprint",
    "load_model",
    "model_config",
    "read_model_file",
    "require_same_order",
    "save_model",
]

Kind = Literal["tokenizer", "decoder", "prior", "classifier"]

MODEL_FILE = "model.safetensors"
"""Name of a model's file in its folder. In the folder of a training, it holds the best model."""
LAST_MODEL_FILE = "last.safetensors"
"""Name of the file of a training's last model."""

MODEL_VERSION = 3
"""Of the format. Since version 3, attention sees codes in the order of fronts."""

_MAGIC = "vqvae2.model"
_FEW_ELEMENTS = 2**20  # room for tensors that a network makes, but does not keep or save
# Functions that take a size, as the first argument or as all of them, and those that take a range. The other ones make
# tensors of the sizes of their inputs.
_BY_SIZE = {torch.empty, torch.zeros, torch.ones, torch.full, torch.randn, torch.rand, torch.eye}
_BY_RANGE = {torch.arange, torch.linspace}
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_CONFIGS: dict[Kind, type[Config]] = {
    "tokenizer": VQVAE2Config,
    "decoder": DecoderConfig,
    "prior": PriorConfig,
    "classifier": ClassifierConfig,
}


@dataclass(frozen=True)
class ModelFile:
    """What the header of a model file says."""

    kind: Kind
    config: Config
    metadata: dict[str, Any]
    """What the training measured, and on which data."""
    fingerprint: str


def build_model(config: Config) -> nn.Module:
    """Build the model that a config describes, with fresh weights. No other place knows all models."""
    if isinstance(config, VQVAE2Config):
        return VQVAE2(config)
    if isinstance(config, DecoderConfig):
        return Decoder(config)
    if isinstance(config, ClassifierConfig):
        return Lite0Classifier(config) if isinstance(config.network, Lite0Config) else ResNetClassifier(config)
    assert isinstance(config, PriorConfig)
    return TransformerPrior(config) if isinstance(config.network, TransformerConfig) else PixelSNAILPrior(config)


def model_config(model: nn.Module) -> Config:
    """Return the config that a model of this package was built from."""
    config = model.config
    assert isinstance(config, Config)
    return config


def fingerprint(model: nn.Module) -> str:
    """Hash the weights of a model with their names, types and shapes: 32 hexadecimal digits (BLAKE2b)."""
    return _fingerprint(model.state_dict())


def save_model(
    model: nn.Module, path: Path, *, metadata: dict[str, Any] | None = None, weights: Mapping[str, Tensor] | None = None
) -> str:
    """Write a model of this package as one safetensors file, and return the fingerprint of its weights.

    The file appears whole or not at all. `weights` are all weights, if this process holds only a part of them.
    """
    config = model_config(model)
    kind = next(kind for kind, wanted in _CONFIGS.items() if isinstance(config, wanted))
    # The file needs contiguous tensors, and some are channels last.
    tensors = model.state_dict() if weights is None else weights
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    digest = _fingerprint(plain)
    header = {
        "magic": _MAGIC,
        "version": MODEL_VERSION,
        "kind": kind,
        "config": config.to_dict(),
        "metadata": metadata or {},
        "fingerprint": digest,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, save(plain, metadata={"vqvae2": json.dumps(header)}))
    return digest


def read_model_file(path: Path) -> ModelFile:
    """Read the header of a model file, without its weights.

    Raises:
        CheckpointError: If the file is missing, damaged or not a model of this package.
    """
    return _open(path, with_weights=False)[0]


def require_same_order(path: Path, version: int, config: Config) -> None:
    """Refuse a prior of a format version in which attention saw codes in another order; `path` names it in the error.

    Raises:
        CheckpointError: If it is one.
    """
    if version < MODEL_VERSION and isinstance(config, PriorConfig) and config.network.has_attention:
        raise CheckpointError(
            f"{path} holds a prior whose attention saw codes in raster order, as in earlier versions; train it again"
        )


def load_model(path: Path, *, kind: Kind) -> tuple[nn.Module, ModelFile]:
    """Rebuild a model from its file alone, on the CPU, in evaluation mode, in the precision that the file has.

    Raises:
        CheckpointError: If the file is missing, damaged, or holds another kind of model.
    """
    header, weights = _open(path, with_weights=True)
    if header.kind != kind:
        raise CheckpointError(
            f"{path} must hold a {kind}, but holds a {header.kind}; give the folder or file of a {kind}"
        )
    model = _build_to_fit(path, header.config, weights)
    if _fingerprint(weights) != header.fingerprint:
        raise CheckpointError(f"{path} is damaged: its weights do not match their checksum; restore it from a copy")
    model.load_state_dict(weights)
    return model.eval(), header


def _open(path: Path, *, with_weights: bool) -> tuple[ModelFile, dict[str, Tensor]]:
    """Read the header, and map the weights into memory, so that pages are read when they are used."""
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; train or copy that part first")
    try:
        require_small_header(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get("vqvae2")
            if text is None:
                raise CheckpointError(f"{path} is a safetensors file, but not a model of vqvae2")
            weights = {name: file.get_tensor(name) for name in file.keys()} if with_weights else {}  # noqa: SIM118, not a dict
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable model file ({error}); restore it from a copy") from error
    return _parse_header(path, text), weights


def _parse_header(path: Path, text: str) -> ModelFile:
    try:
        header = json.loads(text)
        magic, version, kind = header["magic"], header["version"], header["kind"]
        config, metadata, digest = header["config"], header["metadata"], header["fingerprint"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: the header of the model file is damaged") from error
    if magic != _MAGIC or kind not in tuple(_CONFIGS):
        raise CheckpointError(f"{path} must be a model of vqvae2, but says {magic!r:.50}, kind {kind!r:.50}")
    if version not in (2, MODEL_VERSION):
        remedy = "update vqvae2" if isinstance(version, int) and version > MODEL_VERSION else "train it again"
        raise CheckpointError(f"{path} is of format version {version!s:.50}, this package reads 2 and 3; {remedy}")
    if not isinstance(metadata, dict) or not isinstance(digest, str):
        raise CheckpointError(f"{path}: the header of the model file is damaged")
    try:
        parsed = _CONFIGS[kind].from_dict(config)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
    require_same_order(path, version, parsed)
    return ModelFile(kind, parsed, metadata, digest)


def _build_to_fit(path: Path, config: Config, weights: dict[str, Tensor]) -> nn.Module:
    """Build the model of a config on the CPU, in the precision of the file; its tensors must be those of the file."""
    altered = CheckpointError(f"{path}: the weights do not fit their own config; the file was altered")
    num_elements = sum(tensor.numel() for tensor in weights.values())
    try:
        with torch.device("cpu"), AllocationLimit(2 * num_elements + _FEW_ELEMENTS):
            model = build_model(config)
    except VQVAE2Error:  # such as an extra that is not installed
        raise
    except (AllocationLimitError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise altered from error
    wanted = model.state_dict()
    if wanted.keys() != weights.keys():
        raise altered
    precisions = {weights[name].dtype for name, tensor in wanted.items() if tensor.is_floating_point()}
    precision = precisions.pop()
    fits = all(
        weights[name].shape == tensor.shape
        and weights[name].dtype == (precision if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in wanted.items()
    )
    if precision not in _FLOATS or not fits:
        raise altered
    return model.to(precision)


def _fingerprint(weights: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(weights.items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class AllocationLimitError(Exception):
    """A tensor has more elements than the limit allows."""


class AllocationLimit(TorchFunctionMode):
    """Raises before all tensors together have more elements than the limit.

    The meta device would know sizes as well, but its first random number takes seconds of imports, and every model
    would be built twice.
    """

    def __init__(self, num_elements: int) -> None:
        super().__init__()
        self._left = num_elements

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _BY_SIZE or func in _BY_RANGE:
            size = kwargs["size"] if "size" in kwargs else args[0] if isinstance(args[0], Sequence) else args
            numbers = [int(number) for number in size]
            if func is torch.eye:
                numbers = [numbers[0], numbers[-1]]
            self._left -= math.prod(numbers) if func in _BY_SIZE else max(map(abs, numbers))
            if self._left < 0:
                raise AllocationLimitError
        return func(*args, **kwargs)
