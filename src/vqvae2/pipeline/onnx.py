"""The tokenizer of a pipeline as ONNX files, which other runtimes than PyTorch compute.

Shapes: B images, C channels, H x W pixels, h x w code grid of a level. Level 0 is the top.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vqvae2.codes import Codes
from vqvae2.errors import ConfigError
from vqvae2.models.checkpoint import fingerprint
from vqvae2.models.decoder import Decoder
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.system.files import atomic_write_bytes

__all__ = ["DESCRIPTION_FILE", "ENCODER_FILE", "decoder_file", "export_onnx"]

DESCRIPTION_FILE = "tokenizer.json"
ENCODER_FILE = "encoder.onnx"
_PACKAGES = ("onnx", "onnxscript")  # by which torch exports
_OPSET = 18
_MOST = 2**15  # images of a batch, and codes along a side of the top


def decoder_file(name: str) -> str:
    """Name the file of a decoder, `faithful` or `sharp`."""
    return f"decoder-{name}.onnx"


def export_onnx(pipeline: Pipeline, directory: Path) -> list[Path]:
    """Write the encoder, each decoder, and a description of them, into a folder; return the files.

    The encoder turns `images`, float32 `(B, C, H, W)` in [-1, 1] with sides that are multiples of the description's
    `stride`, into `codes_top`, ..., `codes_bottom`, int64 `(B, h, w)`. A decoder turns all codes into `images`, about
    [-1, 1]. Any number of images and any such size will do, as long as the grids of the levels fit each other.

    Raises:
        ConfigError: If the extra `onnx` is not installed.
        OSError: If a file cannot be written.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"ONNX needs {' and '.join(missing)}; install them with `pip install 'vqvae2[onnx]'`")
    tokenizer, config = pipeline.tokenizer, pipeline.tokenizer.config
    names = [f"codes_{name}" for name in config.level_names]
    # A grid of 2 x 3 codes at the top: torch takes sizes of 0 and 1 for constants.
    device, height, width = pipeline.device, 2 * config.stride, 3 * config.stride
    images = torch.zeros(2, config.in_channels, height, width, device=device)
    codes = [torch.zeros(2, *shape, dtype=torch.int64, device=device) for shape in config.code_shapes(height, width)]
    batch, rows, columns = (torch.export.Dim(name, min=1, max=_MOST) for name in ("batch", "rows", "columns"))
    of_images = {0: batch, 2: config.stride * rows, 3: config.stride * columns}
    of_codes = tuple(
        {0: batch, 1: factor * rows, 2: factor * columns} if factor > 1 else {0: batch, 1: rows, 2: columns}
        for factor in (config.stride // reduction for reduction in config.reductions)
    )
    directory.mkdir(parents=True, exist_ok=True)
    written = [
        _write(directory / ENCODER_FILE, _Encoder(tokenizer), (images,), (of_images,), ["images"], names),
    ]
    for name in pipeline.decoders:
        module = _Decoder(tokenizer, pipeline.sharp_decoder if name == "sharp" else None)
        written.append(_write(directory / decoder_file(name), module, tuple(codes), (of_codes,), names, ["images"]))
    description = {
        "channels": config.in_channels,
        "image_size": pipeline.config.image_size,
        "stride": config.stride,
        "levels": [
            {"name": name, "pixels_per_code": reduction, "num_embeddings": count}
            for name, reduction, count in zip(config.level_names, config.reductions, config.codebook_sizes, strict=True)
        ],
        "decoders": pipeline.decoders,
        "tokenizer": fingerprint(tokenizer),
    }
    atomic_write_bytes(directory / DESCRIPTION_FILE, json.dumps(description, indent=2).encode())
    return [*written, directory / DESCRIPTION_FILE]


class _Encoder(nn.Module):
    def __init__(self, tokenizer: VQVAE2) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.tokenizer.encode(images))


class _Decoder(nn.Module):
    def __init__(self, tokenizer: VQVAE2, decoder: Decoder | None) -> None:
        super().__init__()
        self.tokenizer, self.decoder = tokenizer, decoder

    def forward(self, *maps: Tensor) -> Tensor:
        return self.tokenizer.decode(Codes(maps), decoder=self.decoder)


def _write(
    path: Path,
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    shapes: tuple[Any, ...],
    input_names: list[str],
    output_names: list[str],
) -> Path:
    """Write one graph, whole or not at all."""
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=input_names,
            output_names=output_names,
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    atomic_write_bytes(path, program.model_proto.SerializeToString())
    return path


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch says of its own workings from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
