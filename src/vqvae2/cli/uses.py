"""The verbs that look at what there is: reconstructions, and what a folder or file holds."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from vqvae2.cli.console import Terminal
from vqvae2.cli.stages import Verb
from vqvae2.cli.writer import Writer
from vqvae2.codec.bitstream import MAGIC
from vqvae2.codec.description import describe_compressed
from vqvae2.config import CodeSpace, PriorConfig, VQVAE2Config
from vqvae2.config.presets import MEASURED, PRESETS
from vqvae2.data import CodeStore, ImageFolder, open_prepared
from vqvae2.errors import BitstreamError, ConfigError, DataError
from vqvae2.images import decode_image, from_pixels, save_png, to_pixels
from vqvae2.metrics.reconstruction import ReconstructionError
from vqvae2.models.checkpoint import MODEL_FILE, build_model, read_model_file
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.system.progress import Progress

__all__ = ["Info", "Reconstruct"]


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Writer):
    """Encode images of any size and decode them again, and say how far they are from the originals.

    Example: vqvae2 reconstruct photos --pipeline photos-run --out reconstructions
    """

    images_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGES")]
    """Folder of images; they keep their own size."""
    pipeline: Path
    """Folder of a pipeline or a run, or else its id on the Hub, owner/name; builtin is that of this package."""
    levels: int | None = None
    """Decode from the upper levels only: 1 is the top alone."""
    limit: int = 0
    """Take the first images only; 0 for all."""

    def run(self, terminal: Terminal) -> dict[str, Any]:
        pipeline = self.load_pipeline(self.pipeline)
        config, bit_depth = pipeline.tokenizer.config, pipeline.config.bit_depth
        if self.limit < 0:
            raise ConfigError(f"`limit` must be at least 0, got {self.limit}")
        if self.levels is not None and not 1 <= self.levels <= config.num_levels:
            raise ConfigError(f"`levels` must be in 1..{config.num_levels}, got {self.levels}")
        folder = ImageFolder(self.images_folder)
        self.check_out("reconstructions.json")
        self.make_out()
        total = min(len(folder), self.limit or len(folder))
        error, rows, skipped = ReconstructionError(), [], []
        terminal.stage("reconstruct", f"{total} images")
        for index in range(total):
            try:
                original = decode_image(folder[index].data, channels=config.in_channels, bit_depth=bit_depth)
            except DataError as problem:
                skipped.append({"file": folder.names[index], "reason": str(problem)})
                continue
            images = from_pixels(torch.from_numpy(original)[None])
            reconstruction = pipeline.reconstruct(images, levels=self.levels).cpu()
            error.update(reconstruction, images)
            name = f"{index:06d}.png"
            save_png(to_pixels(reconstruction, bit_depth=bit_depth)[0].numpy(), self.out / name)
            rows.append({"file": name, "original": folder.names[index]})
            terminal.progress(Progress(index + 1, total, "images"))
        if not rows:
            raise DataError(f"none of the {total} images in {self.images_folder} can be read; {skipped[0]['reason']}")
        (self.out / "reconstructions.json").write_text(json.dumps({"images": rows, "skipped": skipped}, indent=2))
        results = {"out": str(self.out), "images": len(rows), "mse": error.mse, "psnr_db": error.psnr_db}
        return results | ({"skipped": skipped} if skipped else {})


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
    header = read_model_file(path)
    return {
        "kind": header.kind,
        "fingerprint": header.fingerprint,
        "config": header.config.to_dict(),
        "metadata": header.metadata,
    }


def _describe_compressed(path: Path) -> dict[str, Any]:
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
