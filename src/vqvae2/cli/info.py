"""`vqvae2 info`: what a preset, a folder or a file holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from vqvae2.cli.verb import Verb
from vqvae2.codec.bitstream import MAGIC
from vqvae2.config import CodeSpace, PriorConfig, VQVAE2Config
from vqvae2.config.presets import MEASURED, PRESETS
from vqvae2.errors import BitstreamError, ConfigError

if TYPE_CHECKING:
    import torch

    from vqvae2.cli.console import Terminal

__all__ = ["Info"]


@dataclass(frozen=True, kw_only=True)
class Info(Verb):
    """Describe a preset, the folder of a run or pipeline, a model file, a store of images or codes, or a .vq2 file.

    Examples: vqvae2 info cpu64, vqvae2 info compressed/0.vq2
    """

    path: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PRESET|PATH")]
    """Name of a preset, a folder or a file."""

    def run(self, terminal: Terminal) -> dict[str, Any]:
        if self.path in PRESETS:
            return _describe_preset(self.path)
        path = Path(self.path)
        if path.is_dir():
            return _describe_folder(path)
        if path.suffix == ".safetensors":
            return _describe_model(path)
        if path.is_file() and (path.suffix.lower() == ".vq2" or _begins_with(path, MAGIC)):
            return _describe_compressed(path)
        raise ConfigError(
            f"`path` must be a preset ({', '.join(PRESETS)}), a folder, a .safetensors file or a compressed image "
            f"(.vq2), got {self.path!r}"
        )


def _describe_preset(name: str) -> dict[str, Any]:
    import torch

    from vqvae2.models.checkpoint import build_model

    config = PRESETS[name]
    tokenizer, size = config.tokenizer, config.images.size
    with torch.device("meta"):  # counts parameters without making them
        parameters = {"tokenizer": _count_parameters(build_model(tokenizer))}
        for level in range(tokenizer.num_levels):
            space = CodeSpace.of_level(
                level,
                num_embeddings=tokenizer.codebook_sizes,
                shapes=tokenizer.code_shapes(*size),
                num_classes=0,
            )
            prior = build_model(PriorConfig(space=space, network=config.prior(level)))
            parameters[f"{tokenizer.level_names[level]} prior"] = _count_parameters(prior)
    levels = _levels(tokenizer, size)
    return {
        "preset": name,
        "levels": levels,
        "bits_per_pixel": sum(level["bits_per_pixel"] for level in levels),
        "parameters": parameters,
        "measured": MEASURED.get(name, "not yet"),
        **config.to_dict(),
    }


def _describe_folder(path: Path) -> dict[str, Any]:
    from vqvae2.data import CodeStore, open_prepared
    from vqvae2.models.checkpoint import MODEL_FILE
    from vqvae2.pipeline.pipeline import Pipeline

    if (path / MODEL_FILE).exists():
        return _describe_model(path / MODEL_FILE)
    if (path / "codes.json").exists():
        codes = CodeStore.open(path)
        return {
            "kind": "codes",
            "images": codes.num_images,
            "shapes": [list(shape) for shape in codes.shapes],
            "num_embeddings": list(codes.num_embeddings),
            "classes": list(codes.classes),
            "tokenizer": codes.fingerprint,
        }
    if (path / "images.json").exists() or (path / "index.json").exists():
        images = open_prepared(path)
        return {
            "kind": "images",
            "images": images.num_images,
            "train": len(images.indices("train")),
            "validation": len(images.indices("validation")),
            "size": list(images.size),
            "channels": images.channels,
            "bit_depth": images.bit_depth,
            "classes": list(images.classes),
            "skipped": [list(entry) for entry in images.skipped],
        }
    pipeline = Pipeline.from_pretrained(path)
    return {
        "kind": "pipeline",
        "image_size": list(pipeline.config.image_size),
        "bit_depth": pipeline.config.bit_depth,
        "levels": _levels(pipeline.tokenizer.config, pipeline.config.image_size),
        "classes": list(pipeline.config.classes),
        "tokenizer_parameters": _count_parameters(pipeline.tokenizer),
        "prior_parameters": [_count_parameters(prior) for prior in pipeline.priors],
    }


def _describe_model(path: Path) -> dict[str, Any]:
    from vqvae2.models.checkpoint import read_model_file

    header = read_model_file(path)
    return {
        "kind": header.kind,
        "fingerprint": header.fingerprint,
        "config": header.config.to_dict(),
        "metadata": header.metadata,
    }


def _describe_compressed(path: Path) -> dict[str, Any]:
    from vqvae2.codec.description import describe_compressed

    try:
        with path.open("rb") as file:
            return describe_compressed(file)
    except BitstreamError as error:
        raise BitstreamError(f"{path}: {error}") from error


def _begins_with(path: Path, beginning: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(beginning)) == beginning


def _levels(config: VQVAE2Config, size: tuple[int, int]) -> list[dict[str, Any]]:
    bits = math.log2(config.quantizer.num_embeddings)
    rows: list[dict[str, Any]] = []
    for name, (height, width) in zip(config.level_names, config.code_shapes(*size), strict=True):
        rows.append(
            {
                "name": name,
                "shape": [height, width],
                "num_embeddings": config.quantizer.num_embeddings,
                "bits_per_pixel": height * width * bits / math.prod(size),
            }
        )
    return rows


def _count_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
