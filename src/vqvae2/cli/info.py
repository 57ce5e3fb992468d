"""`vqvae2 info`: what a preset, a folder or a file holds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.verb import Results, Verb
from vqvae2.codec.bitstream import MAGIC
from vqvae2.config import CodeSpace, ImageConfig, PriorConfig, VQVAE2Config
from vqvae2.config.presets import MEASURED, PRESETS
from vqvae2.errors import BitstreamError, ConfigError
from vqvae2.pipeline.config import BUILTIN

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Info"]


@dataclass(frozen=True, kw_only=True)
class Info(Verb):
    """Describe images as a run would read them, a preset, a run, a pipeline, a model, a store, or a .vq2 file.

    Examples: vqvae2 info photos, vqvae2 info cpu64, vqvae2 info compressed/0.vq2
    """

    path: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="IMAGES|PRESET|PATH")]
    """Images as for `vqvae2 run`, the name of a preset, a folder, a file, or builtin."""

    def run(self, terminal: Terminal) -> Results:
        from vqvae2.codec.description import describe_compressed

        path = Path(self.path)
        if self.path in PRESETS:
            return _describe_preset(self.path)
        if path.is_dir() or self.path == BUILTIN:
            return _describe_folder(path)
        if path.suffix == ".safetensors":
            return _describe_model(path)
        if path.is_file() and (path.suffix.lower() == ".vq2" or _begins_with(path, MAGIC)):
            try:
                with path.open("rb") as file:
                    return describe_compressed(file)
            except BitstreamError as error:
                raise BitstreamError(f"{path}: {error}") from error
        if self.path.startswith(("hub:", "builtin:")) or path.suffix.lower() in (".tar", ".parquet"):
            return _describe_images(self.path)
        raise ConfigError(
            f"`path` must be a preset ({', '.join(PRESETS)}), a folder, archives with images, a .safetensors file or a "
            f"compressed image (.vq2), got {self.path!r}"
        )


def _describe_preset(name: str) -> Results:
    import torch

    from vqvae2.models.checkpoint import build_model

    config = PRESETS[name]
    tokenizer, size = config.tokenizer, config.images.size
    with torch.device("meta"):  # counts parameters without making them
        parameters = {"tokenizer": _count_parameters(build_model(tokenizer))}
        for level, level_name in enumerate(tokenizer.level_names):
            shapes = tokenizer.code_shapes(*size)
            space = CodeSpace.of_level(level, num_embeddings=tokenizer.codebook_sizes, shapes=shapes, num_classes=0)
            prior = build_model(PriorConfig(space=space, network=config.prior(level)))
            parameters[f"{level_name} prior"] = _count_parameters(prior)
    positions = sum(math.prod(shape) for shape in tokenizer.code_shapes(*size))
    return {
        "preset": name,
        "levels": _levels(tokenizer, size),
        "bits_per_pixel": positions * math.log2(tokenizer.quantizer.num_embeddings) / math.prod(size),
        "parameters": parameters,
        "measured": MEASURED.get(name, "not yet"),
        **config.to_dict(),
    }


def _describe_folder(path: Path) -> Results:
    from vqvae2.data import CodeStore, open_prepared
    from vqvae2.models.checkpoint import MODEL_FILE
    from vqvae2.pipeline.config import CONFIG_FILE
    from vqvae2.runs.record import RunRecord

    if (path / MODEL_FILE).exists():
        return _describe_model(path / MODEL_FILE)
    if (path / "codes.json").exists():
        codes = CodeStore.open(path)
        return {
            "kind": "codes",
            "images": codes.num_images,
            "views": codes.extraction.num_views,
            "extraction": asdict(codes.extraction),
            "shapes": codes.shapes,
            "num_embeddings": codes.num_embeddings,
            "classes": codes.classes,
            "tokenizer": codes.fingerprint,
        }
    if (path / "images.json").exists() or (path / "index.json").exists():
        images = open_prepared(path)
        return {
            "kind": "images",
            "images": images.num_images,
            "train": len(images.indices("train")),
            "validation": len(images.indices("validation")),
            "size": images.size,
            "channels": images.channels,
            "bit_depth": images.bit_depth,
            "classes": images.classes,
            "skipped": tuple(images.skipped),
        }
    record = RunRecord.load(path) if RunRecord.exists_in(path) else None
    if record is not None and not (path / CONFIG_FILE).exists():
        return {"kind": "run", "stages": record.seconds, "config": record.config.to_dict()}
    if str(path) != BUILTIN and not (path / CONFIG_FILE).exists():
        return _describe_images(str(path))
    pipeline = vqvae2.Pipeline.from_pretrained(path)
    sharp = pipeline.sharp_decoder
    return {
        "kind": "pipeline",
        "image_size": pipeline.config.image_size,
        "bit_depth": pipeline.config.bit_depth,
        "levels": _levels(pipeline.tokenizer.config, pipeline.config.image_size),
        "classes": pipeline.config.classes,
        "decoders": pipeline.decoders,
        "default_decoder": pipeline.config.default_decoder,
        "sampling": pipeline.config.sampling.in_words,
        "tokenizer_parameters": _count_parameters(pipeline.tokenizer),
        **({} if sharp is None else {"sharp_decoder_parameters": _count_parameters(sharp)}),
        "prior_parameters": tuple(_count_parameters(prior) for prior in pipeline.priors),
        **({} if record is None else {"stages": record.seconds}),
    }


def _describe_images(text: str) -> Results:
    from vqvae2.data import summarize_images

    return {"kind": "images", **summarize_images(vqvae2.open_images(text), ImageConfig()).to_dict()}


def _describe_model(path: Path) -> Results:
    from vqvae2.models.checkpoint import read_model_file

    return asdict(read_model_file(path))


def _begins_with(path: Path, beginning: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(beginning)) == beginning


def _levels(config: VQVAE2Config, size: tuple[int, int]) -> list[dict[str, object]]:
    num_embeddings = config.quantizer.num_embeddings
    return [
        {
            "name": name,
            "shape": shape,
            "num_embeddings": num_embeddings,
            "bits_per_pixel": math.prod(shape) * math.log2(num_embeddings) / math.prod(size),
        }
        for name, shape in zip(config.level_names, config.code_shapes(*size), strict=True)
    ]


def _count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
