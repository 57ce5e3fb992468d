"""Configs: frozen, and checked when they are made, changed by `dataclasses.replace`, or read.

A config is all that is needed to build a model or to repeat a training, and every checkpoint carries its own.
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
from vqvae2.config.differences import require_same_config
from vqvae2.config.evaluation import EVALUATION_METRICS, EvaluationConfig, EvaluationMetric
from vqvae2.config.images import MAX_PIXELS, ImageConfig, Resize
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
from vqvae2.config.quantizers import (
    QUANTIZER_CONFIGS,
    CodebookLossConfig,
    EMAConfig,
    FSQConfig,
    GradientEstimator,
    QuantizerConfig,
    QuantizerFamily,
)
from vqvae2.config.run import ClassifierRunConfig, RunConfig
from vqvae2.config.sampling import LevelSampling, SamplingConfig
from vqvae2.config.tokenizer import VQVAE2Config, level_names
from vqvae2.config.training import (
    ClassifierTrainingConfig,
    Device,
    Precision,
    PriorTrainingConfig,
    TokenizerTrainingConfig,
    TrackerName,
    TrainingConfig,
)

__all__ = [
    "CLASSIFIER_CONFIGS",
    "EVALUATION_METRICS",
    "MAX_LAYERS",
    "MAX_LEVELS",
    "MAX_PIXELS",
    "NETWORK_CONFIGS",
    "QUANTIZER_CONFIGS",
    "ClassifierConfig",
    "ClassifierFamily",
    "ClassifierNetworkConfig",
    "ClassifierRunConfig",
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
    "Resize",
    "RunConfig",
    "SamplingConfig",
    "TokenizerTrainingConfig",
    "TrackerName",
    "TrainingConfig",
    "TransformerConfig",
    "VQVAE2Config",
    "level_names",
    "network_of_family",
    "require_same_config",
]
