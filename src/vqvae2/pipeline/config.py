"""What a pipeline is for, as its folder's `config.json` says."""

from __future__ import annotations

import json
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from vqvae2.config import MAX_DECODED_PIXELS, Config, DecoderName, SamplingConfig
from vqvae2.config.images import BitDepth
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.system.files import atomic_write_bytes, read_json

__all__ = ["BUILTIN", "CONFIG_FILE", "PipelineConfig", "read_pipeline_config", "write_pipeline_config"]

BUILTIN = "builtin"
"""Stands for the pipeline that comes with the package, trained on the built-in images."""
CONFIG_FILE = "config.json"
_MAGIC: Literal["vqvae2.pipeline"] = "vqvae2.pipeline"
_VERSION: Literal[2] = 2


@dataclass(frozen=True, kw_only=True)
class PipelineConfig(Config):
    """What a pipeline is for."""

    magic: Literal["vqvae2.pipeline"] = _MAGIC
    version: Literal[2] = _VERSION
    image_size: tuple[PositiveInt, PositiveInt] = (64, 64)
    """Height and width in pixels of the images that it was trained on, and of those that it samples."""
    bit_depth: BitDepth = 8
    """Bits of each value of their pixels, 8 or 16."""
    classes: tuple[str, ...] = ()
    class_counts: tuple[Annotated[int, Field(ge=0, lt=2**53)], ...] = ()
    """Training images of each class."""
    has_priors: bool = False
    has_sharp_decoder: bool = False
    default_decoder: DecoderName = "faithful"
    """Decodes unless another is asked for."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """How codes are drawn unless other settings are given, see `vqvae2 tune-sampling`."""

    def __post_init__(self) -> None:
        height, width = self.image_size
        if height * width > MAX_DECODED_PIXELS:
            raise ConfigError(f"`image_size` must be at most {MAX_DECODED_PIXELS} pixels in all, got {height} {width}")
        if self.default_decoder == "sharp" and not self.has_sharp_decoder:
            raise ConfigError("`default_decoder` must be 'faithful' without a sharp decoder, got 'sharp'")
        if len(self.class_counts) != len(self.classes):
            raise ConfigError(
                f"`class_counts` must give the training images of each of {len(self.classes)} classes, "
                f"got {len(self.class_counts)} counts"
            )
        if self.classes and not any(self.class_counts):
            raise ConfigError("`class_counts` must be above 0 for one class at least, since samples are of such")
        if self.sampling.guidance_scale != 1.0 and not self.classes:
            raise ConfigError(
                f"`sampling.guidance_scale` must be 1 without classes, got {self.sampling.guidance_scale:g}"
            )

    def sampling_for(self, *, has_class: bool) -> SamplingConfig:
        """Give `sampling` for images of a class; for those of none it is without guidance, which needs one."""
        return self.sampling if has_class else replace(self.sampling, guidance_scale=1.0)


def write_pipeline_config(config: PipelineConfig, folder: Path) -> None:
    """Write a folder's `config.json`."""
    atomic_write_bytes(folder / CONFIG_FILE, json.dumps(config.to_dict(), indent=2).encode())


def read_pipeline_config(folder: Path) -> PipelineConfig:
    """Read a folder's `config.json`.

    Raises:
        CheckpointError: If there is none, or it is damaged or of another version.
    """
    path = folder / CONFIG_FILE
    try:
        values = read_json(path)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} is not a pipeline: it has no {CONFIG_FILE}; give the folder of a run"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable config; restore it from a copy") from error
    magic = values.get("magic") if isinstance(values, dict) else None
    if magic != _MAGIC:
        raise CheckpointError(f"{path} must be the config of a pipeline of vqvae2, but says {magic!r:.50}")
    if values.get("version") != _VERSION:
        raise CheckpointError(  # before any field is looked at, since another version may have others
            f"{path} is of format version {values.get('version')}, this package reads {_VERSION}; "
            "train the pipeline again"
        )
    try:
        return PipelineConfig.from_dict(values)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
