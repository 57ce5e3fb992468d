"""Configs: frozen, validated on construction, strict when read.

A config is all that is needed to build a model or to repeat a training, and it travels with every checkpoint.
`vqvae2.config.presets` holds the named ones.
"""

from vqvae2.config.base import MAX_LAYERS, MAX_LEVELS, Config
from vqvae2.config.classifiers import (
    CLASSIFIER_CONFIGS,
    ClassifierConfig,
    ClassifierFamily,
    ClassifierNetworkConfig,
    Lite0Config,
    ResNetConfig,
)
from vqvae2.config.evaluation import EVALUATION_METRICS, EvaluationConfig, EvaluationMetric
from vqvae2.config.priors import (
    NETWORK_CONFIGS,
    CodeSpace,
    NetworkConfig,
    NetworkFamily,
    PixelSNAILConfig,
    PriorConfig,
    TransformerConfig,
    network_of_family,
)
from vqvae2.config.procedures import (
    ClassifierTrainingConfig,
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
from vqvae2.config.tokenizer import VQVAE2Config, level_names

__all__ = [
    "CLASSIFIER_CONFIGS",
    "EVALUATION_METRICS",
    "MAX_LAYERS",
    "MAX_LEVELS",
    "NETWORK_CONFIGS",
    "QUANTIZER_CONFIGS",
    "ClassifierConfig",
    "ClassifierFamily",
    "ClassifierNetworkConfig",
    "ClassifierTrainingConfig",
    "CodeSpace",
    "CodebookLossConfig",
    "Config",
    "Device",
    "EMAConfig",
    "EvaluationConfig",
    "EvaluationMetric",
    "FSQConfig",
    "GradientEstimator",
    "ImageConfig",
    "LevelSampling",
    "Lite0Config",
    "NetworkConfig",
    "NetworkFamily",
    "PixelSNAILConfig",
    "Precision",
    "PriorConfig",
    "PriorTrainingConfig",
    "QuantizerConfig",
    "QuantizerFamily",
    "ResNetConfig",
    "SamplingConfig",
    "TokenizerTrainingConfig",
    "TrainingConfig",
    "TransformerConfig",
    "VQVAE2Config",
    "level_names",
    "network_of_family",
]
