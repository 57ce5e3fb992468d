"""Configs: frozen, validated on construction, strict when read.

A config is all that is needed to build a model or to repeat a training, and it travels with every checkpoint.
`vqvae2.presets` holds the named ones.
"""

from vqvae2.config.base import Config
from vqvae2.config.models import CodeSpace, PixelSNAILConfig, PriorConfig, VQVAE2Config, level_names
from vqvae2.config.procedures import (
    Device,
    ImageConfig,
    LevelSampling,
    Precision,
    PriorTrainingConfig,
    SamplingConfig,
    TokenizerTrainingConfig,
    TrainingConfig,
)
from vqvae2.config.quantizers import (
    QUANTIZER_CONFIGS,
    CodebookLossConfig,
    EMAConfig,
    FSQConfig,
    GradientEstimator,
    QuantizerConfig,
    QuantizerFamily,
)

__all__ = [
    "QUANTIZER_CONFIGS",
    "CodeSpace",
    "CodebookLossConfig",
    "Config",
    "Device",
    "EMAConfig",
    "FSQConfig",
    "GradientEstimator",
    "ImageConfig",
    "LevelSampling",
    "PixelSNAILConfig",
    "Precision",
    "PriorConfig",
    "PriorTrainingConfig",
    "QuantizerConfig",
    "QuantizerFamily",
    "SamplingConfig",
    "TokenizerTrainingConfig",
    "TrainingConfig",
    "VQVAE2Config",
    "level_names",
]
