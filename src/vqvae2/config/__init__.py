"""Configs: frozen, validated on construction, strict when read.

A config is all that is needed to build a model or to repeat a training, and it travels with every checkpoint.
`vqvae2.presets` holds the named ones.
"""

from vqvae2.config.base import Config
from vqvae2.config.models import CodeSpace, PixelSNAILConfig, PriorConfig, VQVAE2Config, level_names
from vqvae2.config.procedures import (
    Device,
    ImageConfig,
    Precision,
    PriorTrainingConfig,
    SamplingConfig,
    TokenizerTrainingConfig,
    TrainingConfig,
)

__all__ = [
    "CodeSpace",
    "Config",
    "Device",
    "ImageConfig",
    "PixelSNAILConfig",
    "Precision",
    "PriorConfig",
    "PriorTrainingConfig",
    "SamplingConfig",
    "TokenizerTrainingConfig",
    "TrainingConfig",
    "VQVAE2Config",
    "level_names",
]
